"""Permutation language modelling: predict tokens in a random order, in two streams (Yang et al. 2019)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from workbench.data.corruption.permutation import CONTEXT, choose_spans, ranks
from workbench.data.draws import Draws
from workbench.data.framing import frame_for, special_id
from workbench.data.pieces import PieceRows
from workbench.errors import ModelError
from workbench.objectives.base import EVAL, TRAIN, Batch, LossOutput, Rows, Totals
from workbench.objectives.clm import correct_count, exponential
from workbench.objectives.fill import TokenText, excerpts
from workbench.objectives.logit_size import STATS, VocabularyLoss, summed_losses
from workbench.objectives.permutation_rows import CLS_SEGMENT, PermutationRows, Tokens
from workbench.objectives.places import bare
from workbench.objectives.view import RowView, State, StreamView, TokenView

if TYPE_CHECKING:
    from torch import nn

    from workbench.data import TokenStore

SAMPLES = 22
"""Draws of an order for a prompt."""
HIDDEN = "___"
"""A hidden token, as a person reads it in a prompt."""


def visible(ranks: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """Who may be read by whom, [B, L, L] booleans: j by i.

    Tokens of one group; of these, those that are not predicted by all, those that are predicted only by
    such as come later in the order. So no token that is predicted sees itself, and nothing that is read
    while predicting it has seen it. The content stream adds a token's own place, in the model.
    """
    same = groups[:, :, None] == groups[:, None, :]
    context = ranks[:, None, :] == CONTEXT
    earlier = ranks[:, None, :] < ranks[:, :, None]
    return same & (context | earlier)


class PermutationLanguageModeling(VocabularyLoss):
    """Cross-entropy at the tokens that come last in the order, from the query stream.

    Rows are `text <sep> <cls>`; the input is never permuted, only what attends to what.
    """

    name: ClassVar[str] = "plm"
    terms = ("loss",)
    stat_names = ("correct", *STATS)

    def __init__(self, recipe: Any, tokenizer: Any) -> None:
        super().__init__(recipe, tokenizer)
        self.frame = frame_for(self.name, tokenizer)
        self.pad_id = special_id(tokenizer, "pad_token", self.name)
        self.special = np.array(sorted(tokenizer.all_special_ids), np.int64)
        self.text = TokenText(tokenizer)

    def rows(self, store: TokenStore, length: int, *, training: bool) -> Rows:
        """Rows with an order each; held-out ones have the same in every evaluation."""
        data, seed = self.recipe.data, self.recipe.training.seed
        source = PieceRows(
            store,
            length,
            stride=length - self.frame.size,
            frame=self.frame,
            packing=data.packing,
            shuffle=data.shuffle or not training,
            seed=seed,
        )
        return PermutationRows(
            source,
            self.recipe.objective,
            self.special,
            self.pad_id,
            seed,
            TRAIN if training else EVAL,
            data.isolate_documents or not data.packing,
        )

    def check(self, model: nn.Module) -> None:
        """The model must have two streams, and keep packed documents apart by its permutation mask."""
        if bare(model).config.model_type != "xlnet":
            raise ModelError(
                f"{type(model).__name__} has no query stream to predict in an order with",
                hint="plm trains xlnet models: model.family=xlnet",
            )

    def loss(self, model: nn.Module, tensors: dict[str, torch.Tensor], batch: Batch) -> LossOutput:
        """Summed cross-entropy in fp32; logits exist only where predictions are made."""
        logits = self.predict(model, tensors).flatten(0, 1)
        targets = tensors["targets"].flatten()
        sums = summed_losses(logits, targets, self.z_loss)
        stats = torch.cat([correct_count(logits, targets).unsqueeze(0), sums.stats])
        return LossOutput(sums.loss.unsqueeze(0), stats, peaks=sums.peaks)

    def predict(self, model: nn.Module, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
        """Logits [B, P, V] of the query stream at `places` [B, P]; −1 is no place, and maps to none: two
        queries that map to one place would be added up."""
        hidden = ~visible(tensors["ranks"], tensors["groups"])
        every = torch.arange(hidden.shape[1], device=hidden.device)
        mapping = tensors["places"][:, :, None] == every
        kind = next(model.parameters()).dtype
        logits: torch.Tensor = model(
            input_ids=tensors["input_ids"],
            token_type_ids=tensors["token_type_ids"],
            perm_mask=hidden.to(kind),
            target_mapping=mapping.to(kind),
            use_mems=False,
        ).logits
        return logits

    def metrics(self, totals: Totals, *, training: bool) -> dict[str, float]:
        """`mean_token_accuracy`; held-out also `perplexity`, of the tokens that are predicted."""
        values = {"mean_token_accuracy": totals.stats["correct"] / max(totals.counts["loss"], 1)}
        if training:
            return values | self.logit_metrics(totals)
        return {**values, "perplexity": exponential(totals.mean("loss"))}

    def default_prompts(self, store: TokenStore) -> list[str]:
        """Excerpts of three held-out documents."""
        return excerpts(store, self.tokenizer, self.frame)

    def view(self, batch: Batch) -> list[RowView]:
        """Each token with its place in the order; what it sees when it is predicted, or else when read."""
        arrays = batch.arrays
        seen = visible(torch.as_tensor(arrays["ranks"]), torch.as_tensor(arrays["groups"])).numpy()
        special = set(self.special.tolist())
        views = []
        for row, ids in enumerate(arrays["input_ids"].tolist()):
            order = arrays["ranks"][row].tolist()
            documents = batch.extra["document_ids"][row].tolist()
            count = sum(rank != CONTEXT for rank in order)
            tokens = [
                self._token(number, token, rank, document, count, token in special)
                for number, (token, rank, document) in enumerate(zip(ids, order, documents, strict=True))
            ]
            # A token that is only read sees itself as well.
            attends = seen[row] | np.diag(arrays["ranks"][row] == CONTEXT)
            views.append(RowView(row, [StreamView("input", tokens, attends)]))
        return views

    def _token(
        self, place: int, token: int, rank: int, document: int, count: int, special: bool
    ) -> TokenView:
        if rank != CONTEXT:
            note = f"number {rank + 1} of {count} in the order"
            return TokenView(token, "supervised", place, document, token, None, note)
        state: State = "padding" if document < 0 else "special" if special else "context"
        return TokenView(token, state, place, document)

    def sample(self, model: nn.Module, prompt: str) -> dict[str, Any]:
        """Hide a sixth of a prompt and fill it in, token by token in a random order, each time the
        likeliest: `«filled» 0.42 (truth)`. Mask tokens of a prompt are filled instead, where it has some."""
        body = self.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        ids = np.array([*self.frame.prefix, *body, *self.frame.suffix], np.int64)
        draws = Draws(self.recipe.training.seed, SAMPLES)
        mask_id = getattr(self.tokenizer, "mask_token_id", None)
        hidden = ids == (-1 if mask_id is None else mask_id)
        given = bool(hidden.any())
        if not given:
            section = self.recipe.objective
            may_hide = ~np.isin(ids, self.special)
            hidden = choose_spans(may_hide, section.plm_probability, section.max_span_length, draws)
        if not hidden.any():
            return {"text": prompt}
        filled, chances = self._fill(model, ids, ranks(hidden, draws))
        parts, masked, begin = list[str](), list[str](), len(self.frame.prefix)
        for place in np.flatnonzero(hidden).tolist():
            before = self.text.run(ids[begin:place].tolist())
            blank, word = self.text.split(int(filled[place]))
            own_blank, original = self.text.split(int(ids[place]))
            truth = "" if given else f" ({original})"
            parts += [before, f"{blank}«{word}» {chances[place]:.2f}{truth}"]
            masked += [before, f"{own_blank}{original if given else HIDDEN}"]
            begin = place + 1
        rest = self.text.run(ids[begin : len(ids) - len(self.frame.suffix)].tolist())
        return {"prompt": self.text.join([*masked, rest]), "text": self.text.join([*parts, rest])}

    def _fill(self, model: nn.Module, ids: Tokens, order: Tokens) -> tuple[Tokens, dict[int, float]]:
        """The likeliest token at each hidden place, one after another in the order, and its chance."""
        device = next(model.parameters()).device
        filled, chances = ids.copy(), dict[int, float]()
        segments = np.zeros_like(ids)
        segments[-1] = CLS_SEGMENT
        for rank in range(int(order.max()) + 1):
            place = int(np.flatnonzero(order == rank)[0])
            arrays = {
                "input_ids": filled,
                "token_type_ids": segments,
                "groups": np.zeros_like(ids),
                "ranks": order,
                "places": np.array([place]),
            }
            tensors = {name: torch.from_numpy(array)[None].to(device) for name, array in arrays.items()}
            shares = self.predict(model, tensors)[0, 0].float().softmax(-1)
            filled[place] = int(shares.argmax())
            chances[place] = float(shares.max())
        return filled, chances
