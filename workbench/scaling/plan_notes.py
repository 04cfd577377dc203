"""What is worth saying about a plan: repeats, sizes that fall together, a grid beside the best size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.scaling.grid import wanted_runs
from workbench.scaling.laws import FEW_EPOCHS, AnyLaw
from workbench.scaling.spec import StudySpec

if TYPE_CHECKING:
    from workbench.scaling.plan import PlannedRun


def notes_on(runs: Sequence[PlannedRun], spec: StudySpec, law: AnyLaw) -> list[str]:
    """What whoever decides about these runs should know, in sentences."""
    found = []
    most = max((run.epochs or 0.0 for run in runs), default=0.0)
    if most > FEW_EPOCHS:
        found.append(
            f"{sum((run.epochs or 0) > FEW_EPOCHS for run in runs)} runs see the data more than "
            f"{FEW_EPOCHS:.0f} times ({most:.1f} at most): repeats are then worth less and less "
            "(Muennighoff et al. 2023); the fit counts them for what they are worth"
        )
    elif most > 1:
        found.append(f"the longest run sees the data {most:.1f} times; up to 4 that costs little")
    if (wanted := wanted_runs(spec)) > len(runs):
        found.append(
            f"{wanted - len(runs)} of {wanted} runs are the same as another: sizes that fall on one shape; "
            "a larger spread, or a smaller shapes.head_size, tells them apart"
        )
    if spec.isoflop.tokens_per_parameter is not None and spec.grid == "isoflop":
        # Whoever names the ratio does not ask the published law.
        return found
    unseen = law.optimal_parameters(max(run.flops for run in runs))
    sizes = [run.parameters for run in runs]
    if not min(sizes) < float(unseen) < max(sizes):
        found.append(
            f"by the law “{spec.law}” the best size for the largest run is {short(float(unseen))} "
            "parameters, which the grid does not span"
        )
    return found


def short(value: float) -> str:
    """A count for names: 950, 96k, 1.2M."""
    for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.0f}"
