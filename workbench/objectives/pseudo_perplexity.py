"""Pseudo-perplexity: how well an encoder knows each token from all others (Salazar et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from workbench.data.draws import Draws
from workbench.objectives.clm import exponential

if TYPE_CHECKING:
    from torch import nn

    from workbench.objectives.masked_rows import MaskedRows, Row
    from workbench.objectives.mlm import MaskedLanguageModeling

TOKENS = 13
"""Draws of the tokens that are asked for."""


def one_at_a_time(rows: MaskedRows, num_rows: int, count: int) -> Iterator[Row]:
    """About `count` rows with one token masked, spread evenly over the first `num_rows`, always the same."""
    shares = np.bincount(np.arange(count) * num_rows // count, minlength=num_rows)
    for index in np.flatnonzero(shares).tolist():
        (row,) = rows.source.rows(index, 1)
        framed = rows.frame(row)
        places = np.flatnonzero(rows.may_hide(framed))
        order = Draws(rows.seed, TOKENS, rows.side, index).permutation(len(places))
        for place in places[order[: shares[index]]].tolist():
            yield rows.mask_only(framed, place)


@torch.no_grad()
def pseudo_perplexity(
    objective: MaskedLanguageModeling,
    model: nn.Module,
    rows: MaskedRows,
    device: torch.device,
    num_rows: int,
    count: int,
    batch_size: int,
) -> float | None:
    """exp of the mean −log p(token | all others in its text), over `count` tokens masked one at a time.

    `count` passes of a row each, in batches. None where there is no token to ask for.
    """
    masked = list(one_at_a_time(rows, num_rows, count))
    total = 0.0
    for start in range(0, len(masked), batch_size):
        batch = rows.assemble(masked[start : start + batch_size])
        total += float(objective.loss(model, objective.tensors(batch, device), batch).sums[0])
    return exponential(total / len(masked)) if masked else None
