"""A frozen reward model: a sequence classifier that scores answers, read with its own tokenizer."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSequenceClassification

from workbench.data.records.preference_encoding import AnswerRenderer
from workbench.data.tokenizer import load_tokenizer
from workbench.errors import DataError, ModelError
from workbench.models.load import ADAPTER
from workbench.models.reward_head import LABEL, reward_shift, score_in_fp32
from workbench.objectives.preference.reward_head import at_last_real_token

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workbench.recipe import Recipe

Turns = Sequence["Mapping[str, Any]"]
HINT = "name the folder of a sequence classifier, such as final/ of a reward model's run"


def load_classifier(path: str, recipe: Recipe) -> Any:
    """The classifier of a folder or hub name, in fp32 with its own memory; adapters are merged into the model
    that they are for. Raises `ModelError`."""
    code = recipe.model.trust_remote_code
    try:
        model = _with_adapters(path, code) if is_adapter(path) else _whole(path, code)
    except ModelError:
        raise
    except Exception as error:
        # transformers, the hub and safetensors raise some twenty kinds; all mean that there is no model.
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"the reward model cannot be loaded: {first}", where=path, hint=HINT) from error
    for weights in [*model.parameters(), *model.buffers()]:
        # Out of the mapped file, where tensors lie at odd addresses and round otherwise.
        weights.data = weights.data.clone()
    return model.eval()


def _whole(path: str, code: bool) -> Any:
    config = AutoConfig.from_pretrained(path, trust_remote_code=code)
    kind = (config.architectures or [""])[0]
    if not kind.endswith("ForSequenceClassification"):
        raise ModelError(f"it is a {kind or 'model'} and not a sequence classifier", where=path, hint=HINT)
    model, missing = _classifier(path, config, code)
    if missing:
        raise ModelError(f"the reward model lacks weights: {', '.join(missing[:3])}", where=path, hint=HINT)
    return model


def _with_adapters(path: str, code: bool) -> Any:
    from peft import PeftConfig, PeftModel

    told = PeftConfig.from_pretrained(path)
    if told.task_type != "SEQ_CLS" or not told.base_model_name_or_path:
        raise ModelError("its adapters are not those of a sequence classifier", where=path, hint=HINT)
    # Of the adapters' folder, where labels and shift are.
    config = AutoConfig.from_pretrained(path, trust_remote_code=code)
    base, _ = _classifier(told.base_model_name_or_path, config, code)
    return PeftModel.from_pretrained(base, path).merge_and_unload()


def _classifier(name: str, config: Any, code: bool) -> tuple[Any, list[str]]:
    """The model, and the names of weights that were not there."""
    model, info = AutoModelForSequenceClassification.from_pretrained(
        name,
        config=config,
        dtype=torch.float32,
        use_safetensors=True,
        output_loading_info=True,
        trust_remote_code=code,
    )
    return model, sorted(info["missing_keys"])


def is_adapter(path: str) -> bool:
    """Whether a folder holds adapters and not a model."""
    folder = Path(path).expanduser()
    return (folder / ADAPTER).is_file() and not any(folder.glob("model*.safetensors"))


def score_head(model: Any) -> nn.Linear | None:
    """The head of a decoder that scores its last token; None for an encoder with a head of another kind."""
    head = getattr(model, "score", None)
    return head if isinstance(head, nn.Linear) and hasattr(model, "model") else None


class RewardModel:
    """Scores answers. Where tokenizer and chat template are the policy's it reads the very tokens, elsewhere
    the text, through its own."""

    def __init__(self, recipe: Recipe, policy_tokenizer: Any, device: torch.device) -> None:
        section, path = recipe.ppo, recipe.ppo.reward_model_path
        assert path is not None
        self.path, self.device, self.section = path, device, section
        self.model = load_classifier(path, recipe).to(device).requires_grad_(False)
        if (head := score_head(self.model)) is not None:
            score_in_fp32(head)
        self.bf16 = recipe.training.bf16
        self.shift = reward_shift(self.model.config)
        self.label = _label(self.model.config, section.reward_label, path)
        self.tokenizer = load_tokenizer(path, revision=None, trust_remote_code=recipe.model.trust_remote_code)
        self.reads_tokens = (
            section.reward_input == "all"
            and same_tokens(self.tokenizer, policy_tokenizer)
            # Of another template the policy's tokens would be a conversation that it was not trained on.
            and self.tokenizer.chat_template == policy_tokenizer.chat_template
        )
        labels = self.model.config.id2label
        self._render = AnswerRenderer(self.tokenizer) if labels.get(0) == LABEL else None
        config = self.model.config.get_text_config()
        limits = (
            getattr(config, "max_position_embeddings", None),
            getattr(self.tokenizer, "model_max_length", None),
        )
        self.context = min([int(limit) for limit in limits if limit and limit > 0], default=1 << 30)
        self.cut = 0
        """How many answers were longer than the model's context, and lost their beginning."""

    @torch.no_grad()
    def __call__(
        self,
        prompts: Sequence[str | Turns],
        completions: Sequence[str],
        prompt_ids: Sequence[Sequence[int]],
        answer_ids: Sequence[Sequence[int]],
    ) -> Tensor:
        """The score of each answer [B], fp32, on the CPU: the last two are read where `reads_tokens`."""
        if self.reads_tokens:
            rows = [[*prompt, *answer] for prompt, answer in zip(prompt_ids, answer_ids, strict=True)]
        else:
            rows = [self._encoded(p, c) for p, c in zip(prompts, completions, strict=True)]
        longer = sum(len(row) > self.context for row in rows)
        if longer and not self.cut:
            print(
                f"warning: {longer} of {len(rows)} answers are, with their prompts, longer than the reward "
                f"model's context of {self.context:,} tokens: it reads them without their beginning",
                file=sys.stderr,
                flush=True,
            )
        self.cut += longer
        rows = [self._fitting(row) for row in rows]
        # Of like length together: less padding.
        order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
        scores = torch.empty(len(rows))
        size = self.section.reward_batch_size
        for start in range(0, len(order), size):
            some = order[start : start + size]
            scores[some] = self._scores([rows[number] for number in some])
        return scores

    def _encoded(self, prompt: str | Turns, completion: str) -> list[int]:
        tokenizer = self.tokenizer
        if self.section.reward_input == "response":
            return list(tokenizer(completion, verbose=False)["input_ids"])
        if self._render is not None and completion.strip():
            # One that was trained here scores at the end of the turn, which is not always the last token that
            # a template writes.
            answer = completion if isinstance(prompt, str) else [{"role": "assistant", "content": completion}]
            with suppress(DataError):
                split = self._render({"prompt": prompt, "tools": []}, answer)
                return [*split.prompt, *split.answer]
        if isinstance(prompt, str) and not tokenizer.chat_template:
            return list(tokenizer(prompt + completion, verbose=False)["input_ids"])
        turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        if not tokenizer.chat_template:
            said = "\n".join(str(turn["content"]) for turn in turns)
            return list(tokenizer(f"{said}\n{completion}", verbose=False)["input_ids"])
        turns = [*turns, {"role": "assistant", "content": completion}]
        text = tokenizer.apply_chat_template(turns, tokenize=False)
        return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def _fitting(self, row: list[int]) -> list[int]:
        """A row within the context: the end of the answer is what a score is read at, so the beginning goes,
        behind a first special token."""
        over = len(row) - self.context
        return row if over <= 0 else [row[0], *row[over + 1 :]]

    def _scores(self, rows: Sequence[Sequence[int]]) -> Tensor:
        width = max(1, *map(len, rows))
        pad = self.tokenizer.pad_token_id or 0
        ids = torch.full((len(rows), width), pad)
        mask = torch.zeros(len(rows), width, dtype=torch.int64)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = torch.tensor(row, dtype=torch.int64)
            mask[number, : len(row)] = 1
        ids, mask = ids.to(self.device), mask.to(self.device)
        head = score_head(self.model)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            if head is None:
                logits = self.model(input_ids=ids, attention_mask=mask).logits
            else:
                # Not by the id of the padding, as transformers has it: that may be the end of the answer.
                states = self.model.model(input_ids=ids, attention_mask=mask, use_cache=False)[0]
                logits = head(at_last_real_token(states, mask))
        return self._reward(logits.float()).cpu()

    def _reward(self, logits: Tensor) -> Tensor:
        """One number of each row of logits [B, labels]."""
        if self.label is None:
            return logits[:, 0] + self.shift
        logprob = torch.log_softmax(logits, -1)[:, self.label]
        if self.section.reward_of_label == "probability":
            return logprob.exp()
        others = logits.clone()
        others[:, self.label] = -torch.inf
        return logits[:, self.label] - torch.logsumexp(others, -1)


def same_tokens(one: Any, other: Any) -> bool:
    """Whether two tokenizers give the same text the same numbers, as far as their vocabularies say."""
    return bool(one.get_vocab() == other.get_vocab() and one.eos_token == other.eos_token)


def _label(config: Any, wanted: str | None, path: str) -> int | None:
    """The number of the label that is wanted; None where there is but one score."""
    names = {str(config.id2label[number]): number for number in range(config.num_labels)}
    if config.num_labels == 1:
        if wanted is not None:
            raise ModelError(f"the reward model has one score and no label “{wanted}”", where=path)
        return None
    if wanted not in names:
        said = f"has no label “{wanted}”" if wanted else f"has {len(names)} labels and none is named"
        raise ModelError(
            f"the reward model {said}",
            where=path,
            hint=f"name one as ppo.reward_label: {', '.join(names)}",
        )
    return names[wanted]
