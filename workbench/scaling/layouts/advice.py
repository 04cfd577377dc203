"""Words about layouts: why one cannot be or does not fit, and what would."""

from __future__ import annotations

from dataclasses import replace

from workbench.scaling.layouts.feasible import problems
from workbench.scaling.layouts.layout import Layout
from workbench.scaling.layouts.plan import Plan, Setting
from workbench.scaling.layouts.search import Found, nearest, search

MOST_DEVICES = 1 << 15


def explain(layout: Layout, setting: Setting, found: Found) -> tuple[list[str], Plan | None]:
    """Why a layout cannot be, none where it can, and the layout most like it that can and fits; where none
    fits, that only can."""
    wrong = problems(layout, setting)
    known = found if found.fitting else Found(found.too_large, [])
    return wrong, nearest(setting, layout, known) if wrong else None


def nearest_words(other: Plan | None, option: str = "") -> str:
    """What to try instead of a layout that cannot be, behind the `option` that takes it; empty where there is
    nothing."""
    if other is None:
        return ""
    what = "the nearest that can be and fits" if other.fits else "none fits; the nearest that can be"
    return f"{what}: {option}{other.layout.words()}"


def too_large_words(found: Plan) -> str:
    """Why a layout does not fit: what it needs of what there is, and the two largest parts of it."""
    memory, room = found.memory, found.setting.cluster.device.memory
    parts = sorted(memory.components().items(), key=lambda part: -part[1])[:2]
    largest = " and ".join(f"{name} {size / 1e9:.1f} GB" for name, size in parts)
    where = f" on stage {memory.stage}" if found.layout.pp > 1 else ""
    return f"needs {memory.peak / 1e9:.1f} GB of {room / 1e9:.0f} GB{where}: {largest}"


def devices_needed(setting: Setting) -> Plan | None:
    """The fastest layout on the fewest devices, doubled from those there are, that have room; None where not
    even very many do."""
    on = setting.cluster
    gpus = on.gpus
    while (gpus := gpus * 2) <= MOST_DEVICES:
        each = max(on.gpus_per_node, min(8, gpus)) if on.nodes == 1 else on.gpus_per_node
        larger = replace(setting, cluster=replace(on, gpus=gpus, gpus_per_node=each))
        found = search(larger)
        if found.fitting:
            return found.fitting[0]
    return None
