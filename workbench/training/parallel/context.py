"""Context parallelism: each row in pieces, one set of pieces a rank; keys and values are gathered.

As in Llama 3 (Grattafiori et al. 2024, section 3.3.2): keys and values of a layer are gathered from all
ranks, and each rank's queries attend to them, which takes any mask, packed documents too, and costs little
where there are few key-value heads. A row has 2·cp pieces; rank r has pieces r and 2·cp − 1 − r, so that
under a causal mask all ranks have the same work.

Shapes: B rows, T tokens of a row, C = T / (2·cp) tokens of a piece, H query heads, KV key-value heads, d head
size.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

IMPLEMENTATION = "workbench_context_parallel"
"""Its name for `set_attn_implementation`."""


@dataclass
class Share:
    """One rank's part of the rows of a batch. `documents` [B, T] numbers the documents of whole rows."""

    group: dist.ProcessGroup
    rank: int
    size: int
    documents: Tensor
    _masks: dict[tuple[int, int | None], Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, group: dist.ProcessGroup, position_ids: Tensor) -> Share:
        """The share of rows whose documents begin where `position_ids` [B, T] do not go on; T is a multiple
        of 2·cp."""
        begins = torch.ones_like(position_ids)
        begins[:, 1:] = (position_ids.diff() != 1).long()
        return cls(group, dist.get_rank(group), dist.get_world_size(group), begins.cumsum(1))

    @property
    def pieces(self) -> tuple[int, int]:
        """Which of the 2·cp pieces are here."""
        return self.rank, 2 * self.size - 1 - self.rank

    def take(self, whole: Tensor) -> Tensor:
        """This rank's part [B, 2·C] of something [B, T]."""
        chunks = whole.chunk(2 * self.size, dim=1)
        return torch.cat([chunks[piece] for piece in self.pieces], dim=1)

    def mask(self, piece: int, window: int | None) -> Tensor:
        """Booleans [B, 1, C, E]: what the queries of a piece see of the E keys up to its end."""
        if (piece, window) not in self._masks:
            width = self.documents.shape[1] // (2 * self.size)
            start, end = piece * width, (piece + 1) * width
            queries = torch.arange(start, end, device=self.documents.device)[:, None]
            keys = torch.arange(end, device=self.documents.device)[None]
            seen = keys <= queries
            if window is not None:
                seen &= queries - keys < window
            same = self.documents[:, start:end, None] == self.documents[:, None, :end]
            self._masks[piece, window] = (same & seen)[:, None]
        return self._masks[piece, window]


class _Gather(torch.autograd.Function):
    """Tensors [...] of all ranks as [cp, ...]; a gradient is added up where it belongs."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        size = dist.get_world_size(group)
        out = own.new_empty(size * own.shape[0], *own.shape[1:])
        dist.all_gather_into_tensor(out, own.contiguous(), group=group)
        return out.view(size, *own.shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        own = gradient.new_empty(gradient.shape[1:])
        dist.reduce_scatter_tensor(own, gradient.flatten(0, 1).contiguous(), group=ctx.group)
        return own, None


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    context_share: Share | None = None,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:
    """Output [B, 2·C, H, d] of this rank's query [B, H, 2·C, d] on the keys and values [B, KV, 2·C, d] of
    all.

    Without a share it is transformers' own attention by PyTorch, for samples.
    """
    if context_share is None:
        own: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **options
        )
        return own
    keys, values = _in_order(torch.stack([key, value]), context_share)
    window = options.get("sliding_window")
    outputs = []
    for piece, part in zip(context_share.pieces, query.chunk(2, dim=2), strict=True):
        end = (piece + 1) * part.shape[2]
        mask = context_share.mask(piece, window)
        output, _ = sdpa_attention_forward(
            module, part, keys[:, :, :end], values[:, :, :end], mask, **options
        )
        outputs.append(output)
    return torch.cat(outputs, dim=1), None


def _in_order(own: Tensor, share: Share) -> Tensor:
    """What all ranks hold [2, B, KV, 2·C, d] as [2, B, KV, T, d], in the order of the row."""
    everyone = _Gather.apply(own, share.group)
    firsts, seconds = everyone.chunk(2, dim=4)
    return torch.cat([*firsts.unbind(0), *reversed(seconds.unbind(0))], dim=3)


def no_mask(device: torch.device) -> Tensor:
    """A mask that keeps the model from making one of T² places: given in four dimensions it is passed on."""
    return torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device)


AttentionInterface.register(IMPLEMENTATION, attend)
AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)
