"""Denoising: restore what was cut out of a text (Raffel et al. 2020, T5; Lewis et al. 2020, BART)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from workbench.data.corruption import infilling, spans
from workbench.data.corruption.spans import NO_SPAN, Corrupted, SpanNoise, Tokens
from workbench.data.draws import Draws
from workbench.data.framing import frame_for, special_id
from workbench.data.pieces import PieceRows
from workbench.data.special_tokens import SENTINELS
from workbench.errors import ModelError
from workbench.models.context import context_of, context_of_config
from workbench.models.encoder_decoder import call_encoder_decoder, check_pair_isolation
from workbench.models.load import load_config
from workbench.models.masks import block_mask
from workbench.objectives.base import EVAL, TRAIN, Batch, LossOutput, Rows, Totals
from workbench.objectives.clm import IGNORE, exponential
from workbench.objectives.denoise_rows import DenoiseRows
from workbench.objectives.fill import TokenText, excerpts
from workbench.objectives.logit_size import STATS, VocabularyLoss, summed_losses
from workbench.objectives.places import bare
from workbench.objectives.restored import Restorer
from workbench.objectives.view import RowView, State, StreamView, TokenView

if TYPE_CHECKING:
    from torch import nn

    from workbench.data import TokenStore
    from workbench.data.framing import Frame

SAMPLES = 32
"""Draws of noise for a prompt."""
LONGEST_SAMPLE = 512
SPARE = 8
"""Tokens that a sample may be longer than what was cut out of it."""


class Denoising(VocabularyLoss):
    """Cross-entropy of what the decoder says of a corrupted text.

    `spans` (T5): the encoder reads `text <extra_id_0> text <extra_id_1> </s>`, the decoder says
    `<extra_id_0> span <extra_id_1> span </s>`. `infilling` (BART): the encoder reads the text with one mask
    for each span, the decoder says all of it.

    A new BART guesses, its first loss is ln V; a new T5's logits have a variance of about 1, for its
    embeddings do, and its first loss is some 0.5 nats more.
    """

    name: ClassVar[str] = "denoise"
    terms = ("loss",)
    stat_names = ("correct", "spans", "spans_right", *STATS)

    def __init__(self, recipe: Any, tokenizer: Any) -> None:
        super().__init__(recipe, tokenizer)
        section = recipe.objective
        self.frame = frame_for(self.name, tokenizer)
        self.pad_id = special_id(tokenizer, "pad_token", self.name)
        self.start_id = decoder_start(recipe.model, self.frame, self.pad_id)
        self.noise = SpanNoise(section.noise_density, section.mean_noise_span_length)
        self.special = frozenset(tokenizer.all_special_ids)
        self.mask_id: int | None = None
        self.sentinels = np.empty(0, np.int64)
        if section.noise == "infilling":
            self.mask_id = special_id(tokenizer, "mask_token", "denoise with noise=infilling")
        else:
            self.sentinels = _sentinels(tokenizer)
        self.restorer = Restorer(TokenText(tokenizer), self.sentinels, self.special)

    def rows(self, store: TokenStore, length: int, *, training: bool) -> Rows:
        """Corrupted rows, the text cut so that what the encoder reads fills them (Raffel et al. 2020, section
        3.1.4); held-out ones are corrupted the same in every evaluation."""
        data, stride = self.recipe.data, length - self.frame.size
        if self.mask_id is None:
            context = context_of(self.recipe.model)
            said = None if context is None else context - len(self.frame.suffix)
            stride = self.noise.raw_length(stride, said)
            self._check_sentinels(stride)
        source = PieceRows(
            store,
            length,
            stride=stride,
            frame=self.frame,
            packing=data.packing,
            shuffle=data.shuffle or not training,
            seed=self.recipe.training.seed,
        )
        return DenoiseRows(
            source,
            self.noise,
            self.sentinels,
            self.mask_id,
            self.pad_id,
            self.start_id,
            self.recipe.training.seed,
            TRAIN if training else EVAL,
            data.isolate_documents or not data.packing,
        )

    def _check_sentinels(self, stride: int) -> None:
        _, needed = self.noise.counts(stride)
        if needed > len(self.sentinels):
            raise ModelError(
                f"{needed} spans are cut out of a row of this length, and the tokenizer has "
                f"{len(self.sentinels)} sentinels",
                where="data.max_length",
                hint="a shorter data.max_length, or a longer objective.mean_noise_span_length",
            )

    def check(self, model: nn.Module) -> None:
        """The model must have an encoder and a decoder, and keep packed pieces apart."""
        if not getattr(bare(model).config, "is_encoder_decoder", False):
            raise ModelError(
                f"{type(model).__name__} has no encoder and decoder",
                hint="denoise trains t5 and bart models: model.family=t5",
            )
        if self.recipe.data.packing and self.recipe.data.isolate_documents:
            check_pair_isolation(bare(model))

    def loss(self, model: nn.Module, tensors: dict[str, torch.Tensor], batch: Batch) -> LossOutput:
        """Summed cross-entropy in fp32; spans are looked at in evaluations."""
        logits, targets = self.predict(model, tensors), tensors["targets"]
        sums = summed_losses(logits.flatten(0, 1), targets.flatten(), self.z_loss)
        right = _right(logits, targets)
        whole = torch.zeros(2, dtype=torch.int64, device=right.device)
        if not torch.is_grad_enabled():
            whole = _whole_spans(right, tensors["spans"])
        stats = torch.cat([right.sum().unsqueeze(0), whole, sums.stats])
        return LossOutput(sums.loss.unsqueeze(0), stats, peaks=sums.peaks)

    def predict(self, model: nn.Module, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
        """Logits [B, M, V] of the decoder, given the true tokens before each.

        With a soft prompt rows hold one document each, and PEFT's own forward puts the prompt before it.
        """
        if self.recipe.tuning.is_soft_prompt:
            output: Any = model(
                input_ids=tensors["input_ids"],
                attention_mask=(tensors["groups"] >= 0).long(),
                decoder_input_ids=tensors["decoder_input_ids"],
                # Its prefix is in the cache, without which PEFT gives none.
                use_cache=self.recipe.tuning.method == "prefix",
            )
            logits: torch.Tensor = output.logits
            return logits
        return call_encoder_decoder(
            model,
            tensors["input_ids"],
            tensors["decoder_input_ids"],
            tensors["groups"],
            tensors["decoder_groups"],
        )

    def metrics(self, totals: Totals, *, training: bool) -> dict[str, float]:
        """`mean_token_accuracy`; held-out also `perplexity` of the targets, and `span_exact_match`: the share
        of spans of which every token is the likeliest, given the true ones before it."""
        values = {"mean_token_accuracy": totals.stats["correct"] / max(totals.counts["loss"], 1)}
        if training:
            values |= self.logit_metrics(totals)
        else:
            values["span_exact_match"] = totals.stats["spans_right"] / max(totals.stats["spans"], 1)
            values["perplexity"] = exponential(totals.mean("loss"))
        return values

    def default_prompts(self, store: TokenStore) -> list[str]:
        """Excerpts of three held-out documents."""
        return excerpts(store, self.tokenizer, self.frame)

    def view(self, batch: Batch) -> list[RowView]:
        """What the encoder reads, and what the decoder reads and is to say; who attends to whom, from the
        masks that the model gets."""
        groups, said = (torch.as_tensor(batch.arrays[name]) for name in ("groups", "decoder_groups"))
        reads = block_mask(groups)[:, 0].numpy()
        speaks = block_mask(said, causal=True)[:, 0].numpy()
        crosses = block_mask(said, groups)[:, 0].numpy()
        views = []
        for row, cropped in enumerate(batch.extra["cropped"]):
            streams = [
                StreamView("input", self._inputs(batch, row), reads[row]),
                StreamView("decoder", self._outputs(batch, row), speaks[row], crosses[row]),
            ]
            notes = [f"{cropped} tokens at the end of the row were cut off"] if cropped else []
            views.append(RowView(row, streams, notes=notes))
        return views

    def _inputs(self, batch: Batch, row: int) -> list[TokenView]:
        spans_of, tokens = batch.arrays["spans"][row], list[TokenView]()
        places = zip(
            batch.arrays["input_ids"][row].tolist(),
            batch.arrays["groups"][row].tolist(),
            batch.extra["marks"][row].tolist(),
            strict=True,
        )
        for place, (token, text, mark) in enumerate(places):
            state: State = "special" if token in self.special else "context"
            state = "padding" if text < 0 else "sentinel" if mark != NO_SPAN else state
            size = int((spans_of == mark).sum())
            note = f"span {mark + 1}: {size} tokens" if mark != NO_SPAN else ""
            tokens.append(TokenView(token, state, place, text, note=note))
        return tokens

    def _outputs(self, batch: Batch, row: int) -> list[TokenView]:
        arrays, tokens = batch.arrays, list[TokenView]()
        names = ("decoder_input_ids", "decoder_groups", "targets", "spans")
        places = zip(*(arrays[name][row].tolist() for name in names), strict=True)
        for place, (token, text, target, span) in enumerate(places):
            note = f"span {span + 1}" if span != NO_SPAN else ""
            known = None if text < 0 else target
            state: State = "padding" if text < 0 else "supervised"
            tokens.append(TokenView(token, state, place, text, known, note=note))
        return tokens

    def sample(self, model: nn.Module, prompt: str) -> dict[str, Any]:
        """Corrupt a prompt and have the model restore it greedily, see `Restorer`. A prompt that has masks or
        sentinels is taken as it is."""
        generator: Any = model
        found = self.corrupted(prompt, context_of_config(bare(model).config) or LONGEST_SAMPLE)
        if found is None:
            return {"text": ""}
        ids = torch.tensor([[*self.frame.prefix, *found.inputs.tolist(), *self.frame.suffix]])
        ids = ids.to(next(model.parameters()).device)
        wanted = len(found.targets) or len(found.inputs)
        room = (context_of_config(bare(model).config) or LONGEST_SAMPLE) - self.frame.size
        room -= self.recipe.tuning.virtual_tokens
        output = generator.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            decoder_start_token_id=self.start_id,
            max_new_tokens=min(wanted + SPARE, room),
            do_sample=False,
            num_beams=1,
        )[0, 1:].tolist()
        tell = self.restorer.spans if self.mask_id is None else self.restorer.whole
        return {"prompt": self.restorer.prompt(found), "text": tell(found, output)}

    def corrupted(self, prompt: str, context: int) -> Corrupted | None:
        """A prompt, corrupted always the same and cut to a context; None for an empty one."""
        body = np.array(self.tokenizer(prompt, add_special_tokens=False)["input_ids"], np.int64)
        room = context - self.frame.size
        if not len(body):
            return None
        marks = np.isin(body, self.sentinels if self.mask_id is None else [self.mask_id])
        if marks.any():
            body, marks = body[:room], marks[:room]
            nothing = np.empty(0, np.int64)
            return Corrupted(body, np.where(marks, np.cumsum(marks) - 1, NO_SPAN), nothing, nothing)
        draws = Draws(self.recipe.training.seed, SAMPLES)
        if self.mask_id is None:
            body = body[: self.noise.raw_length(room, room)]
            return spans.corrupt(body, self.sentinels, self.noise, draws)
        return infilling.corrupt(body[:room], self.mask_id, self.noise, draws)


def decoder_start(section: Any, frame: Frame, pad_id: int) -> int:
    """What a decoder begins with: as the model's own configuration says, and of a new model as
    `workbench.models.configs` makes it: padding in T5, EOS in BART."""
    if section.model_name_or_path is not None:
        found = getattr(load_config(section), "decoder_start_token_id", None)
        if found is not None:
            return int(found)
        return frame.suffix[-1] if frame.prefix else pad_id
    return frame.suffix[-1] if section.family == "bart" else pad_id


@torch.no_grad()
def _right(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Which targets [B, M] no entry of logits [B, M, V] beats."""
    chosen = logits.gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return (chosen >= logits.amax(-1)) & (targets != IGNORE)


