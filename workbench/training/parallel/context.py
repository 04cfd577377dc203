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

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.attention.bias import causal_lower_right
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

IMPLEMENTATION = "workbench_context_parallel"
"""Its name for `set_attn_implementation`."""


@dataclass
class Share:
    """One rank's part of the rows of a batch.

    `documents` [B, T] numbers the documents of whole rows, on the device. `starts` [2·cp] says, for each
    piece, where the earliest document begins that any of its queries is in: no key before it is seen.
    `are_whole`: each row is one document, so that no mask has to tell documents apart.
    """

    group: dist.ProcessGroup
    rank: int
    size: int
    documents: Tensor
    starts: tuple[int, ...]
    are_whole: bool
    _masks: dict[tuple[int, int | None], Tensor] = field(default_factory=dict)

    @classmethod
    def of(
        cls, group: Any, rank: int, size: int, positions: NDArray[np.int64], device: torch.device
    ) -> Share:
        """The share of rows whose documents begin where `positions` [B, T] do not go on; T is a multiple of
        2·cp. All that decides what is computed is told on the host: asking the device would wait for it."""
        begins = np.ones_like(positions, dtype=np.int64)
        begins[:, 1:] = np.diff(positions, axis=1) != 1
        places = np.where(begins > 0, np.arange(positions.shape[1]), 0)
        own = np.maximum.accumulate(places, axis=1)
        starts = own[:, :: positions.shape[1] // (2 * size)].min(axis=0)
        documents = torch.from_numpy(begins.cumsum(axis=1)).to(device)
        return cls(group, rank, size, documents, tuple(starts.tolist()), bool(begins[:, 1:].sum() == 0))

    @property
    def pieces(self) -> tuple[int, int]:
        """Which of the 2·cp pieces are here."""
        return self.rank, 2 * self.size - 1 - self.rank

    def take(self, whole: Tensor) -> Tensor:
        """This rank's part [B, 2·C] of something [B, T]."""
        chunks = whole.chunk(2 * self.size, dim=1)
        return torch.cat([chunks[piece] for piece in self.pieces], dim=1)

    def span(self, piece: int, window: int | None) -> tuple[int, int]:
        """The first of the keys that the queries of a piece may see, and the first behind them."""
        width = self.documents.shape[1] // (2 * self.size)
        first = self.starts[piece]
        if window is not None:
            first = max(first, piece * width - window + 1)
        return first, (piece + 1) * width

    def mask(self, piece: int, window: int | None) -> Tensor:
        """Booleans [B, 1, C, E]: what the queries of a piece see of the E keys of its span; B is 1 where all
        rows see the same."""
        if (piece, window) not in self._masks:
            width, device = self.documents.shape[1] // (2 * self.size), self.documents.device
            start, (first, end) = piece * width, self.span(piece, window)
            queries = torch.arange(start, end, device=device)[:, None]
            keys = torch.arange(first, end, device=device)[None]
            seen = (keys <= queries)[None]
            if window is not None:
                seen = seen & (queries - keys < window)
            if not self.are_whole:
                seen = seen & (self.documents[:, start:end, None] == self.documents[:, None, first:end])
            self._masks[piece, window] = seen[:, None]
        return self._masks[piece, window]

    def is_causal(self, window: int | None) -> bool:
        """Whether queries see all that comes before them in their row, and nothing else decides."""
        return self.are_whole and window is None


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
        first, end = context_share.span(piece, window)
        seen = keys[:, :, first:end], values[:, :, first:end]
        if query.device.type == "cuda" and context_share.is_causal(window):
            outputs.append(_causal(module, part, *seen, **options))
        else:
            mask = context_share.mask(piece, window)
            outputs.append(sdpa_attention_forward(module, part, *seen, mask, **options)[0])
    return torch.cat(outputs, dim=1), None


def _causal(module: Any, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
    """Output [B, C, H, d] of queries [B, H, C, d] that are the last of E keys [B, KV, E, d], without a mask
    of C·E places: flash attention knows which it does not see, and shared heads."""
    kind = query.device.type
    if torch.is_autocast_enabled(kind):
        # The operators behind it are given all three in one precision.
        query, key, value = (part.to(torch.get_autocast_dtype(kind)) for part in (query, key, value))
    bias: Any = causal_lower_right(query.shape[2], key.shape[2])
    if query.dtype == torch.float32:
        # Which flash attention has not, and others do not share heads.
        whole: Tensor = sdpa_attention_forward(module, query, key, value, bias, **options)[0]
        return whole
    output = F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=bias,
        dropout_p=options.get("dropout", 0.0),
        scale=options.get("scaling"),
        enable_gqa=key.shape[1] != query.shape[1],
    )
    return output.transpose(1, 2).contiguous()


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
