"""Replaced token detection (ELECTRA, Clark et al. 2020): tell which tokens a small generator replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F

from workbench.errors import ModelError
from workbench.objectives.base import Batch, LossOutput, Totals
from workbench.objectives.clm import correct_count
from workbench.objectives.encoder import check_encoder_isolation
from workbench.objectives.masked_text import IGNORE, MaskedText, Prompt
from workbench.objectives.places import bare

if TYPE_CHECKING:
    from torch import nn

    from workbench.objectives.view import RowView

NOTE = "the discriminator reads the generator's sample at each mask"


class ReplacedTokenDetection(MaskedText):
    """The generator's cross-entropy at the masks, and the discriminator's at every token.

    All selected tokens become the mask; the generator's samples, one for each by a number that comes with
    the row, take their places; a sample that is the original by chance counts as original. The
    discriminator is asked about every token but padding, those of the frame too, as in the paper's code.
    """

    name: ClassVar[str] = "rtd"
    terms = ("generator", "discriminator")
    stat_names = ("generator_correct", "replaced", "found", "flagged", "right")
    draw_uniforms: ClassVar[bool] = True

    @property
    def weights(self) -> tuple[float, ...]:
        """1 and `discriminator_weight`."""
        return 1.0, float(self.recipe.objective.discriminator_weight)

    def check(self, model: nn.Module) -> None:
        """The model must be a pair, and both must keep packed documents apart."""
        pair: Any = model
        if not hasattr(pair, "generator") or not hasattr(pair, "discriminator"):
            raise ModelError(
                f"{type(model).__name__} has no generator and discriminator",
                hint="rtd trains electra models: model.family=electra",
            )
        if self.recipe.data.packing and self.recipe.data.isolate_documents:
            check_encoder_isolation(pair.generator)
            check_encoder_isolation(pair.discriminator)

    def loss(self, model: nn.Module, tensors: dict[str, torch.Tensor], batch: Batch) -> LossOutput:
        """Summed cross-entropies in fp32: over the masks, and over all tokens but padding."""
        targets, real = tensors["targets"].flatten(), tensors["groups"].flatten() >= 0
        places = (targets != IGNORE).nonzero().squeeze(1)
        originals = targets[places]
        output = model(
            input_ids=tensors["input_ids"],
            position_ids=tensors["position_ids"],
            document_ids=tensors["groups"],
            places=places,
            uniforms=tensors["uniforms"].flatten()[places],
        )
        replaced = torch.zeros_like(real).index_copy(0, places, output.sampled != originals)[real]
        logits = output.discriminator_logits.flatten()[real].float()
        flagged = logits > 0
        sums = [
            F.cross_entropy(output.generator_logits.float(), originals, reduction="sum"),
            F.binary_cross_entropy_with_logits(logits, replaced.float(), reduction="sum"),
        ]
        stats = [
            correct_count(output.generator_logits, originals),
            replaced.sum(),
            (flagged & replaced).sum(),
            flagged.sum(),
            (flagged == replaced).sum(),
        ]
        return LossOutput(torch.stack(sums), torch.stack(stats))

    def metrics(self, totals: Totals, *, training: bool) -> dict[str, float]:
        """Each loss alone; how often the generator's likeliest token is right; how well the discriminator
        finds what was replaced, and what share of the tokens that is."""
        stats, tokens = totals.stats, max(totals.counts["discriminator"], 1)
        found, replaced, flagged = stats["found"], stats["replaced"], stats["flagged"]
        return {
            "generator_loss": totals.mean("generator"),
            "discriminator_loss": totals.mean("discriminator"),
            "generator_accuracy": stats["generator_correct"] / max(totals.counts["generator"], 1),
            "discriminator_accuracy": stats["right"] / tokens,
            "discriminator_precision": found / max(flagged, 1),
            "discriminator_recall": found / max(replaced, 1),
            "discriminator_f1": 2 * found / max(flagged + replaced, 1),
            "replaced_share": replaced / tokens,
        }

    def view(self, batch: Batch) -> list[RowView]:
        """What the generator reads; the discriminator's input depends on what it samples."""
        views = super().view(batch)
        for view in views:
            view.notes.append(NOTE)
        return views

    def sample(self, model: nn.Module, prompt: str) -> dict[str, Any]:
        """Fill the masks of a prompt and judge the result: `[king→man 0.93]` for each token that was
        replaced or that the discriminator takes for it, with its probability of being so."""
        pair = bare(model)
        masked = self.prompt(prompt, pair.config)
        if masked is None:
            return {"text": prompt}
        tensors = self.prompt_tensors(masked, pair.device)
        places = torch.from_numpy(masked.hidden).nonzero().squeeze(1).to(pair.device)
        output = pair(
            input_ids=tensors["input_ids"],
            position_ids=tensors["position_ids"],
            document_ids=tensors["groups"],
            places=places,
            uniforms=torch.from_numpy(masked.uniforms).float().to(pair.device),
        )
        tokens = tensors["input_ids"][0].index_copy(0, places, output.sampled)
        chances = output.discriminator_logits[0].float().sigmoid()
        return {
            "text": self._marked(masked, tokens.tolist(), chances.tolist()),
            "prompt": self.prompt_text(masked),
        }

    def _marked(self, prompt: Prompt, tokens: list[int], chances: list[float]) -> str:
        begin, end = len(self.frame.prefix), len(tokens) - len(self.frame.suffix)
        parts, start = list[str](), begin
        for place in range(begin, end):
            token, original, chance = tokens[place], int(prompt.originals[place]), chances[place]
            if token == original and chance <= 0.5:
                continue
            parts.append(self.text.run(tokens[start:place]))
            blank, word = self.text.split(token)
            if original == self.mask_id:
                word = f"?→{word}"
            elif original != token:
                word = f"{self.text.split(original)[1]}→{word}"
            parts.append(f"{blank}[{word} {chance:.2f}]")
            start = place + 1
        return self.text.join([*parts, self.text.run(tokens[start:end])])
