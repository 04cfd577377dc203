"""Which sizes are trained on how many tokens: IsoFLOP levels, fixed ratios, or all sizes with all lengths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workbench.errors import UsageError
from workbench.scaling.laws import AnyLaw
from workbench.scaling.shapes import Family, Sized
from workbench.scaling.spec import StudySpec


@dataclass(frozen=True)
class Cell:
    """One run of a grid: a shape, the tokens wanted, and the compute budget that it belongs to, if to one."""

    shape: Sized
    tokens: float
    level: float | None


def is_explicit(spec: StudySpec) -> bool:
    """Whether the grid says its own sizes and lengths, so that it needs no budget."""
    if spec.grid == "isoflop":
        return bool(spec.isoflop.compute)
    return spec.grid == "free" or bool(spec.ratio.parameters)


def wanted_runs(spec: StudySpec) -> int:
    """How many runs the grid asks for, before those of one shape are found to be one."""
    if spec.grid == "isoflop":
        return (len(spec.isoflop.compute) or spec.isoflop.levels) * spec.isoflop.sizes
    if spec.grid == "ratio":
        return (len(spec.ratio.parameters) or spec.ratio.sizes) * len(spec.ratio.tokens_per_parameter)
    return len(spec.free.parameters) * len(spec.free.tokens)


def cells_of(spec: StudySpec, family: Family, law: AnyLaw, flops: float | None) -> list[Cell]:
    """The grid under a budget of `flops`, or the explicit one. Raises `UsageError` where it says nothing."""
    if spec.grid == "isoflop":
        found = _isoflop(spec, family, law, flops)
    elif spec.grid == "ratio":
        found = _ratio(spec, family, flops)
    else:
        found = _free(spec, family)
    # Two wanted sizes may be the same shape, where shapes are few.
    return list(
        {
            (cell.shape.hidden_size, cell.shape.layers, cell.level, cell.tokens): cell for cell in found
        }.values()
    )


def _isoflop(spec: StudySpec, family: Family, law: AnyLaw, flops: float | None) -> list[Cell]:
    section = spec.isoflop
    levels = section.compute
    if not levels:
        assert flops is not None
        powers = section.spacing ** np.arange(section.levels)
        levels = [float(level) for level in flops / section.sizes / powers.sum() * powers]
    factors = np.geomspace(1 / section.spread, section.spread, section.sizes)
    found = []
    for level in levels:
        middle = float(law.optimal_parameters(level))
        if section.tokens_per_parameter is not None:
            middle = (level / 6 / section.tokens_per_parameter) ** 0.5
        for factor in factors:
            shape = family.nearest(middle * float(factor))
            found.append(Cell(shape, level / shape.flops_per_token, level))
    return found


def _ratio(spec: StudySpec, family: Family, flops: float | None) -> list[Cell]:
    section = spec.ratio

    def cells(sizes: list[float]) -> list[Cell]:
        shapes = [family.nearest(size) for size in sizes]
        return [
            Cell(shape, ratio * shape.parameters(spec.shapes.count), None)
            for ratio in section.tokens_per_parameter
            for shape in shapes
        ]

    if section.parameters:
        return cells(section.parameters)
    assert flops is not None
    below = section.spacing ** -np.arange(section.sizes, dtype=np.float64)
    # 6·r·N² a run: the largest N for which all of them come to the budget, then corrected by what is counted.
    largest = (flops / 6 / sum(section.tokens_per_parameter) / float((below**2).sum())) ** 0.5
    found = cells([float(largest * share) for share in below])
    for _ in range(6):
        taken = sum(cell.tokens * cell.shape.flops_per_token for cell in found)
        largest *= (flops / taken) ** 0.5
        found = cells([float(largest * share) for share in below])
    return found


def _free(spec: StudySpec, family: Family) -> list[Cell]:
    section = spec.free
    if not section.parameters or not section.tokens:
        raise UsageError(
            "a free grid names its sizes and its tokens",
            where="free.parameters, free.tokens",
            hint="free.parameters=[1e5, 2e5, 4e5] free.tokens=[1e6, 2e6, 4e6]",
        )
    return [
        Cell(family.nearest(size), tokens, None) for size in section.parameters for tokens in section.tokens
    ]
