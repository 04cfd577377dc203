"""What learnt vectors lie next to: the tokens whose embeddings point most nearly the same way.

A reading for people. Soft prompts need not lie near any token (Lester et al. 2021, section 7), and what is
nearest need not say what they do.
"""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

ROWS = 16_384
"""Embeddings that are turned to fp32 and normalised at a time."""


@torch.inference_mode()
def nearest(vectors: torch.Tensor, table: torch.Tensor, count: int) -> list[list[tuple[int, float]]]:
    """For each of vectors [n, D] the tokens of a table [V, D] with the largest cosines, and these."""
    directions = normalize(vectors.to(table.device, torch.float32), dim=-1)
    best = [
        (directions @ normalize(rows.float(), dim=-1).T).topk(min(count, len(rows)), dim=-1)
        for rows in table.split(ROWS)
    ]
    cosines = torch.cat([part.values for part in best], -1)
    tokens = torch.cat([part.indices + place * ROWS for place, part in enumerate(best)], -1)
    order = cosines.topk(min(count, cosines.shape[-1]), dim=-1)
    found = tokens.gather(-1, order.indices)
    return [
        list(zip(ids, values, strict=True))
        for ids, values in zip(found.tolist(), order.values.tolist(), strict=True)
    ]
