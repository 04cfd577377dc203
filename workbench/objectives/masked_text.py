"""What masked language modelling and replaced token detection share: masked rows, views, prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from workbench.data.corruption import masking, sentence_pairs
from workbench.data.corruption.words import WordTable
from workbench.data.draws import Draws
from workbench.data.framing import frame_for, special_id
from workbench.data.pieces import PieceRows
from workbench.models.context import context_of_config
from workbench.models.masks import block_mask
from workbench.objectives.base import EVAL, TRAIN, Batch, Objective, Rows
from workbench.objectives.fill import TokenText, excerpts
from workbench.objectives.masked_rows import MaskedRows
from workbench.objectives.view import RowView, State, StreamView, TokenView

if TYPE_CHECKING:
    from workbench.data import TokenStore

SAMPLES = 14
"""Draws of masks for a prompt that has none."""
IGNORE = masking.NO_TARGET
PAIR_LABELS = {sentence_pairs.FOLLOWS: "B follows A", sentence_pairs.ELSEWHERE: "B is from another document"}


class Prompt(NamedTuple):
    """A prompt in its frame, each [n]: the ids with masks, the ids without (a mask where a prompt came with
    it), where the masks are, and a number in [0, 1) for each mask."""

    input_ids: NDArray[np.int64]
    originals: NDArray[np.int64]
    hidden: NDArray[np.bool_]
    uniforms: NDArray[np.float64]


class MaskedText(Objective):
    """An objective on rows of framed text with a share of the tokens hidden."""

    draw_uniforms: ClassVar[bool] = False

    def __init__(self, recipe: Any, tokenizer: Any) -> None:
        super().__init__(recipe, tokenizer)
        self.frame = frame_for(self.name, tokenizer)
        self.mask_id = special_id(tokenizer, "mask_token", self.name)
        self.pad_id = special_id(tokenizer, "pad_token", self.name)
        self.special = frozenset(tokenizer.all_special_ids)
        self.table = WordTable.of(tokenizer.get_vocab(), self.special)
        self.text = TokenText(tokenizer)

    @property
    def pairs(self) -> bool:
        """Whether a row is a pair of segments."""
        return False

    @property
    def shares(self) -> tuple[float, float]:
        """Shares of the selected tokens that become the mask and a random token."""
        return 1.0, 0.0

    def rows(self, store: TokenStore, length: int, *, training: bool) -> Rows:
        """Masked rows. Held-out ones are masked the same in every evaluation, and in one mixed order."""
        data, seed = self.recipe.data, self.recipe.training.seed
        packing = data.packing and not self.pairs
        source = PieceRows(
            store,
            length,
            stride=length - self.frame.size - (len(self.frame.suffix) if self.pairs else 0),
            frame=self.frame,
            packing=packing,
            shuffle=data.shuffle or not training,
            seed=seed,
        )
        if self.pairs:
            sentence_pairs.check_documents(source)
        return MaskedRows(
            source,
            self.table,
            self.table.replacements,
            self.recipe.objective,
            mask_id=self.mask_id,
            pad_id=self.pad_id,
            seed=seed,
            side=TRAIN if training else EVAL,
            isolate=data.isolate_documents or not packing,
            shares=self.shares,
            pairs=self.pairs,
            draw_uniforms=self.draw_uniforms,
        )

    def default_prompts(self, store: TokenStore) -> list[str]:
        """Excerpts of three held-out documents."""
        return excerpts(store, self.tokenizer, self.frame)

    def view(self, batch: Batch) -> list[RowView]:
        """Each token with what was done to it; who attends to whom, from the mask that the model gets."""
        arrays = batch.arrays
        attends = block_mask(torch.as_tensor(arrays["groups"]))[:, 0].numpy()
        model, notes = self.recipe.model, list[str]()
        if model.family == "modernbert" and not model.model_name_or_path:
            notes = [f"layers with local attention see {model.local_attention // 2} tokens to each side"]
        views = []
        for row, ids in enumerate(arrays["input_ids"].tolist()):
            tokens = [
                self._token(token, target, position, document)
                for token, target, position, document in zip(
                    ids,
                    arrays["targets"][row].tolist(),
                    arrays["position_ids"][row].tolist(),
                    batch.extra["document_ids"][row].tolist(),
                    strict=True,
                )
            ]
            label = PAIR_LABELS[int(arrays["next_sentence"][row])] if "next_sentence" in arrays else ""
            views.append(RowView(row, [StreamView("input", tokens, attends[row])], label, [*notes]))
        return views

    def _token(self, token: int, target: int, position: int, document: int) -> TokenView:
        if document < 0:
            return TokenView(token, "padding", position, document)
        if target == IGNORE:
            state: State = "special" if token in self.special else "context"
            return TokenView(token, state, position, document)
        state = "masked" if token == self.mask_id else "kept" if token == target else "random"
        return TokenView(token, state, position, document, target, None if token == target else target)

    def prompt(self, text: str, config: Any) -> Prompt | None:
        """A prompt as ids, cut to the model's context; one without masks gets some, always the same.

        None where there is nothing in it that could be hidden.
        """
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        context = context_of_config(config)
        if context is not None:
            ids = ids[: context - self.frame.size]
        originals = np.array([*self.frame.prefix, *ids, *self.frame.suffix], np.int64)
        hidden = originals == self.mask_id
        draws = Draws(self.recipe.training.seed, SAMPLES)
        if not hidden.any():
            may_hide = self.table.ordinary[originals]
            section = self.recipe.objective
            words = self.table.words(originals, may_hide) if section.whole_word_mask else None
            hidden = masking.select(may_hide, section.mlm_probability, draws, words)
        if not hidden.any():
            return None
        input_ids = np.where(hidden, self.mask_id, originals)
        return Prompt(input_ids, originals, hidden, draws.uniform(int(hidden.sum())))

    def prompt_tensors(self, prompt: Prompt, device: torch.device) -> dict[str, torch.Tensor]:
        """A prompt as a batch of one row."""
        input_ids = torch.from_numpy(prompt.input_ids)[None].to(device)
        return {
            "input_ids": input_ids,
            "position_ids": torch.arange(input_ids.shape[1], device=device)[None],
            "groups": torch.zeros_like(input_ids),
        }

    def prompt_text(self, prompt: Prompt) -> str:
        """A prompt with its masks, as it was given to the model, without its frame."""
        begin, end = len(self.frame.prefix), len(prompt.input_ids) - len(self.frame.suffix)
        return self.text.join([self.text.run(prompt.input_ids[begin:end].tolist())])
