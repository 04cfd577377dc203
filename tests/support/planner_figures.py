"""Published speeds of training beside what the planner predicts of the same layouts."""

from __future__ import annotations

from dataclasses import dataclass, replace

from workbench.scaling.layouts import Plan, cluster, completed, parse, plan, problems, setting_of, subject_of
from workbench.scaling.layouts.published import Figure

ROWS, PIECES = (1, 2, 4, 8), (1, 2, 4)


@dataclass(frozen=True)
class Compared:
    """A published figure, the layout it is compared with, and predicted over published speed."""

    figure: Figure
    plan: Plan
    ratio: float
    words: str


def predicted(figure: Figure) -> Compared:
    """What the planner says of a published layout. Micro-batches and pieces of a stage that the source does
    not tell are the fastest ones."""
    setting = setting_of(
        subject_of(figure.model),
        cluster(figure.gpu, figure.gpus),
        length=figure.length,
        global_batch=figure.global_batch,
        stack=figure.stack,
    )
    said = parse(figure.layout)
    base = replace(completed(said, setting), recompute=figure.recompute)
    pieces = (base.virtual_stages,) if "virtual_stages" in said or base.pp == 1 else PIECES
    layouts = [
        replace(
            base,
            rows=rows,
            microbatches=setting.global_batch // base.dp // rows,
            virtual_stages=piece,
            schedule="interleaved" if piece > 1 else "1f1b",
        )
        for rows in ((base.rows,) if "rows" in said else ROWS)
        for piece in pieces
    ]
    plans = [plan(setting, layout) for layout in layouts if not problems(layout, setting)]
    best = min(plans, key=lambda found: found.times.step)
    if figure.seconds is not None:
        words = f"{best.times.step:.2f} s a step, published {figure.seconds:.2f} s"
        return Compared(figure, best, figure.seconds / best.times.step, words)
    assert figure.tflops is not None
    flops = (best.hfu if figure.counts == "hfu" else best.mfu) * best.peak / 1e12
    words = f"{flops:.0f} TFLOP/s a GPU ({figure.counts}), published {figure.tflops:.0f}"
    return Compared(figure, best, flops / figure.tflops, words)
