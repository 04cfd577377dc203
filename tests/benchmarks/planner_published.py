"""The planner's speeds beside published ones, and its layouts of 7B, 70B and 405B on 8 to 1024 GPUs.

    python tests/benchmarks/planner_published.py [--table]

`figures`: layouts that papers tell, with predicted over published speed. `trainings`: whole trainings from
their device hours, beside the best layout on so many GPUs. `grid`: what the planner would choose. Prints
JSON, or with `--table` lines for a person. A minute.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "support"))

from planner_figures import Compared, predicted

from workbench.scaling.layouts import cluster, search, setting_of, subject_of
from workbench.scaling.layouts.layout import Recompute
from workbench.scaling.layouts.published import figures, trainings

NAMES = ("llama2-7b", "llama3-8b", "llama2-70b", "llama3-70b", "llama3-405b")
MODELS = tuple(f"models/{name}" for name in NAMES)
GPUS = (8, 16, 32, 64, 128, 256, 512, 1024)
TOKENS = 4_194_304
ALL: tuple[Recompute, ...] = ("none", "selective", "full")
HERE: tuple[Recompute, ...] = ("none", "full")
TRAINED_ON = {"models/llama2-7b": 1024, "models/llama2-70b": 1024, "models/llama3-8b": 1024}
"""GPUs that a training is compared on where its source says no number."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--table", action="store_true", help="lines for a person instead of JSON")
    args = parser.parse_args()
    compared = [predicted(figure) for figure in figures()]
    found = {
        "figures": [of_figure(one) for one in compared],
        "error": {
            "median": statistics.median(abs(one.ratio - 1) for one in compared),
            "largest": max(abs(one.ratio - 1) for one in compared),
        },
        "trainings": [of_training(training) for training in trainings()],
        "grid": [of_grid(model, gpu, gpus) for model in MODELS for gpu in ("H100", "A100") for gpus in GPUS],
    }
    print(table(found) if args.table else json.dumps(found, indent=1))


def of_figure(one: Compared) -> dict[str, Any]:
    """A published figure beside the planner's."""
    step = one.plan.times.step
    return {
        "model": one.figure.model,
        "gpus": f"{one.figure.gpus} {one.figure.gpu}",
        "layout": one.plan.layout.words(),
        "speed": one.words,
        "predicted_over_published": one.ratio,
        "memory_gb": one.plan.memory.peak / 1e9,
        "shares_of_step": {name: value / step for name, value in one.plan.times.parts().items() if value},
        "source": one.figure.source,
    }


def of_training(training: Any) -> dict[str, Any]:
    """A whole training beside the best layout on a thousand GPUs (405B: 16,384 in the paper's layout)."""
    gpus = TRAINED_ON.get(training.model, 2048)
    subject = subject_of(training.model)
    longest = subject.model.longest
    setting = setting_of(
        subject, cluster(training.gpu, gpus), length=longest, global_batch=TOKENS // longest, stack="megatron"
    )
    fitting = search(setting, ALL).fitting
    best = fitting[0] if fitting else None
    mine = best.tokens_per_second / gpus if best else None
    flops = subject.model.flops_per_token(longest)
    return {
        "model": training.model,
        "gpu": training.gpu,
        "published_tokens_per_second_per_gpu": training.tokens_per_second,
        "published_share_of_peak": training.tokens_per_second * flops / setting.cluster.device.half,
        "planned_tokens_per_second_per_gpu": mine,
        "planned_on": gpus,
        "published_over_planned": training.tokens_per_second / mine if mine else None,
        "source": training.source,
    }


def of_grid(model: str, gpu: str, gpus: int) -> dict[str, Any]:
    """What the planner would choose, as trained here and as by Megatron-LM."""
    subject = subject_of(model)
    length = subject.model.longest
    found: dict[str, Any] = {"model": model, "gpus": f"{gpus} {gpu}"}
    for stack, recomputes in (("workbench", HERE), ("megatron", ALL)):
        on = cluster(gpu, gpus)
        batch = max(gpus, TOKENS // length)
        setting = setting_of(subject, on, length=length, global_batch=batch, stack=stack)
        plans = search(setting, recomputes).fitting
        if not plans:
            found[stack] = None
            continue
        best = plans[0]
        found[stack] = {
            "layout": best.layout.words(),
            "mfu": best.mfu,
            "tflops": best.flops_per_gpu / 1e12,
            "memory_gb": best.memory.peak / 1e9,
            "tokens_per_second_per_gpu": best.tokens_per_second / gpus,
        }
    return found


def table(found: dict[str, Any]) -> str:
    """For a person."""
    lines = []
    for one in found["figures"]:
        error = f"{one['predicted_over_published'] - 1:+6.1%}"
        lines.append(f"{one['model']:20} {one['gpus']:12} {one['speed']:58} {error}  {one['source']}")
    lines.append(f"error: median {found['error']['median']:.1%}, largest {found['error']['largest']:.1%}\n")
    for one in found["trainings"]:
        published, mine = one["published_tokens_per_second_per_gpu"], one["planned_tokens_per_second_per_gpu"]
        share = f"{one['published_share_of_peak']:.0%} of peak"
        lines.append(
            f"{one['model']:20} {one['gpu']:6} {published:7.0f} tokens/s a GPU published ({share}), "
            f"{mine or 0:7.0f} planned on {one['planned_on']}  {one['source']}"
        )
    lines.append("")
    for one in found["grid"]:
        words = [
            f"{stack}: {best['mfu']:.0%} MFU {best['layout']}" if best else f"{stack}: too large"
            for stack, best in ((stack, one[stack]) for stack in ("workbench", "megatron"))
        ]
        lines.append(f"{one['model']:20} {one['gpus']:10} {words[0]:70} {words[1]}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
