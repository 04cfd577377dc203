"""One run in many layouts: each gives the curve of one process, and each reads what another has written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from many_workers import assert_same_curve, train
from tiny_run import mapping, text_of
from transformers import AutoModelForCausalLM

from workbench.recipe import dump, validate
from workbench.store.runs import Run, create_run

STEPS, HALF, ROWS = 10, 5, 8
LAYOUTS: dict[str, tuple[int, dict[str, Any]]] = {
    "one": (1, {}),
    "fsdp": (2, {"dp_shard": 2}),
    "tensor": (2, {"tp": 2}),
    "interleaved": (2, {"pp": 2, "pp_schedule": "interleaved"}),
    "hybrid": (4, {"dp_shard": 2}),
    "fsdp-tensor": (4, {"dp_shard": 2, "tp": 2}),
    "data-pipeline": (4, {"pp": 2}),
    "tensor-pipeline": (4, {"tp": 2, "pp": 2}),
    "fsdp-context": (4, {"dp_shard": 2, "cp": 2}),
}
CROSSED = [("one", "fsdp-tensor"), ("fsdp-tensor", "data-pipeline"), ("tensor-pipeline", "one")]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def recipe_of(corpus: Path, layout: str) -> Any:
    """The same rows of a step in each."""
    world_size, parallel = LAYOUTS[layout]
    data_size = world_size
    for axis in ("tp", "pp", "cp"):
        data_size //= parallel.get(axis, 1)
    changes = {
        "model__num_hidden_layers": 4,
        "training__max_steps": STEPS,
        "training__per_device_train_batch_size": ROWS // data_size // 2,
        "training__gradient_accumulation_steps": 2,
        "training__eval_steps": HALF,
        "training__save_steps": HALF,
        "training__save_total_limit": None,
        "training__sample_steps": STEPS,
        # Rows whose numbers of targets differ, so that every mean has to be one over all of them.
        "data__packing": False,
        "launch__num_processes": world_size,
    }
    return validate({**mapping(corpus, **changes), "parallel": parallel}, "test")


@dataclass
class Trained:
    """The runs of all layouts, and those that went on in another one."""

    runs: dict[str, Run]
    crossed: dict[tuple[str, str], Run]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """All of them, by one set of processes."""
    folder = tmp_path_factory.mktemp("layouts")
    corpus = folder / "corpus.jsonl"
    corpus.write_bytes(b"".join(orjson.dumps({"text": text_of(n, 40 + n)}) + b"\n" for n in range(40)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_HOME", str(folder / "home"))
        runs = {name: create_run(recipe_of(corpus, name), name) for name in LAYOUTS}
        jobs: list[tuple[str, int, str | None]] = [
            (str(run.path), LAYOUTS[name][0], None) for name, run in runs.items()
        ]
        crossed = {}
        for first, second in CROSSED:
            target = runs[first].path.with_name(f"{first}-to-{second}")
            recipe = recipe_of(corpus, second)
            recipe.run.name = target.name
            target.with_name(f"{target.name}.yaml").write_text(dump(recipe))
            crossed[first, second] = Run(target)
            jobs.append((str(target), LAYOUTS[second][0], str(runs[first].path)))
        train(jobs, folder)
    return Trained(runs, crossed)


def test_layouts_give_the_curve_of_one_process_and_read_each_others_checkpoints(trained: Trained) -> None:
    # One test of all, for in several workers each would train them anew.
    for layout in LAYOUTS:
        if layout != "one":
            gives_the_curve_of_one_process(trained.runs[layout], trained.runs["one"])
    for run in trained.crossed.values():
        assert run.status().state == "finished"
        assert_same_curve(run, trained.runs["one"])
    each_rank_says_where_it_is(trained)


def gives_the_curve_of_one_process(run: Run, reference: Run) -> None:
    assert_same_curve(run, reference)
    texts = [
        [orjson.loads(line)["text"] for line in one.samples_path.read_bytes().splitlines()]
        for one in (run, reference)
    ]
    assert texts[0] == texts[1]
    ours, theirs = (AutoModelForCausalLM.from_pretrained(one.final_path) for one in (run, reference))
    weights = theirs.state_dict()
    assert ours.state_dict().keys() == weights.keys()
    for name, weight in ours.state_dict().items():
        # Adam divides by the root of what may be next to nothing: there rounding is seen in full.
        assert torch.allclose(weight, weights[name], atol=1e-3), name


def each_rank_says_where_it_is(trained: Trained) -> None:
    from workbench.store.ranks import read_ranks

    ranks = read_ranks(trained.runs["fsdp-tensor"].path)
    assert [rank.place.rank for rank in ranks] == [0, 1, 2, 3]
    assert [(r.place.coordinates["dp_shard"], r.place.coordinates["tp"]) for r in ranks] == [
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
    ]
    assert {rank.phase for rank in ranks} == {"ended"}
    for rank in ranks:
        pairs = list(zip(rank.busy, rank.seconds, strict=True))
        assert len(pairs) == STEPS
        assert all(busy is not None and 0 < busy <= seconds for busy, seconds in pairs)
