"""The cache of keys and values that generation keeps (Pope et al. 2022, section 2)."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.models.estimate.shape import Shape


@dataclass(frozen=True)
class KeyValueCache:
    """Bytes for each token of context of one sequence.

    `own` of the layers that read what they generate: 2 · layers · key/value heads · head size · bytes of a
    number; `cross` of the source, which a decoder behind an encoder keeps as well. An encoder has neither.
    """

    own: int
    cross: int

    def bytes(self, context: int, source: int = 0) -> int:
        """Of `context` generated or read tokens, behind a source of `source` tokens."""
        return self.own * context + self.cross * source


def key_value_cache(shape: Shape, number: int = 2) -> KeyValueCache:
    """The cache of a model, in numbers of `number` bytes (2: bf16)."""
    if shape.decoder is not None:
        each = 2 * shape.decoder.layers * shape.decoder.keys * number
        return KeyValueCache(each, each)
    if shape.family == "llama":
        return KeyValueCache(2 * shape.main.layers * shape.main.keys * number, 0)
    return KeyValueCache(0, 0)
