"""Denoising: restore what was cut out of a text (Raffel et al. 2020, T5; Lewis et al. 2020, BART)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F

from workbench.data.corruption import infilling, spans
from workbench.data.draws import Draws
from workbench.data.framing import frame_for, special_id
from workbench.data.pieces import PieceRows
from workbench.data.special_tokens import SENTINELS
from workbench.errors import ModelError
from workbench.models.context import context_of_config
from workbench.models.masks import block_mask
from workbench.objectives.base import EVAL, TRAIN, Batch, LossOutput, Objective, Rows, Totals
from workbench.objectives.clm import IGNORE, exponential, known
from workbench.objectives.denoise_rows import DenoiseRows
from workbench.objectives.encoder import bare
from workbench.objectives.fill import TokenText, excerpts
from workbench.objectives.view import RowView, State, StreamView, TokenView

if TYPE_CHECKING:
    from torch import nn

    from workbench.data import TokenStore

SAMPLES = 32
"""Draws of noise for a prompt."""
LONGEST_SAMPLE = 512


class Denoising(Objective):
    """Cross-entropy of what the decoder says of a corrupted text.

    `spans` (T5): the encoder reads `text <extra_id_0> text <extra_id_1> </s>`, the decoder says
    `<extra_id_0> span <extra_id_1> span </s>`. `infilling` (BART): the encoder reads the text with one mask
    for each span, the decoder says all of it.
    """

    name: ClassVar[str] = "denoise"
    terms = ("loss",)
    stat_names = ("correct", "spans", "spans_right")

    def __init__(self, recipe: Any, tokenizer: Any) -> None:
        super().__init__(recipe, tokenizer)
        self.frame = frame_for(self.name, tokenizer)
        self.pad_id = special_id(tokenizer, "pad_token", self.name)
        self.text = TokenText(tokenizer)
        self.special = frozenset(tokenizer.all_special_ids)
        self.mask_id = -1
        self.sentinels = np.empty(0, np.int64)
        if recipe.objective.noise == "infilling":
            self.mask_id = special_id(tokenizer, "mask_token", "denoise with noise infilling")
        else:
            self.sentinels = _sentinels(tokenizer)

    @property
    def isolate(self) -> bool:
        """Whether the pieces of a row are kept apart."""
        return bool(self.recipe.data.isolate_documents) or not self.recipe.data.packing

    @property
    def start_id(self) -> int:
        """What the decoder begins with: padding in T5, EOS in BART, as in their configurations."""
        bart = self.recipe.objective.noise == "infilling" and self.frame.prefix
        return self.frame.suffix[-1] if bart else self.pad_id

    def rows(self, store: TokenStore, length: int, *, training: bool) -> Rows:
        """Corrupted rows, the text cut so that what the encoder reads fills them; held-out ones are corrupted
        the same in every evaluation."""
        data, section = self.recipe.data, self.recipe.objective
        stride = room = length - self.frame.size
        if section.noise == "spans":
            shape = (section.noise_density, section.mean_noise_span_length)
            stride = spans.raw_length(room, *shape)
            self._check_sentinels(spans.counts(stride, *shape)[1])
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
            section,
            self.sentinels,
            self.mask_id,
            self.pad_id,
            self.start_id,
            self.recipe.training.seed,
            TRAIN if training else EVAL,
            self.isolate,
        )

    def _check_sentinels(self, needed: int) -> None:
        # Pieces of a row each round their number of spans up.
        if needed + 8 > len(self.sentinels):
            raise ModelError(
                f"rows of this length have about {needed} spans cut out, there are "
                f"{len(self.sentinels)} sentinels",
                where="data.max_length",
                hint="a shorter data.max_length, or a longer objective.mean_noise_span_length",
            )

    def check(self, model: nn.Module) -> None:
        """The model must have an encoder and a decoder, and packed pieces need relative positions."""
        config = bare(model).config
        if not getattr(config, "is_encoder_decoder", False):
            raise ModelError(
                f"{type(model).__name__} is no encoder–decoder",
                hint="denoise trains t5 and bart models: model.family=t5",
            )
        data = self.recipe.data
        if data.packing and data.isolate_documents and config.model_type not in ("t5", "mt5"):
            raise ModelError(
                f"{type(model).__name__} cannot keep packed documents apart: its positions run through a row",
                hint="set data.packing=false, or data.isolate_documents=false to train across boundaries",
            )

    def loss(self, model: nn.Module, tensors: dict[str, torch.Tensor], batch: Batch) -> LossOutput:
        """Summed cross-entropy in fp32."""
        logits = self.predict(model, tensors)
        targets = tensors["targets"]
        loss_sum = F.cross_entropy(
            logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORE, reduction="sum"
        )
        return LossOutput(loss_sum.unsqueeze(0), _stats(logits, targets, tensors["spans"]))

    def predict(self, model: nn.Module, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
        """Logits [B, M, V] of the decoder, given the true tokens before each.

        The encoder is called apart, for the decoder's view of it needs another mask than its own; several
        processes exchange gradients all the same, for those are taken where they arise.
        """
        groups, said = tensors["groups"], tensors["decoder_groups"]
        inner = bare(model)
        kind = next(model.parameters()).dtype
        hidden = inner.get_encoder()(
            input_ids=tensors["input_ids"], attention_mask=additive(block_mask(groups), kind)
        )
        logits: torch.Tensor = model(
            encoder_outputs=hidden,
            attention_mask=additive(block_mask(said, groups), kind),
            decoder_input_ids=tensors["decoder_input_ids"],
            decoder_attention_mask=additive(block_mask(said, causal=True), kind),
            use_cache=False,
        ).logits
        return logits

    def metrics(self, totals: Totals, *, training: bool) -> dict[str, float]:
        """`mean_token_accuracy`, and the share of spans of which every token is predicted right, given the
        true ones before; held-out also `perplexity`, of the targets."""
        values = {
            "mean_token_accuracy": totals.stats["correct"] / max(totals.counts["loss"], 1),
            "span_exact_match": totals.stats["spans_right"] / max(totals.stats["spans"], 1),
        }
        return values if training else {**values, "perplexity": exponential(totals.mean("loss"))}

    def default_prompts(self, store: TokenStore) -> list[str]:
        """Excerpts of three held-out documents."""
        return excerpts(store, self.tokenizer, self.frame)

    def view(self, batch: Batch) -> list[RowView]:
        """What the encoder reads and what the decoder is to say, and who attends to whom, from the masks that
        the model gets."""
        arrays = batch.arrays
        groups, said = (torch.as_tensor(arrays[name]) for name in ("groups", "decoder_groups"))
        reads = block_mask(groups)[:, 0].numpy()
        speaks = block_mask(said, causal=True)[:, 0].numpy()
        crosses = block_mask(said, groups)[:, 0].numpy()
        views = []
        for row in range(len(reads)):
            documents = batch.extra["document_ids"][row].tolist()
            inputs = [
                TokenView(token, self._state(token, document, None), place, document)
                for place, (token, document) in enumerate(
                    zip(arrays["input_ids"][row].tolist(), documents, strict=True)
                )
            ]
            places = zip(
                arrays["decoder_input_ids"][row].tolist(),
                arrays["targets"][row].tolist(),
                arrays["spans"][row].tolist(),
                batch.extra["decoder_document_ids"][row].tolist(),
                strict=True,
            )
            outputs = [
                TokenView(
                    token,
                    self._state(token, document, target),
                    place,
                    document,
                    known(target),
                    None,
                    f"span {span}" if span >= 0 else "",
                )
                for place, (token, target, span, document) in enumerate(places)
            ]
            streams = [
                StreamView("input", inputs, reads[row]),
                StreamView("decoder", outputs, speaks[row], crosses[row]),
            ]
            views.append(RowView(row, streams))
        return views

    def _state(self, token: int, document: int, target: int | None) -> State:
        if document < 0:
            return "padding"
        if target is not None and target != IGNORE:
            return "supervised"
        if token == self.mask_id:
            return "masked"
        if token in self.sentinels:
            return "sentinel"
        return "special" if token in self.special else "context"

    def sample(self, model: nn.Module, prompt: str) -> dict[str, Any]:
        """Corrupt a prompt, have the model restore it greedily: `«restored» (truth)` in the place of each
        span; of infilling, the whole text that the decoder says."""
        generator: Any = model
        body = np.array(self.tokenizer(prompt, add_special_tokens=False)["input_ids"], np.int64)
        if not len(body):
            return {"text": ""}
        section = self.recipe.objective
        shape = (section.noise_density, section.mean_noise_span_length)
        draws = Draws(self.recipe.training.seed, SAMPLES)
        room = (context_of_config(bare(model).config) or LONGEST_SAMPLE) - self.frame.size
        if section.noise == "infilling":
            found = infilling.corrupt(body[:room], self.mask_id, *shape, draws)
        else:
            body = body[: spans.raw_length(room, *shape)]
            found = spans.corrupt(body, self.sentinels, *shape, draws)
        ids = np.concatenate([self.frame.prefix, found.inputs, self.frame.suffix]).astype(np.int64)
        output = generator.generate(
            input_ids=torch.from_numpy(ids)[None].to(next(model.parameters()).device),
            max_new_tokens=min(len(found.targets) + 8, room),
            do_sample=False,
        )[0].tolist()
        masked = self.text.join([self.text.run([token]) for token in found.inputs.tolist()])
        if section.noise == "infilling":
            said = [token for token in output if token not in self.special]
            return {"prompt": masked, "text": self.text.run(said) or "(nothing)"}
        return {"prompt": masked, "text": self._restored(found, output)}

    def _restored(self, found: spans.Corrupted, output: list[int]) -> str:
        """The text with each span as the model says it, and the truth behind it."""
        told, true = self._by_sentinel(output), self._by_sentinel(found.targets.tolist())
        parts = []
        for token in found.inputs.tolist():
            if token not in true:
                parts.append(self.text.run([token]))
                continue
            said = self.text.run(told.get(token, [])).strip()
            parts.append(f" «{said}» ({self.text.run(true[token]).strip()})")
        return self.text.join(parts)

    def _by_sentinel(self, tokens: list[int]) -> dict[int, list[int]]:
        spans_of: dict[int, list[int]] = {}
        current: list[int] | None = None
        for token in tokens:
            if token in self.sentinels:
                current = spans_of.setdefault(token, [])
            elif current is not None and token not in self.special:
                current.append(token)
        return spans_of


def additive(mask: torch.Tensor, kind: torch.dtype) -> torch.Tensor:
    """A boolean mask as what is added to attention scores: 0, or the least number there is."""
    return torch.zeros_like(mask, dtype=kind).masked_fill(~mask, torch.finfo(kind).min)


@torch.no_grad()
def _stats(logits: torch.Tensor, targets: torch.Tensor, spans_of: torch.Tensor) -> torch.Tensor:
    """Targets predicted right, spans, and spans with all of their tokens right."""
    chosen = logits.gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    right = (chosen >= logits.amax(-1)) & (targets != IGNORE)
    size = int(spans_of.max()) + 1
    if size <= 0:
        return torch.stack([right.sum(), right.sum() * 0, right.sum() * 0])
    inside = spans_of >= 0
    rows = torch.arange(len(targets), device=targets.device)[:, None].expand_as(targets)
    numbers = (rows * size + spans_of)[inside]
    tokens = torch.bincount(numbers, minlength=len(targets) * size)
    hits = torch.bincount(numbers, weights=right[inside].float(), minlength=len(targets) * size)
    return torch.stack([right.sum(), (tokens > 0).sum(), ((tokens > 0) & (hits == tokens)).sum()])


def _sentinels(tokenizer: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The ids of `<extra_id_0>`, `<extra_id_1>` … as far as the tokenizer has them."""
    vocabulary = tokenizer.get_vocab()
    names = [f"<extra_id_{number}>" for number in range(SENTINELS)]
    found = [vocabulary[name] for name in names if name in vocabulary]
    if not found:
        raise ModelError(
            "the tokenizer has no sentinels (<extra_id_0> …), which denoise needs for its spans",
            where=str(getattr(tokenizer, "name_or_path", "") or "the tokenizer"),
            hint="use objective.noise=infilling with a tokenizer that has a mask, or a T5 tokenizer",
        )
    return np.array(found, np.int64)
