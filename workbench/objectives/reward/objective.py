"""Learning to score answers as people ranked them (Ouyang et al. 2022, section 3.5)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from workbench.data.records import PreferenceStore, Record, RowOrder
from workbench.data.records.preference_encoding import AnswerRenderer
from workbench.data.records.preferences import comparison
from workbench.errors import DataError
from workbench.models.reward_head import (
    pad_with,
    padding_for_scores,
    reward_layer,
    score_in_fp32,
    set_reward_shift,
)
from workbench.models.shared_prompt.attention import flat_mask
from workbench.models.shared_prompt.plan import plan_of
from workbench.models.shared_prompt.support import share_prompts, take_shared_prompts
from workbench.objectives.base import Batch, LossOutput, Objective, Rows, Totals
from workbench.objectives.preference.pair_rows import RowForm
from workbench.objectives.preference.plackett_luce import MAX_ANSWERS, plackett_luce_loss
from workbench.objectives.preference.ranking_loss import (
    RankingLoss,
    pairwise_ranking_loss,
    ranking_statistics,
)
from workbench.objectives.reward.all_scores import AllScores
from workbench.objectives.reward.pairs_apart import pairs_apart
from workbench.objectives.reward.references import reference_rows
from workbench.objectives.reward.report import Scored, held_out_scores, report
from workbench.objectives.reward.rows import EXTRA, RankedRows, padded
from workbench.objectives.reward.scoring import RewardScorer
from workbench.objectives.reward.view import views_of
from workbench.objectives.task import bare

if TYPE_CHECKING:
    from torch import nn

    from workbench.objectives.view import RowView
    from workbench.recipe import Recipe

SAMPLES = 3
SHOWN = 60
"""Characters of an answer in a sample."""

SCORED_AT_ONCE = 8


class RewardModeling(Objective):
    """The mean over prompts of −log σ(r_w − r_l), itself a mean over the pairs of a prompt, in fp32.

    All k answers to a prompt are in one row, so each is read once however many pairs it is in, and an epoch
    shows each prompt once: pairs shuffled apart overfit (ibid.).
    """

    name: ClassVar[str] = "reward"
    terms = ("loss",)
    stat_names = ("pairs", "correct", "margin", "min_reward", "mean_reward", "max_reward")

    def __init__(self, recipe: Recipe, tokenizer: Any) -> None:
        super().__init__(recipe, tokenizer)
        self.max_length = 0
        self.pad_token_id = int(tokenizer.pad_token_id or 0)
        self.form = RowForm(is_shared=False)
        self._references: list[list[int]] = []
        self._samples: dict[str, dict[str, Any]] = {}

    def rows(self, store: PreferenceStore, length: int, *, training: bool) -> Rows:
        """A prompt with all its answers a row, or, while training with `shuffle_pairs`, with two of them."""
        options, section = self.recipe.objective, self.recipe.training
        self.max_length = length
        if training:
            # Both sides pad alike: held-out answers end as training ones do.
            ends = {int(ids) for ids in store.answer_ids[store.answer_offsets[1:] - 1]}
            self.pad_token_id = padding_for_scores(self.tokenizer, ends)
            self.tokenizer.pad_token = self.tokenizer.convert_ids_to_tokens(self.pad_token_id)
            store = pairs_apart(store) if options.shuffle_pairs else store
        self._check_answers(store)
        size = section.per_device_train_batch_size
        order = RowOrder(
            store,
            seed=section.seed,
            shuffle=training and self.recipe.data.shuffle,
            # By whole steps: their rows are the same however many processes share them.
            batch_bucketing=self.recipe.rows_per_step if training else 0,
        )
        return RankedRows(order, self.pad_token_id, size, self.form)

    def _check_answers(self, store: PreferenceStore) -> None:
        most = max((len(store.answers_of(element)) for element in range(len(store))), default=0)
        if self.recipe.objective.ranking_loss == "plackett_luce" and most > MAX_ANSWERS:
            raise DataError(
                f"a prompt has {most} answers; plackett_luce is for {MAX_ANSWERS} at most",
                where="objective.ranking_loss",
                hint="use objective.ranking_loss=pairwise",
            )

    def check(self, model: nn.Module) -> None:
        """The model must give one score; what it is padded with is set, and references are read. Where the
        model computes flat rows as it does separate ones, prompts are computed once for all their answers."""
        self._prepare(model)
        # Every flat row has another shape, which is no good to a compiled model.
        compiled = self.recipe.training.torch_compile
        reason = "it is compiled" if compiled else share_prompts(AllScores(model), self.max_length)
        self.form.is_shared = reason is None
        if reason is not None:
            print(f"prompts are computed once for each answer: {reason}", flush=True)

    def found(self) -> dict[str, Any]:
        """How rows are computed."""
        return {"is_shared": self.form.is_shared}

    def adopt(self, model: nn.Module, found: Mapping[str, Any]) -> None:
        """What `check` sets, and rows as they are computed elsewhere."""
        self._prepare(model)
        self.form.is_shared = bool(found["is_shared"])
        if self.form.is_shared:
            take_shared_prompts(AllScores(model))

    def _prepare(self, model: nn.Module) -> None:
        inner = bare(model)
        score_in_fp32(reward_layer(inner))
        pad_with(inner, self.tokenizer, self.pad_token_id)
        sources = self.recipe.objective.reference_sources
        if sources:
            self._references = reference_rows(sources, self.tokenizer, self.max_length)
        for prompt in self.recipe.training.sample_prompts:
            self._record_of(prompt)

    def forward(
        self, model: nn.Module, tensors: Mapping[str, torch.Tensor], layout: Any = None
    ) -> torch.Tensor:
        """Scores [A] of sequences, without a shift, in fp32; `layout` is of a flat row's plan."""
        if "ends" in tensors:
            found = AllScores(model)(
                input_ids=tensors["input_ids"],
                position_ids=tensors["position_ids"],
                attention_mask=flat_mask(tensors["input_ids"].device),
                row_plan=plan_of(dict(tensors), layout),
                use_cache=False,
            )
            flat: torch.Tensor = found.logits.float().flatten()
            return flat.index_select(0, tensors["ends"])
        inputs = {name: value for name, value in tensors.items() if name not in EXTRA}
        scores: torch.Tensor = model(**inputs, use_cache=False).logits.float().squeeze(-1)
        return scores

    def loss(self, model: nn.Module, tensors: dict[str, torch.Tensor], batch: Batch) -> LossOutput:
        """Summed over prompts; predictions are `Scored`."""
        scores = self.forward(model, tensors, batch.extra.get("layout"))
        rewards, ranks, present = scores[tensors["places"]], tensors["ranks"], tensors["present"]
        found = self.ranking_loss(rewards, ranks, present, tensors["margins"])
        stats = ranking_statistics(rewards, ranks, present)
        known = rewards.detach()
        counts = present.sum(1)
        by_prompt = (
            known.masked_fill(~present, torch.inf).amin(1),
            known.masked_fill(~present, 0.0).sum(1) / counts,
            known.masked_fill(~present, -torch.inf).amax(1),
        )
        sums = [stats.pairs.float(), stats.correct.float(), stats.margin, *(each.sum() for each in by_prompt)]
        output = LossOutput(found.per_prompt.sum().unsqueeze(0), torch.stack(sums))
        if not torch.is_grad_enabled():
            output.predictions = self._scored(known, batch)
        return output

    def ranking_loss(
        self, rewards: torch.Tensor, ranks: torch.Tensor, present: torch.Tensor, margins: torch.Tensor
    ) -> RankingLoss:
        """The recipe's loss of rewards [P, K] by prompt; `margins` [P]."""
        options = self.recipe.objective
        if options.ranking_loss == "plackett_luce":
            return plackett_luce_loss(rewards, ranks, present)
        return pairwise_ranking_loss(
            rewards,
            ranks,
            present,
            ties=options.ties,
            margins=margins.view(-1, 1, 1),
            center_coefficient=options.center_rewards_coefficient,
        )

    def _scored(self, rewards: torch.Tensor, batch: Batch) -> list[Any]:
        store: PreferenceStore = batch.extra["store"]
        found = []
        for row, element in zip(rewards.tolist(), batch.extra["elements"], strict=True):
            numbers = list(store.answers_of(element))
            lengths = store.answer_lengths[numbers].tolist()
            found.append(Scored(row[: len(numbers)], store.ranks[numbers].tolist(), lengths))
        return found

    def metrics(self, totals: Totals, *, training: bool) -> dict[str, float]:
        """`accuracy` and `margin` over pairs; the worst, mean and best reward of a prompt's answers, the mean
        over prompts. All without a shift, which is made when the model is saved."""
        stats, prompts = totals.stats, max(totals.counts["loss"], 1)
        pairs = max(stats["pairs"], 1)
        means = {name: stats[name] / prompts for name in ("min_reward", "mean_reward", "max_reward")}
        return {"accuracy": stats["correct"] / pairs, "margin": stats["margin"] / pairs, **means}

    def score(self, predictions: Sequence[Any]) -> dict[str, float]:
        """See `held_out_scores`."""
        return held_out_scores(predictions)

    def report(self, predictions: Sequence[Any]) -> dict[str, Any] | None:
        """See `reward.report.report`."""
        return report(predictions)

    @torch.no_grad()
    def before_saving(self, model: nn.Module) -> None:
        """Put the references at 0: their mean score, as the model is now, goes into its configuration."""
        if not self._references:
            return
        was_training = model.training
        model.eval()
        scores = self.scores(model, self._references)
        model.train(was_training)
        set_reward_shift(bare(model).config, torch.tensor(scores, dtype=torch.float64))

    @torch.no_grad()
    def scores(self, model: nn.Module, sequences: Sequence[Sequence[int]]) -> list[float]:
        """What a model says of rows of tokens, without a shift."""
        found: list[float] = []
        device = next(model.parameters()).device
        for start in range(0, len(sequences), SCORED_AT_ONCE):
            ids, mask = padded(sequences[start : start + SCORED_AT_ONCE], self.pad_token_id)
            batch = Batch({"input_ids": ids, "attention_mask": mask}, (), 0)
            found += self.forward(model, self.tensors(batch, device)).tolist()
        return found

    def answers(
        self, model: nn.Module, records: Sequence[Mapping[str, Any]], max_length: int, batch_size: int
    ) -> list[dict[str, Any]]:
        """`scores` of the answers to each record (None for what is blank or does not fit), and `prediction`,
        the number of the best from 0; `batch_size` is left to the lengths."""
        found = []
        for scores in RewardScorer(model, self.tokenizer, max_length).each(records):
            best = max((score for score in scores if score is not None), default=None)
            found.append({"prediction": None if best is None else scores.index(best), "scores": scores})
        return found

    def default_prompts(self, store: PreferenceStore) -> list[str]:
        """Three held-out prompts, whose answers are scored."""
        elements = range(0, len(store), max(1, len(store) // SAMPLES))
        for element in list(elements)[:SAMPLES]:
            record = store.records[store.examples[element]]
            self._samples[_shown(record["prompt"])] = record
        return list(self._samples)

    def _record_of(self, prompt: str) -> dict[str, Any]:
        if prompt in self._samples:
            return self._samples[prompt]
        try:
            values = json.loads(prompt)
        except json.JSONDecodeError:
            values = None
        if not isinstance(values, dict):
            raise DataError(
                f"a reward model scores answers, and “{prompt[:60]}” has none",
                where="training.sample_prompts",
                hint='write JSON: {"prompt": "…", "completions": ["…", "…"]}',
            )
        return comparison(Record(values, "training.sample_prompts"), labelled=False)

    def sample(self, model: nn.Module, prompt: str) -> dict[str, Any]:
        """The answers to a prompt by their scores, with the rank that a person gave each."""
        record, render = self._record_of(prompt), AnswerRenderer(self.tokenizer)
        answers = record["completions"]
        splits = [render(record, answer) for answer in answers]
        rows = [[*split.prompt, *split.answer][: self.max_length] for split in splits]
        ranks = record.get("ranks", [None] * len(answers))
        found = sorted(zip(self.scores(model, rows), ranks, answers, strict=True), key=lambda each: -each[0])
        lines = [
            f"{score:+.2f}  {'' if rank is None else f'rank {rank}  '}{_shown(answer)}"
            for score, rank, answer in found
        ]
        return {"prompt": f"{_shown(record['prompt'])}\n", "text": "\n".join(lines)}

    def view(self, batch: Batch) -> list[RowView]:
        """See `views_of`."""
        return views_of(batch, self.tokenizer)


def _shown(said: str | Sequence[Mapping[str, Any]]) -> str:
    """A prompt or an answer in a line."""
    text = said if isinstance(said, str) else " ".join(str(message["content"]) for message in said[-1:])
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…"
