"""Which layouts can be at all, and what the nearest is to one that cannot."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from workbench.errors import UsageError
from workbench.scaling.layouts.layout import Layout
from workbench.scaling.layouts.plan import Setting

KEYS = {
    "dp_replicate": ("dp_replicate", "replicate"),
    "dp_shard": ("dp_shard", "shard", "fsdp"),
    "dp": ("dp",),
    "cp": ("cp",),
    "tp": ("tp",),
    "pp": ("pp",),
    "virtual_stages": ("virtual_stages", "pp_virtual_stages", "v"),
    "schedule": ("schedule", "pp_schedule"),
    "microbatches": ("microbatches", "pp_microbatches", "m"),
    "rows": ("rows", "b"),
    "recompute": ("recompute",),
    "reshard": ("reshard",),
}
WORDS = {
    "schedule": ("1f1b", "interleaved", "gpipe"),
    "recompute": ("none", "selective", "full"),
    "reshard": ("yes", "no"),
}


def parse(text: str) -> dict[str, int | str]:
    """`dp=8,tp=4,pp=2,…` as values by name. Raises `UsageError` naming what is wrong."""
    found: dict[str, int | str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        word, equals, value = (piece.strip() for piece in part.partition("="))
        key = next((key for key, names in KEYS.items() if word in names), None)
        if key is None or not equals:
            raise UsageError(
                f"“{part}” is no part of a layout",
                where="--layout",
                hint=f"write name=number, names: {', '.join(KEYS)}; such as dp=8,tp=4,pp=2,shard=8",
            )
        if key in WORDS:
            if value not in WORDS[key]:
                raise UsageError(
                    f"{key} is not “{value}”", where="--layout", hint=f"one of: {', '.join(WORDS[key])}"
                )
            found[key] = value
        elif value.isdigit() and 0 < int(value) < 10**6:
            found[key] = int(value)
        else:
            raise UsageError(
                f"{key}={value} is no number from 1 up",
                where="--layout",
                hint="parts are set apart by commas: tp=2,pp=2" if "=" in value else "",
            )
    return found


def completed(wanted: dict[str, int | str], setting: Setting) -> Layout:
    """A layout from what was said of it: data parallelism takes the devices that are left, a step's rows are
    cut into micro-batches of one row where nothing else is said.

    Raises `UsageError` where the parts of data parallelism contradict each other.
    """
    numbers = {key: value for key, value in wanted.items() if isinstance(value, int)}
    inner = math.prod(numbers.get(name, 1) for name in ("tp", "cp", "pp"))
    left = max(1, setting.cluster.gpus // inner)
    dp = numbers.get("dp")
    shard, replicate = numbers.get("dp_shard"), numbers.get("dp_replicate")
    if shard is None:
        whole = dp or left
        shard = max(1, whole // replicate) if replicate else (1 if dp else whole)
    if replicate is None:
        replicate = max(1, (dp or left) // shard)
    if dp is not None and shard * replicate != dp:
        raise UsageError(
            f"dp={dp} ranks read different rows, but dp_replicate={replicate} × dp_shard={shard} are "
            f"{shard * replicate}",
            where="--layout",
            hint=f"shard has to divide dp: {_divisors_words(dp)}",
        )
    rows = numbers.get("rows", 1)
    share = max(1, setting.global_batch // (replicate * shard))
    virtual = numbers.get("virtual_stages", 1)
    schedule = wanted.get("schedule") or ("interleaved" if virtual > 1 else "1f1b")
    if schedule == "interleaved" and virtual == 1:
        virtual = 2
    return Layout(
        dp_replicate=replicate,
        dp_shard=shard,
        cp=numbers.get("cp", 1),
        tp=numbers.get("tp", 1),
        pp=numbers.get("pp", 1),
        virtual_stages=virtual,
        schedule=schedule,  # type: ignore[arg-type]
        microbatches=numbers.get("microbatches", max(1, share // rows)),
        rows=rows,
        recompute=wanted.get("recompute", "none"),  # type: ignore[arg-type]
        reshard=wanted.get("reshard", "yes" if numbers.get("pp", 1) == 1 else "no") == "yes",
    )


def problems(layout: Layout, setting: Setting) -> list[str]:
    """Why a layout cannot be, one sentence each with the nearest number that can; none where it can.

    Of degrees that the model does not take, then of their product, then of the batch: one follows from the
    other.
    """
    for kind in (_shape_problems, _size_problems, _batch_problems):
        if found := list(kind(layout, setting)):
            return found
    return []


def _size_problems(layout: Layout, setting: Setting) -> Iterator[str]:
    gpus = setting.cluster.gpus
    if layout.ranks != gpus:
        product = " × ".join(f"{name} {size}" for name, size in layout.axes.items() if size > 1) or "1"
        takes = "takes" if layout.ranks == 1 else "take"
        yield f"{product} {takes} {layout.ranks:,} devices, and there are {gpus:,}"


def _shape_problems(layout: Layout, setting: Setting) -> Iterator[str]:
    model = setting.model
    if not model.splits and layout.tp * layout.cp * layout.pp > 1:
        yield "only decoders learning from rows of text are split by tp, cp and pp; others by dp_shard"
        return
    shared = math.gcd(model.heads, model.key_value_heads, model.feed_forward)
    for what, number in (
        ("attention heads", model.heads),
        ("key-value heads", model.key_value_heads),
        ("feed-forward units", model.feed_forward),
    ):
        if number % layout.tp:
            near = _nearest(divisors(shared), layout.tp)
            yield f"tp={layout.tp} does not divide the model's {number:,} {what}; the nearest is tp={near}"
            break
    if setting.length % (2 * layout.cp) and layout.cp > 1:
        near = _nearest([n for n in divisors(setting.length) if setting.length % (2 * n) == 0], layout.cp)
        yield (
            f"rows of {setting.length:,} tokens are not cut into 2 × cp={layout.cp} pieces; the nearest is "
            f"cp={near}"
        )
    pieces = layout.pp * layout.virtual_stages
    if pieces > model.layers:
        near = max(1, model.layers // layout.virtual_stages)
        yield (
            f"{pieces} pieces of a pipeline are more than the model's {model.layers} layers; the nearest is "
            f"pp={near}"
        )
    if layout.virtual_stages > 1 and (layout.pp == 1 or layout.schedule != "interleaved"):
        yield f"virtual_stages={layout.virtual_stages} are for an interleaved schedule over pp=2 or more"


def _batch_problems(layout: Layout, setting: Setting) -> Iterator[str]:
    if setting.global_batch % layout.dp:
        near = max(1, round(setting.global_batch / layout.dp)) * layout.dp
        yield (
            f"a step of {setting.global_batch:,} rows is not shared evenly by {layout.dp:,} ranks that read "
            f"different rows; the nearest is --global-batch {near}"
        )
    elif layout.global_batch != setting.global_batch:
        share = setting.global_batch // layout.dp
        near = _nearest(divisors(share), layout.microbatches)
        yield (
            f"{layout.microbatches} micro-batches of {layout.rows} rows are not the {share} rows of each of "
            f"{layout.dp:,} ranks; the nearest is microbatches={near},rows={share // near}"
        )
    if layout.schedule == "interleaved" and layout.pp > 1:
        rounds = max(1, layout.microbatches // layout.pp)
        if layout.microbatches % rounds:
            near = max(1, round(layout.microbatches / layout.pp)) * layout.pp
            yield (
                f"an interleaved schedule takes whole rounds, and {layout.microbatches} micro-batches over "
                f"pp={layout.pp} are none; the nearest is microbatches={near}"
            )


def divisors(number: int) -> list[int]:
    """All of them, the smallest first."""
    small = [n for n in range(1, math.isqrt(number) + 1) if number % n == 0]
    return sorted({*small, *(number // n for n in small)})


def _nearest(numbers: Iterable[int], wanted: int) -> int:
    return min(numbers, key=lambda number: (abs(math.log(number / wanted)), number), default=1)


def _divisors_words(number: int) -> str:
    found = divisors(number)
    return ", ".join(map(str, found if len(found) < 10 else [*found[:9], "…"]))


def distance(one: Layout, other: Layout) -> float:
    """How different two layouts are: doublings and halvings of their degrees."""
    names = ("dp_replicate", "dp_shard", "cp", "tp", "pp", "virtual_stages")
    degrees = sum(abs(math.log2(getattr(one, name) / getattr(other, name))) for name in names)
    batch = abs(math.log2(one.rows / other.rows)) / 4
    return degrees + batch + (one.recompute != other.recompute) / 2 + (one.reshard != other.reshard) / 2
