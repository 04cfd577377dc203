"""Causal language modelling: predict every token from the ones before it (Radford et al. 2018)."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import nn

from workbench.data import PackedRows
from workbench.models.context import context_of_config
from workbench.models.isolation import check_isolation
from workbench.models.rope_scaling import is_moving
from workbench.objectives.base import Batch, LossOutput, Rows, Totals
from workbench.objectives.fused_head import can_fuse, is_frozen, logprobs_for_logits, loss_for_logits
from workbench.objectives.logit_size import STATS, VocabularyLoss, summed_losses
from workbench.objectives.places import bare, only_at
from workbench.objectives.view import RowView, State, StreamView, TokenView
from workbench.ops.decoder_training.head import why_not

if TYPE_CHECKING:
    from workbench.recipe import Recipe

IGNORE = -100
TEMPERATURE = 0.8
TOP_K = 50


@dataclass(frozen=True)
class CausalRows:
    """Packed rows as batches."""

    packed: PackedRows

    @property
    def length(self) -> int:
        """Tokens in a row."""
        return self.packed.length

    def rows_per_epoch(self, epoch: int) -> int:
        """How many rows an epoch has."""
        return self.packed.rows_per_epoch(epoch)

    def batch(self, start: int, count: int) -> Batch:
        """`input_ids`, `position_ids` and `targets`, each [count, length]."""
        rows = self.packed.batch(start, count)
        arrays = {
            "input_ids": rows.input_ids,
            "position_ids": rows.position_ids,
            "targets": rows.targets,
        }
        extra = {"document_ids": rows.document_ids}
        return Batch(arrays, (rows.num_targets,), int((rows.document_ids >= 0).sum()), extra)

    def report(self) -> dict[str, Any]:
        """See `PackedRows.report`."""
        return self.packed.report()


class CausalLanguageModeling(VocabularyLoss):
    """Cross-entropy against targets that are shifted already; a target of −100 is no target.

    Rows carry position ids that start anew at each document. With no attention mask given,
    transformers reads the boundaries from them and attends block-diagonally.
    """

    name: ClassVar[str] = "clm"
    terms = ("loss",)
    stat_names: tuple[str, ...] = ("correct", *STATS)
    is_dense: ClassVar[bool] = True
    """Whether rows that are packed are predicted in nearly all places."""
    bytes_per_token: float | None = None

    def __init__(self, recipe: Recipe, tokenizer: Any) -> None:
        super().__init__(recipe, tokenizer)
        self._fuses = WeakKeyDictionary[nn.Module, bool]()

    def rows(self, store: Any, length: int, *, training: bool) -> Rows:
        """Packed rows; held-out ones have one order for ever, but a mixed one, so that some of them stand
        for all kinds of text."""
        data = self.recipe.data
        if not training:
            self.bytes_per_token = store.num_bytes / max(store.num_tokens, 1)
        return CausalRows(
            PackedRows(
                store,
                length,
                packing=data.packing,
                isolate=data.isolate_documents,
                shuffle=data.shuffle or not training,
                seed=self.recipe.training.seed,
            )
        )

    def check(self, model: nn.Module) -> None:
        """The model must keep packed documents apart."""
        data = self.recipe.data
        if data.packing and data.isolate_documents:
            check_isolation(model)

    def loss(self, model: nn.Module, tensors: dict[str, torch.Tensor], batch: Batch) -> LossOutput:
        """Summed cross-entropy in fp32, whatever precision the model answers in."""
        ids, targets = tensors["input_ids"], tensors["targets"]
        # Behind a soft prompt PEFT counts the positions on, and takes none.
        given = {} if self.recipe.tuning.is_soft_prompt else {"position_ids": tensors["position_ids"]}
        head = bare(model).get_output_embeddings()
        if not is_frozen(head) and self._can_fuse(model) and why_not(head) is None:
            with loss_for_logits(head, targets, self.z_loss) as found:
                loss_sum = model(input_ids=ids, use_cache=False, **given).logits.sum()
            return LossOutput(loss_sum.unsqueeze(0), found[0].stats, peaks=found[0].peaks)
        # Log-probabilities do not tell how large the logits were.
        if is_frozen(head) and not self.z_loss and self._can_fuse(model):
            with logprobs_for_logits(head, targets) as selected:
                logprobs = model(input_ids=ids, use_cache=False, **given).logits
            best = selected[0].is_best.sum().float()
            unseen = best.new_zeros(len(STATS))
            return LossOutput(-logprobs.sum().unsqueeze(0), torch.cat([best.unsqueeze(0), unseen]))
        targets = targets.flatten()
        if self.recipe.data.packing and self.is_dense:
            logits = model(input_ids=ids, use_cache=False, **given).logits.flatten(0, 1)
        else:
            # Most places are prompt or padding, and their logits would take more memory than all else.
            places = (targets != IGNORE).nonzero().squeeze(1)
            targets = targets[places]
            with only_at(head, places, ids.shape[1]):
                logits = model(input_ids=ids, use_cache=False, **given).logits
        sums = summed_losses(logits, targets, self.z_loss)
        stats = torch.cat([correct_count(logits, targets).unsqueeze(0), sums.stats])
        return LossOutput(sums.loss.unsqueeze(0), stats, peaks=sums.peaks)

    def _can_fuse(self, model: nn.Module) -> bool:
        """See `can_fuse`, which asks each model once."""
        model = bare(model)
        if model not in self._fuses:
            self._fuses[model] = can_fuse(model)
        return self._fuses[model]

    def metrics(self, totals: Totals, *, training: bool) -> dict[str, float]:
        """`mean_token_accuracy`; held-out also `perplexity` and `bits_per_byte`."""
        values = {"mean_token_accuracy": totals.stats["correct"] / max(totals.counts["loss"], 1)}
        if training:
            values |= self.logit_metrics(totals)
        else:
            loss = totals.mean("loss")
            values["perplexity"] = exponential(loss)
            if self.bytes_per_token is not None:
                values["bits_per_byte"] = loss / math.log(2) / self.bytes_per_token
        return values

    def view(self, batch: Batch) -> list[RowView]:
        """Each token with the one it must predict, the next; causal attention inside each document."""
        views = []
        arrays = batch.arrays
        special = set(self.tokenizer.all_special_ids)
        for row, ids in enumerate(arrays["input_ids"].tolist()):
            documents, positions = batch.extra["document_ids"][row], arrays["position_ids"][row]
            tokens = [
                TokenView(
                    token, _state(document, target, token in special), position, document, known(target)
                )
                for token, target, position, document in zip(
                    ids, arrays["targets"][row].tolist(), positions.tolist(), documents.tolist(), strict=True
                )
            ]
            # What transformers reads from the positions: a sequence begins where they do not go on.
            sequence = np.cumsum(np.diff(positions, prepend=positions[0] - 1) != 1)
            attends = np.tril(sequence[:, None] == sequence[None, :])
            views.append(RowView(row, [StreamView("input", tokens, attends)]))
        return views

    def sample(self, model: nn.Module, prompt: str) -> dict[str, Any]:
        """Continue a prompt with temperature 0.8 and top-k 50."""
        generator: Any = model
        text = self.prompt_of(prompt)
        encoded = self.tokenizer(
            text,
            return_tensors="pt",
            return_token_type_ids=False,
            # A chat template writes its own.
            add_special_tokens=text == prompt,
        ).to(generator.device)
        length = encoded["input_ids"].shape[1]
        context = context_of_config(generator.config) or 10**9
        context -= self.recipe.tuning.virtual_tokens
        room = min(self.recipe.training.sample_max_new_tokens, context - length)
        if length == 0 or room < 1:
            return {"text": ""}
        pad = self.tokenizer.pad_token_id
        with warnings.catch_warnings():
            # PEFT counts positions on behind a soft prompt, and warns of those that transformers gives.
            warnings.filterwarnings("ignore", message="Position ids are not supported")
            output = generator.generate(
                **encoded,
                do_sample=True,
                temperature=TEMPERATURE,
                top_k=TOP_K,
                max_new_tokens=room,
                # Where angles change with the length, keys do not stay what they were.
                use_cache=not is_moving(generator.config),
                pad_token_id=self.tokenizer.eos_token_id if pad is None else pad,
            )
        return {"text": str(self.tokenizer.decode(output[0, length:], skip_special_tokens=True))}

    def prompt_of(self, prompt: str) -> str:
        """A prompt of a sample as the model reads it."""
        return prompt


def known(target: int) -> int | None:
    """A target, or None for no target."""
    return None if target == IGNORE else target


def _state(document: int, target: int, special: bool) -> State:
    if document < 0:
        return "padding"
    if target != IGNORE:
        return "supervised"
    return "special" if special else "context"


@torch.no_grad()
def correct_count(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """How many targets [N] no entry of logits [N, V] beats; a target of −100 does not count.

    amax is twenty times faster than argmax on a CPU, where argmax took 1.5 % of a small model's step.
    """
    of_targets = logits.gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return ((of_targets >= logits.amax(-1)) & (targets != IGNORE)).sum()


def exponential(loss: float) -> float:
    """The perplexity of a loss; infinite where it would overflow."""
    return math.exp(loss) if loss < 700 else math.inf
