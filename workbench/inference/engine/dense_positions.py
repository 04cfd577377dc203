"""Positions of a decoder that counts them itself, from the length of its cache (BART, Marian, M2M100 …)."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from collections.abc import Sequence as Many
from contextlib import contextmanager
from typing import Any

import torch

MODULE, POSITIONS = "embed_positions", "position_ids"
LENGTHS = ("cache_length", "past_key_values_length")
"""What such a module calls the length: the second until transformers 5.23."""


def _length_name(module: Any) -> str | None:
    parameters = inspect.signature(module.forward).parameters
    return next((name for name in LENGTHS if name in parameters), None)


class RowPositions:
    """Lets every row have its own position, where the decoder would give one to all.

    Such decoders take no positions from outside. Their module of positions is asked once for each length
    that there is among the rows, as if that were the cache's.
    """

    def __init__(self, decoder: Any) -> None:
        self._widths: list[int] | None = None
        for name, module in decoder.named_modules():
            if name.rpartition(".")[2] == MODULE and _length_name(module) is not None:
                module.register_forward_hook(self._replace, with_kwargs=True)

    @contextmanager
    def set(self, widths: Many[int] | None) -> Iterator[None]:
        """For one step: the tokens that each row holds before it; None leaves the module alone."""
        self._widths = None if widths is None else list(widths)
        try:
            yield
        finally:
            self._widths = None

    def _replace(
        self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: torch.Tensor
    ) -> torch.Tensor | None:
        length = _length_name(module)
        if self._widths is None or length is None:
            return None
        signature = inspect.signature(module.forward)
        arguments = signature.bind(*args, **kwargs).arguments
        found: dict[int, torch.Tensor] = {}
        for width in set(self._widths):
            arguments[length] = width
            if POSITIONS in signature.parameters:
                arguments[POSITIONS] = torch.tensor([width], device=output.device)
            # [1 or B, 1, D], or [1, D] where one is meant for all rows.
            found[width] = module.forward(**arguments).reshape(-1, 1, output.shape[-1])
        rows = [found[width] for width in self._widths]
        return torch.stack([of[min(row, len(of) - 1)] for row, of in enumerate(rows)])