def _whole_spans(right: torch.Tensor, spans_of: torch.Tensor) -> torch.Tensor:
    """[2]: how many spans there are, of `spans_of` [B, M], and of how many all tokens are right."""
    rows = torch.arange(len(right), device=right.device)[:, None]
    inside = spans_of != NO_SPAN
    numbers = (rows * (right.shape[1] + 1) + spans_of)[inside]
    found, where = torch.unique(numbers, return_inverse=True)
    wrong = torch.zeros(len(found), dtype=torch.bool, device=right.device)
    wrong[where[~right[inside]]] = True
    return torch.stack([torch.tensor(len(found), device=right.device), (~wrong).sum()])


def _sentinels(tokenizer: Any) -> Tokens:
    """The ids of `<extra_id_0>`, `<extra_id_1>` … as far as the tokenizer has them."""
    vocabulary = tokenizer.get_vocab()
    names = [f"<extra_id_{number}>" for number in range(SENTINELS)]
    found = [vocabulary[name] for name in names if name in vocabulary]
    if not found:
        raise ModelError(
            "the tokenizer has no sentinels (<extra_id_0> …), which denoise with noise=spans needs",
            where=str(getattr(tokenizer, "name_or_path", "") or "the tokenizer"),
            hint="set objective.noise=infilling, which needs a mask token alone, or use a T5 tokenizer",
        )
    return np.array(found, np.int64)
