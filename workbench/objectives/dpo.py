"""Direct preference optimisation: make preferred answers likelier than others, as far as a reference allows
(Rafailov et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from workbench.data.records import PreferenceStore, RowOrder
from workbench.data.tokenizer import load_tokenizer
from workbench.errors import ModelError
from workbench.models.fast_products import has_fast_products, use_fast_products
from workbench.models.fused_layers import fuse_layers, has_fused_layers
from workbench.models.shared_prompt.support import share_prompts, take_shared_prompts
from workbench.objectives.base import Batch, LossOutput, Rows, Totals
from workbench.objectives.beginning import Beginning
from workbench.objectives.fused_head import can_fuse
from workbench.objectives.preference.answer_logprobs import answer_logprobs
from workbench.objectives.preference.dpo_losses import DPOOptions, PairLogprobs, dpo_loss
from workbench.objectives.preference.pair_rows import PairRows, RowForm
from workbench.objectives.preference.pair_view import pair_views
from workbench.objectives.preference.reference import Reference
from workbench.objectives.preference.sequence_logprobs import SequenceLogprobs
from workbench.objectives.sft import SupervisedFineTuning

if TYPE_CHECKING:
    from torch import nn

    from workbench.objectives.view import RowView
    from workbench.recipe import Recipe


class DirectPreferenceOptimization(SupervisedFineTuning):
    """The loss of pairs of answers, one prompt with all its compared answers a row; a prompt's loss is the
    mean over its pairs, so that nine answers do not outweigh two."""

    name: ClassVar[str] = "dpo"
    terms = ("loss",)
    stat_names = (
        *("rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies"),
        *("logps/chosen", "logps/rejected"),
    )

    def __init__(self, recipe: Recipe, tokenizer: Any) -> None:
        super().__init__(recipe, tokenizer)
        section = recipe.objective
        self.options = DPOOptions(
            section.loss_type, section.beta, section.label_smoothing, section.nll_coefficient
        )
        self.form = RowForm()
        self.is_fused = False
        self.length = 0
        self.reference: Reference | None = None

    def rows(self, store: Any, length: int, *, training: bool) -> Rows:
        """One prompt with its answers a row."""
        assert isinstance(store, PreferenceStore)
        self.length = max(self.length, length)
        shuffle = training and self.recipe.data.shuffle
        rows = RowOrder(store, seed=self.recipe.training.seed, shuffle=shuffle)
        return PairRows(rows, store, self.recipe.objective.pairs, self.form)

    def check(self, model: nn.Module) -> None:
        """Find out whether the model takes a prompt once for several answers, and its head in blocks: what it
        does not take is computed the long way."""
        if self.recipe.training.torch_compile:
            # Every batch has another shape, and the head is a part of what is compiled.
            self.form.is_shared, reason = False, "it is compiled"
        else:
            reason = share_prompts(model, self.length) or ""
            self.form.is_shared = not reason
            self.is_fused = can_fuse(model)
        if reason:
            print(f"each answer has its prompt in a row of its own: {reason}", flush=True)

    def found(self) -> dict[str, Any]:
        """How rows and logits are computed."""
        return {"is_shared": self.form.is_shared, "is_fused": self.is_fused}

    def adopt(self, model: nn.Module, found: Mapping[str, Any]) -> None:
        """Compute them the same way."""
        self.form.is_shared, self.is_fused = bool(found["is_shared"]), bool(found["is_fused"])
        if self.form.is_shared:
            take_shared_prompts(model)

    def begin(self, start: Beginning) -> None:
        """Have the reference ready: computed beforehand, or in memory."""
        recipe = self.recipe
        section, named = recipe.objective, recipe.objective.ref_model_name_or_path
        reference = self.reference = Reference(start, named, recipe.tuning.is_adapter, self._dress)
        if named and not start.has_moved:
            self._check_tokens(named)
            # What it cannot do is not done to the policy either: both are computed the same way.
            reference.copy()
        noted = reference.note(is_shared=self.form.is_shared, is_fused=self.is_fused)
        self.form.is_shared = self.form.is_shared and bool(noted["is_shared"])
        self.is_fused = self.is_fused and bool(noted["is_fused"])
        if section.precompute_ref_log_probs:
            template = str(self.tokenizer.chat_template or "")
            seed, shuffle = recipe.training.seed, recipe.data.shuffle
            ways = [
                *(self.form.is_shared, self.is_fused, recipe.training.torch_compile),
                *(has_fused_layers(start.model), has_fast_products(start.model)),
            ]
            parts = [template, recipe.data.max_length, section.pairs, seed, shuffle, *ways]
            reference.precompute(self._score, noted, parts)
        elif start.has_moved:
            reference.check(noted)

    def _score(self, model: nn.Module, tensors: dict[str, torch.Tensor], batch: Batch) -> torch.Tensor:
        return answer_logprobs(model, tensors, batch, is_fused=self.is_fused).sums

    def _check_tokens(self, named: str) -> None:
        """Both models must read the same tokens, or log-probabilities are of different texts."""
        trusted = self.recipe.model.trust_remote_code
        other = load_tokenizer(named, revision=None, trust_remote_code=trusted).get_vocab()
        own = self.tokenizer.get_vocab()
        if other != own:
            differ = sum(own.get(token) != number for token, number in other.items())
            raise ModelError(
                f"the reference reads other tokens than the policy: {differ:,} of its {len(other):,} differ",
                where=named,
                hint="take a reference with the policy's tokenizer, as the model that the policy came from",
            )

    def _dress(self, model: nn.Module) -> None:
        """Make a reference that was loaded for itself compute as the policy does."""
        if self.form.is_shared and share_prompts(model, self.length):
            self.form.is_shared = False
        self.is_fused = self.is_fused and can_fuse(model)
        assert self.reference is not None
        policy = self.reference.start.model
        if has_fused_layers(policy):
            fuse_layers(model)
        if has_fast_products(policy):
            use_fast_products(model)

    def loss(self, model: nn.Module, tensors: dict[str, torch.Tensor], batch: Batch) -> LossOutput:
        """Summed over prompts; rewards and log-probabilities likewise, each prompt the mean of its pairs."""
        policy = answer_logprobs(model, tensors, batch, is_fused=self.is_fused)
        sums = tensors.get("reference")
        if sums is None:
            assert self.reference is not None, "begin() comes first"
            sums = self.reference.ask(self._score, tensors, batch)
        reference = SequenceLogprobs(sums, policy.counts)
        better, worse, weights = tensors["better"], tensors["worse"], tensors["weights"]
        found = dpo_loss(
            PairLogprobs(policy[better], policy[worse]),
            PairLogprobs(reference[better], reference[worse]),
            self.options,
        )
        values = found.metrics()
        stats = torch.stack([(values[name] * weights).sum() for name in self.stat_names])
        return LossOutput((found.losses * weights).sum().unsqueeze(0), stats)

    def metrics(self, totals: Totals, *, training: bool) -> dict[str, float]:
        """`rewards/{chosen,rejected,margins,accuracies}` and `logps/{chosen,rejected}`, as TRL names them."""
        count = max(totals.counts["loss"], 1)
        return {name: totals.stats[name] / count for name in self.stat_names}

    def view(self, batch: Batch) -> list[RowView]:
        """Each prompt once with its answers behind it, whichever way the model reads them."""
        return pair_views(batch, set(self.tokenizer.all_special_ids))

    def question(self, record: dict[str, Any]) -> str:
        """A record's prompt, where the user alone says it; else nothing."""
        prompt = record["prompt"]
        if isinstance(prompt, str):
            return prompt
        is_alone = len(prompt) == 1 and prompt[0]["role"] == "user"
        return str(prompt[0]["content"]) if is_alone else ""
