"""What a process holds at most of a model that is split, until its part is there: one process makes the model
and sends the others their parts, beside each making all of it.

    python tests/benchmarks/handing_out.py [--layouts dp_shard=4 tp=4 …] [--hidden 1024] [--layers 8]

Processes over gloo, fp32. Prints JSON with megabytes above what a process held before (VmHWM, which is set
back): `one` with what is here now, `each` with a whole model in every process; by rank.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

SUPPORT = Path(__file__).parent.parent / "support"
sys.path.insert(0, str(SUPPORT))

from forked import together  # noqa: E402

from workbench.recipe import load  # noqa: E402
from workbench.recipe.parallel_section import Degrees  # noqa: E402
from workbench.training.making import make  # noqa: E402
from workbench.training.parallel.gradients import local  # noqa: E402
from workbench.training.parallel.layout import Layout  # noqa: E402
from workbench.training.parallel.split import split  # noqa: E402

MEGABYTE = 1e6
LAYOUTS = ("dp_shard=4", "tp=4", "pp=4", "dp_shard=2,tp=2")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layouts", nargs="*", default=LAYOUTS)
    parser.add_argument("--ways", nargs="*", default=("one", "each"))
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--vocabulary", type=int, default=32000)
    given = parser.parse_args()
    out = os.dup(1)
    os.dup2(2, 1)  # what workers say is talk
    found = {layout: measured(layout, given) for layout in given.layouts}
    with os.fdopen(out, "w") as stream:
        print(json.dumps(found, indent=1), file=stream)


def measured(layout: str, given: argparse.Namespace) -> dict[str, Any]:
    """Both ways in one layout."""
    degrees = Degrees(**{name: int(size) for name, size in (part.split("=") for part in layout.split(","))})

    def measure(way: str) -> list[dict[str, int]]:
        def work(accelerator: Accelerator, folder: Path) -> None:
            told = one_way(accelerator, degrees, given, way)
            (folder / f"{accelerator.process_index}.json").write_text(json.dumps(told))

        # In processes of their own: what one way has freed the other would take.
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            together(degrees.world_size, work, folder)
            return [json.loads((folder / f"{rank}.json").read_bytes()) for rank in range(degrees.world_size)]

    return {way: measure(way) for way in given.ways}


def one_way(
    accelerator: Accelerator, degrees: Degrees, given: argparse.Namespace, way: str
) -> dict[str, int]:
    """Megabytes on this rank: `most` at once, its `part`, the largest weight, and the whole."""
    recipe, objective = load("nano", []), SimpleNamespace(check=id, found=dict, adopt=lambda *_: None)
    layout = Layout.make(degrees, accelerator, timedelta(seconds=600))
    shape = {
        "hidden_size": given.hidden,
        "intermediate_size": 3 * given.hidden,
        "vocab_size": given.vocabulary,
    }
    heads = {"num_attention_heads": 16, "num_key_value_heads": 8, "num_hidden_layers": given.layers}
    config = LlamaConfig(**shape, **heads)

    def whole() -> nn.Module:
        torch.manual_seed(0)
        model: nn.Module = LlamaForCausalLM(config)
        return model

    with torch.device("meta"):
        sizes = [4 * weight.numel() for weight in LlamaForCausalLM(config).parameters()]
    accelerator.wait_for_everyone()
    Path("/proc/self/clear_refs").write_text("5")
    before = most()
    anything: Any = objective
    if way == "one":
        made = make(whole, None, recipe, layout)
        made.check(anything)
        stepper = split(made.model, anything, layout, recipe, 64)
        made.hand_out(stepper)
    else:
        stepper = split(whole(), anything, layout, recipe, 64)
    held = sum(local(weight).untyped_storage().nbytes() for weight in stepper.weights.values())
    told = {"most": most() - before, "part": held, "largest": max(sizes), "whole": sum(sizes)}
    return {name: round(size / MEGABYTE) for name, size in told.items()}


def most() -> int:
    """VmHWM, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
