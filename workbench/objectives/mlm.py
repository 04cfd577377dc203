"""Masked language modelling: predict hidden tokens from both sides (Devlin et al. 2019; Liu et al. 2019)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F

from workbench.objectives.base import Batch, LossOutput, Rows, Totals
from workbench.objectives.clm import correct_count
from workbench.objectives.encoder import call_masked, check_encoder_isolation
from workbench.objectives.logit_size import STATS, VocabularyLoss, summed_losses
from workbench.objectives.masked_rows import MaskedRows
from workbench.objectives.masked_text import IGNORE, MaskedText
from workbench.objectives.pseudo_perplexity import pseudo_perplexity

if TYPE_CHECKING:
    from torch import nn


class MaskedLanguageModeling(VocabularyLoss, MaskedText):
    """Cross-entropy at the selected tokens; with next-sentence prediction, also whether B follows A.

    Rows are `[CLS] text [SEP]`, several packed into one, or pairs `[CLS] A [SEP] B [SEP]`. Selected are a
    share of each row's tokens, drawn anew in each epoch (Liu et al. 2019): 80 % are hidden by the mask,
    10 % by a random token, 10 % stay.
    """

    name: ClassVar[str] = "mlm"

    def __init__(self, recipe: Any, tokenizer: Any) -> None:
        super().__init__(recipe, tokenizer)
        self.terms = ("mlm", "nsp") if self.pairs else ("mlm",)
        self.stat_names = ("correct", *(("nsp_correct",) if self.pairs else ()), *STATS)

    @property
    def pairs(self) -> bool:
        """Whether a row is a pair of segments, for next-sentence prediction."""
        return bool(self.recipe.objective.next_sentence_prediction)

    @property
    def shares(self) -> tuple[float, float]:
        """Shares of the selected tokens that become the mask and a random token."""
        section = self.recipe.objective
        return section.mask_replace_prob, section.random_replace_prob

    def check(self, model: nn.Module) -> None:
        """The model must keep packed documents apart."""
        data = self.recipe.data
        if data.packing and data.isolate_documents and not self.pairs:
            check_encoder_isolation(model)

    def loss(self, model: nn.Module, tensors: dict[str, torch.Tensor], batch: Batch) -> LossOutput:
        """Summed cross-entropy in fp32 at the selected places; logits exist only there."""
        targets = tensors["targets"].flatten()
        places = (targets != IGNORE).nonzero().squeeze(1)
        logits, output = call_masked(model, tensors, places)
        of_words = summed_losses(logits, targets[places], self.z_loss)
        sums = [of_words.loss]
        stats = [correct_count(logits, targets[places])]
        if self.pairs:
            answers, labels = output.seq_relationship_logits.float(), tensors["next_sentence"]
            sums.append(F.cross_entropy(answers, labels, reduction="sum"))
            stats.append((answers.argmax(-1) == labels).sum())
        return LossOutput(
            torch.stack(sums), torch.cat([torch.stack(stats), of_words.stats]), peaks=of_words.peaks
        )

    def metrics(self, totals: Totals, *, training: bool) -> dict[str, float]:
        """`mean_token_accuracy` at selected tokens; of pairs also `nsp_accuracy`, and each loss alone."""
        values = {"mean_token_accuracy": totals.stats["correct"] / max(totals.counts["mlm"], 1)}
        if self.pairs:
            values["nsp_accuracy"] = totals.stats["nsp_correct"] / max(totals.counts["nsp"], 1)
            mlm_loss = totals.mean("mlm") - self._of_targets(totals, "z_penalty")
            values |= {"mlm_loss": mlm_loss, "nsp_loss": totals.mean("nsp")}
        return values | self.logit_metrics(totals) if training else values

    def extra_evaluation(
        self, model: nn.Module, rows: Rows, device: torch.device, num_rows: int
    ) -> dict[str, float]:
        """`pseudo_perplexity`, unless the recipe asks for it on no token."""
        section = self.recipe.training
        count = self.recipe.objective.pseudo_perplexity_tokens
        if not count or not num_rows or not isinstance(rows, MaskedRows):
            return {}
        size = section.per_device_eval_batch_size or section.per_device_train_batch_size
        found = pseudo_perplexity(self, model, rows, device, num_rows, count, size)
        return {} if found is None else {"pseudo_perplexity": found}

    def sample(self, model: nn.Module, prompt: str) -> dict[str, Any]:
        """Fill the masks of a prompt with the likeliest token each, all at once: `the «king» 0.42 (king)`,
        with its probability and, where the prompt came without masks, what it hid there."""
        encoder: Any = model
        masked = self.prompt(prompt, encoder.config)
        if masked is None:
            return {"text": prompt}
        tensors = self.prompt_tensors(masked, encoder.device)
        places = torch.from_numpy(masked.hidden).nonzero().squeeze(1)
        logits, _ = call_masked(model, tensors, places.to(encoder.device))
        chances, tokens = logits.float().softmax(-1).max(-1)
        fills = zip(places.tolist(), chances.tolist(), tokens.tolist(), strict=True)
        begin, parts = len(self.frame.prefix), list[str]()
        for place, chance, token in fills:
            parts.append(self.text.run(masked.originals[begin:place].tolist()))
            blank, word = self.text.split(token)
            original = int(masked.originals[place])
            truth = "" if original == self.mask_id else f" ({self.text.split(original)[1]})"
            parts.append(f"{blank}«{word}» {chance:.2f}{truth}")
            begin = place + 1
        end = len(masked.originals) - len(self.frame.suffix)
        parts.append(self.text.run(masked.originals[begin:end].tolist()))
        return {"text": self.text.join(parts), "prompt": self.prompt_text(masked)}
