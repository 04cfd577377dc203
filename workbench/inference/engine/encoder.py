"""Encoders: vectors of texts, and the answers of trained heads."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from workbench.errors import DataError, ModelError
from workbench.inference.engine.encoder_batches import ROWS, Shape, TextBatch, TextTokens
from workbench.inference.engine.encoder_heads import entities, filled, labelled, words_of
from workbench.inference.engine.encoder_vectors import Vectors
from workbench.inference.loading.weights import own_weights
from workbench.objectives.reward.scoring import RewardScorer

if TYPE_CHECKING:
    from workbench.inference.loading.loaded import LoadedModel

SPELLINGS = ("[MASK]", "<mask>")
"""How people write a mask, whatever the tokenizer calls it."""
LOGIT_TOKENS = 1024
"""In a batch whose every token gets a logit for each word: 120 MB of them for 30,000 words."""
INSTEAD = {
    "fill_mask": "it fills masks: /v1/fill-mask",
    "classification": "it gives labels: /v1/classify",
    "regression": "it gives numbers: /v1/classify",
    "reward": "it scores answers: /v1/score",
    "tagging": "it gives labels to words: /v1/classify",
}


class NoSuchHead(ModelError):
    """The model has another head than what was asked for needs, or none."""


class Encoder:
    """Answers for whole lists of texts, batched by length; what a text gets does not depend on the others.

    May be called from several threads; the model works for one at a time. Texts are cut at `max_length`
    tokens.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        """Raises `ModelError` when the layers behind the pooling cannot be read."""
        self.loaded = loaded
        self.max_length = loaded.max_length
        own_weights(loaded.model)
        self._model = loaded.model
        self._tokens = TextTokens(loaded.tokenizer, loaded.max_length)
        self._vectors = Vectors(loaded.pooling, loaded.device)
        self._lock = threading.Lock()
        self._scorer: RewardScorer | None = None

    def embed(self, texts: Sequence[str], *, prompt: str | None = None) -> torch.Tensor:
        """Vectors [n, D] in fp32, in the order of the texts. `prompt` names the words that the model's files
        put before a text of its kind (`query`, `document`). Raises `ModelError` for one they do not know.
        """
        before = self._prompt(prompt)
        shown = [before + text for text in texts]
        if self.loaded.pooling.lower_case:
            shown = [text.lower() for text in shown]
        body = self._body()

        def vectors(batch: TextBatch) -> list[torch.Tensor]:
            hidden = body(**self._known(body, batch)).last_hidden_state
            return list(self._vectors(hidden, batch.mask).cpu())

        found = self._each(shown, vectors)
        return torch.stack(found) if found else torch.empty(0, 0)

    def _prompt(self, name: str | None) -> str:
        pooling = self.loaded.pooling
        if name is None:
            return pooling.default_prompt or ""
        if name not in pooling.prompts:
            raise ModelError(
                f"the model knows no prompt “{name}”",
                where=self.loaded.name,
                hint=f"it knows {', '.join(pooling.prompts)}" if pooling.prompts else "it knows none",
            )
        return pooling.prompts[name]

    def _body(self) -> Any:
        """The model without its head; of an encoder–decoder, its encoder."""
        if self._model.config.is_encoder_decoder:
            return self._model.get_encoder()
        return getattr(self._model, self._model.base_model_prefix, self._model)

    @staticmethod
    def _known(model: Any, batch: TextBatch) -> dict[str, Any]:
        """The inputs that a model takes: not all tell the segments of a text apart, or keep a cache."""
        known = inspect.signature(model.forward).parameters
        inputs = {**batch.inputs, "use_cache": False}
        return {name: value for name, value in inputs.items() if name in known}

    def fill_mask(self, texts: Sequence[str], top_k: int = 5) -> list[Any]:
        """For each text a list for each of its masks: see `filled`. A mask is written as the tokenizer does,
        `[MASK]` or `<mask>`. Raises `DataError` for a text without one, `ModelError` for another model."""
        self._need("fill_mask")
        tokenizer = self.loaded.tokenizer
        written, mask_id = str(tokenizer.mask_token), tokenizer.mask_token_id
        shown = list(texts)
        for spelling in SPELLINGS:
            shown = [text.replace(spelling, written) for text in shown]

        def answers(batch: TextBatch) -> list[Any]:
            logits = self._model(**self._known(self._model, batch)).logits.float()
            pairs = zip(logits, batch.encodings, strict=True)
            return [filled(row, encoding.ids, mask_id, top_k, tokenizer) for row, encoding in pairs]

        found = self._each(shown, answers, Shape(tokens=LOGIT_TOKENS))
        for number, answer in enumerate(found):
            if not answer:
                raise DataError(
                    f"there is no mask to fill in text {number + 1}",
                    where=texts[number][:60],
                    hint=f"write {written} where a word is to be found, "
                    f"within the first {self.max_length:,} tokens",
                )
        return found

    def classify(self, texts: Sequence[str]) -> list[Any]:
        """What the head says of each text: `label`, `score`, `scores` (all, best first); a number as `score`;
        or a list of entities. Raises `ModelError` for a model without such a head."""
        self._need("classification", "regression", "tagging")
        head, labels = self.loaded.head, self.loaded.labels
        several = self._model.config.problem_type == "multi_label_classification"

        def answers(batch: TextBatch) -> list[Any]:
            logits = self._model(**self._known(self._model, batch)).logits.float().cpu()
            if head == "regression":
                return [{"score": float(row[0])} for row in logits]
            if head == "classification":
                return [labelled(row, labels, several=several) for row in logits]
            rows = zip(logits, batch.encodings, batch.numbers, strict=True)
            return [
                entities(words_of(row[: len(encoding)], encoding, labels), texts[number], labels)
                for row, encoding, number in rows
            ]

        shape = Shape(
            # Where nothing marks padding, such a head would read it as text.
            rows=ROWS if self._model.config.pad_token_id is not None else 1,
            # XLNet sums a text up in its last token, wherever padding is.
            pad_left=self._model.config.model_type == "xlnet" and head != "tagging",
        )
        return self._each(texts, answers, shape)

    def score(self, record: Mapping[str, Any]) -> list[float]:
        """A reward model's scores of the answers in a checked record (see `RewardScorer`).

        Raises `ModelError` for another model, `DataError` for an answer that is blank or does not fit.
        """
        self._need("reward")
        with self._lock, torch.inference_mode():
            if self._scorer is None:
                self._scorer = RewardScorer(self._model, self.loaded.tokenizer, self.max_length)
            return self._scorer.score(record)

    def _need(self, *heads: str) -> None:
        if self.loaded.head not in heads:
            raise NoSuchHead(
                f"{self.loaded.name} has no head for this",
                hint=INSTEAD.get(self.loaded.head or "", "it gives vectors: /v1/embeddings"),
            )

    def _each(
        self, texts: Sequence[str], answers: Callable[[TextBatch], list[Any]], shape: Shape | None = None
    ) -> list[Any]:
        """The answers to all texts in their order."""
        found: list[Any] = [None] * len(texts)
        encodings = self._tokens.encode(texts)
        for batch in self._tokens.batches(encodings, shape or Shape(), self.loaded.device):
            with self._lock, torch.inference_mode():
                those = answers(batch)
            for number, answer in zip(batch.numbers, those, strict=True):
                found[number] = answer
        return found
