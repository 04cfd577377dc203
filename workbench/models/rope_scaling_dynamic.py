"""Dynamic NTK as it is meant: the angles of a text follow from its own length, and from nothing else.

transformers keeps the longest length that a model has ever read, so that what it answers depends on what it
was asked before, on the other rows of a batch, and in a packed row on the other documents.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS


def use_exact_dynamic(model: nn.Module, pad: int | None = None) -> int:
    """Have the rotary modules of dynamic NTK in a model reckon by document; how many are new. What is saved
    stays the same, and so is what a single text gives in a model that has read none before.

    What a mask [B, T] leaves out is no text. Where there is none, the same goes for the tokens `pad` (that of
    the model's configuration if not given) at the end of a row, so that rows which are only padded to
    be as long as others need no mask.
    """
    count = 0
    for parent in list(model.modules()):
        for module in parent.children():
            kind = getattr(module, "rope_type", None)
            kinds = set(kind.values()) if isinstance(kind, dict) else {kind}
            if "dynamic" not in kinds:
                continue
            exact = vars(module).get("forward")
            if not isinstance(exact, _Exact):
                module.forward = exact = _Exact(module)
                parent.register_forward_pre_hook(_Reader(exact), with_kwargs=True)
                count += 1
            exact.pad = exact.pad if pad is None else pad
    return count


class _Reader:
    """Looks at what the model is given, which its rotary module is not told."""

    def __init__(self, exact: _Exact) -> None:
        self.exact = exact

    def __call__(self, model: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        self.exact.text = None
        ids, mask = named.get("input_ids", given[0] if given else None), named.get("attention_mask")
        if isinstance(mask, Tensor) and mask.ndim == 2:
            self.exact.text = mask != 0
        elif isinstance(ids, Tensor) and ids.ndim == 2 and self.exact.pad is not None:
            # Up to the last token that is none, whatever comes before.
            self.exact.text = (ids != self.exact.pad).flip(1).cumsum(1).flip(1) > 0


class _Exact:
    """The forward of a rotary module."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.pad: int | None = getattr(module.config, "pad_token_id", None)
        self.text: Tensor | None = None
        """Which places [B, T] of what is read now are text; None are all."""

    @property
    def plain(self) -> Any:
        """The forward of the module's class, as it was before transformers wrapped it."""
        # Looked up each time: a function that is wrapped cannot be sent to other processes.
        found: Any = type(self.module).forward
        while hasattr(found, "__wrapped__"):
            found = found.__wrapped__
        return found

    @torch.no_grad()
    def __call__(
        self, x: Tensor, position_ids: Tensor, layer_type: str | None = None
    ) -> tuple[Tensor, Tensor]:
        """Cosines and sines [B, T, D] of positions [B, T], or [1, T] where those of all rows are the same."""
        module = self.module
        given = {} if layer_type is None else {"layer_type": layer_type}
        kind = module.rope_type if layer_type is None else module.rope_type[layer_type]
        if kind != "dynamic":
            found: tuple[Tensor, Tensor] = self.plain(module, x, position_ids, **given)
            return found
        name = "inv_freq" if layer_type is None else f"{layer_type}_inv_freq"
        trained = int(module.config.max_position_embeddings)
        text = self.text
        if text is not None and text.shape[-1] == position_ids.shape[-1]:
            position_ids = position_ids.expand(len(text), -1)
        else:
            text = None
        lengths = document_lengths(position_ids, text).clamp(min=trained)
        before = getattr(module, name)
        cos = sin = torch.empty(0)
        try:
            for length in torch.unique(lengths):
                # As a tensor, for so transformers gives it, and rounds accordingly.
                frequencies, _ = ROPE_INIT_FUNCTIONS["dynamic"](
                    module.config, x.device, seq_len=length, layer_type=layer_type
                )
                setattr(module, name, frequencies)
                own = self.plain(module, x, position_ids, **given)
                if not len(cos):
                    cos, sin = own
                    continue
                is_own = (lengths == length).unsqueeze(-1)
                cos, sin = torch.where(is_own, own[0], cos), torch.where(is_own, own[1], sin)
        finally:
            setattr(module, name, before)
        return cos, sin


def document_lengths(position_ids: Tensor, text: Tensor | None = None) -> Tensor:
    """For each place of rows of positions [B, T] the length of its document: one more than the last position
    of what is `text` [B, T] before positions do not go on. Padding behind it has the same; where positions
    begin anew in it, it counts as documents of its own."""
    begins = torch.ones_like(position_ids, dtype=torch.bool)
    begins[:, 1:] = position_ids.diff(dim=1) != 1
    rows = torch.arange(len(position_ids), device=position_ids.device).unsqueeze(1)
    number = begins.cumsum(1) + rows * (position_ids.shape[1] + 1)
    longest = torch.zeros(int(number.max()) + 1, dtype=position_ids.dtype, device=position_ids.device)
    last = position_ids if text is None else position_ids.where(text, 0)
    longest.scatter_reduce_(0, number.flatten(), last.flatten(), "amax")
    return longest[number] + 1
