"""Plans: the arithmetic of budgets, exact counts, and what is refused with what would do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from scaling_studies import spec_of

from workbench.errors import RecipeError, UsageError
from workbench.models.estimate import estimate
from workbench.scaling.plan import Plan, make_plan
from workbench.scaling.recipes import base_recipe, learning_rate, recipe_of
from workbench.scaling.study_files import load_spec, study_presets, take_budget


def plan_of(**changes: Any) -> Plan:
    return make_plan(spec_of(**changes), "s", where="s")


def test_an_isoflop_grid_spends_the_same_compute_at_each_level_and_the_budget_in_all() -> None:
    plan = plan_of()
    levels = sorted({run.level for run in plan.runs if run.level})
    # Four sizes at each, which are fewer where two come to the same shape; met up to half a step a run.
    assert sum(4 * level for level in levels) == pytest.approx(2e13)
    assert plan.flops == pytest.approx(sum(run.level or 0 for run in plan.runs), rel=0.01)
    assert [level / levels[0] for level in levels] == pytest.approx([1, 2, 4, 8])
    for run in plan.runs:
        # Met up to half a step.
        step = run.flops / run.steps
        assert run.level is not None and abs(run.flops - run.level) <= step / 2 + 1
    assert [run.flops for run in plan.runs] == sorted(run.flops for run in plan.runs)


def test_counts_are_those_of_the_recipes_that_will_run() -> None:
    spec = spec_of()
    base = base_recipe(spec, "s")
    for run in make_plan(spec, "s", where="s").runs:
        recipe = recipe_of(spec, base, run, Path("/nowhere"))
        known = estimate(recipe).known
        assert known is not None
        assert known.parameters.total == run.parameters
        assert known.parameters.without_embeddings == run.non_embedding
        assert (known.plan.steps, known.plan.tokens) == (run.steps, run.tokens)
        assert known.plan.flops == pytest.approx(run.flops)
        # Every run decays to its own end, on the same held-out rows, and its last weights are kept.
        section = recipe.training
        assert section.lr_scheduler_type == "cosine" and section.max_steps == run.steps
        assert not section.load_best_model_at_end
        assert (section.per_device_eval_batch_size, section.max_eval_batches) == (8, 128)


def test_a_ratio_grid_keeps_the_ratio_and_the_budget() -> None:
    plan = plan_of(grid="ratio", ratio={"tokens_per_parameter": [20.0, 40.0], "sizes": 4})
    assert len(plan.runs) == 8
    assert plan.flops == pytest.approx(2e13, rel=0.25)
    for run in plan.runs:
        step = 1024 / run.parameters
        assert min(abs(run.tokens / run.parameters - ratio) for ratio in (20, 40)) <= step


def test_a_free_grid_is_every_size_with_every_length() -> None:
    plan = plan_of(grid="free", budget={}, free={"parameters": [5e4, 1e5, 2e5], "tokens": [2e5, 4e5, 8e5]})
    assert len(plan.runs) == 9
    assert len({run.parameters for run in plan.runs}) == 3
    assert {run.steps for run in plan.runs} == {round(tokens / 1024) for tokens in (2e5, 4e5, 8e5)}


def test_non_embedding_counts_are_what_a_study_may_ask_for() -> None:
    plan = plan_of(grid="free", budget={}, shapes={"count": "non_embedding"},
                   free={"parameters": [5e4, 1e5, 2e5], "tokens": [2e5, 4e5, 8e5]})  # fmt: skip
    for run in plan.runs:
        assert min(abs(run.non_embedding / wanted - 1) for wanted in (5e4, 1e5, 2e5)) < 0.35


def test_a_budget_in_hours_is_what_the_runs_take() -> None:
    plan = plan_of(budget={"hours": 2.0, "flops_per_second": 1e10})
    assert plan.seconds == pytest.approx(7200, rel=0.02)


def test_an_explicit_grid_is_held_to_its_hours() -> None:
    grid = {"grid": "free", "free": {"parameters": [5e4, 1e5, 2e5], "tokens": [2e5, 4e5, 8e5]}}
    seconds = plan_of(budget={"flops_per_second": 1e10, "hours": 9.0}, **grid).seconds
    assert seconds is not None
    assert plan_of(budget={"flops_per_second": 1e10, "hours": seconds / 3600}, **grid).seconds == seconds
    with pytest.raises(UsageError, match="more than the budget"):
        plan_of(budget={"flops_per_second": 1e10, "hours": 0.9 * seconds / 3600}, **grid)


def test_gpu_hours() -> None:
    plan = plan_of(budget={"hours": 0.5, "gpu": "T4", "gpus": 2}, base="mini",
                   rules={"batch_tokens": 65536, "least_steps": 10})  # fmt: skip
    assert plan.seconds == pytest.approx(1800, rel=0.05)
    assert "2 × T4" in plan.machine
    with pytest.raises(UsageError, match="no GPU called"):
        plan_of(budget={"hours": 1.0, "gpu": "Z80"})


def test_too_small_a_budget_says_what_would_do_and_that_does() -> None:
    with pytest.raises(UsageError, match="too small to fit a law") as caught:
        plan_of(budget={"flops": 1e11})
    needed = float(re.search(r"at least (\S+) FLOPs", caught.value.hint)[1])  # type: ignore[index]
    assert needed > 1e11
    assert plan_of(budget={"flops": needed}).runs


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"budget": {}}, "needs a budget"),
        ({"budget": {"hours": 1.0}}, "has not been measured"),
        ({"budget": {"flops": 1.0, "hours": 1.0}}, "choose one"),
        ({"rules": {"batch_tokens": 1000}}, "no multiple of 128"),
        ({"grid": "free", "budget": {}}, "names its sizes and its tokens"),
        ({"grid": "free", "budget": {}, "free": {"parameters": [1e5], "tokens": [1e6]}}, "law takes 6"),
        ({"base": "sft"}, "trains new models"),
        ({"base": "t5-nano", "changes": {}}, "cannot be planned"),
        ({"law": "chinchila"}, "no law called"),
        ({"isoflop": {"levles": 3}}, "no key “isoflop.levles”"),
        ({"isoflop": {"sizes": 2}}, "isoflop.sizes"),
    ],
)
def test_what_cannot_be_planned(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        plan_of(**changes)


def test_repeated_data_is_warned_of() -> None:
    spec = spec_of()
    assert not any("times" in note for note in make_plan(spec, "s", where="s", epoch_tokens=10**9).notes)
    (note, *_) = make_plan(spec, "s", where="s", epoch_tokens=10**5).notes
    assert "Muennighoff" in note


def test_sizes_that_fall_on_one_shape_are_told() -> None:
    spec = load_spec("tiny-decoders", ["isoflop.spread=2", "isoflop.tokens_per_parameter=40"])
    (note,) = make_plan(spec, "s", where="s").notes
    assert note.startswith("1 of 20 runs are the same as another")
    assert make_plan(load_spec("tiny-decoders"), "s", where="s").notes == ()


def test_no_model_is_narrower_than_asked_for() -> None:
    wide = make_plan(load_spec("tiny-decoders", ["shapes.least_width=20"]), "s", where="s")
    assert min(run.shape["hidden_size"] for run in wide.runs) == 24


def test_the_law_is_not_fitted_to_sums() -> None:
    plain, sums = load_spec("tiny-decoders"), load_spec("tiny-sums")
    assert plain.arithmetic is None and sums.arithmetic is not None
    # Else they are the same, so that what differs is the sums.
    assert plain == sums.model_copy(update={"arithmetic": None})


def test_learning_rates_follow_the_rule() -> None:
    from workbench.scaling.shapes import Family

    spec = spec_of()
    shapes = [Family(base_recipe(spec, "s"), spec.shapes, "s").shape(width, 2) for width in (32, 128)]
    rules = spec.rules
    rates = [learning_rate(rules, shape, 2e6) for shape in shapes]
    assert rates == pytest.approx([3e-3 * 2**0.5, 3e-3 / 2**0.5])
    longer = rules.model_copy(update={"tokens_exponent": -0.5})
    assert learning_rate(longer, shapes[0], 4e6) == pytest.approx(3e-3 * 2**0.5 / 2)
    assert learning_rate(longer, shapes[0], 1e6) == pytest.approx(rates[0])
    constant = longer.model_copy(update={"learning_rate_rule": "constant"})
    assert learning_rate(constant, shapes[0], 4e6) == pytest.approx(1.5e-3)
    kaplan = rules.model_copy(update={"learning_rate_rule": "kaplan"})
    assert learning_rate(kaplan, shapes[1], 2e6) == pytest.approx(0.003239 - 0.0001395 * 12.9, rel=0.05)


@pytest.mark.parametrize("name", list(study_presets()))
def test_every_preset_makes_a_plan(name: str) -> None:
    assert len(make_plan(load_spec(name), name, where=name).runs) >= 12


def test_overrides_reach_the_study_and_its_recipe() -> None:
    spec = load_spec(
        "tiny-decoders", ["isoflop.levels=5", "training.weight_decay=0", "data.sources.0.limit=9"]
    )
    recipe = base_recipe(spec, "s")
    assert (spec.isoflop.levels, recipe.training.weight_decay) == (5, 0)
    assert recipe.data.sources[0].limit == 9
    with pytest.raises(RecipeError) as caught:
        load_spec("tiny-decoders", ["isoflop.level=5"])
    assert caught.value.hint == "did you mean isoflop.levels?"
    with pytest.raises(RecipeError, match="“budget” takes keys, not the value 1") as caught:
        load_spec("tiny-decoders", ["budget=1e9"])
    assert caught.value.hint.startswith("write budget.flops=…; it knows flops, hours, ")
    assert load_spec("tiny-sums", ["arithmetic=null"]).arithmetic is None
    assert load_spec("nano").base == "nano"
    with pytest.raises(RecipeError, match="no preset called"):
        load_spec("bogus")


def test_files_are_named_by_their_whole_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.yaml").write_text("extends: nano\ndata: {sources: [words.txt, 'stdlib:', '*.md']}\n")
    (tmp_path / "study.yaml").write_text("base: own.yaml\nbudget: {flops: 1e14}\n")
    (tmp_path / "words.txt").write_text("words")
    monkeypatch.chdir(tmp_path)
    spec = load_spec("study.yaml")
    assert spec.base == str(tmp_path / "own.yaml")
    paths = [source.path for source in base_recipe(spec, "s").data.sources]
    assert paths == [str(tmp_path / "words.txt"), "stdlib:", "*.md"]


@pytest.mark.parametrize(
    ("text", "flops", "hours"), [("2e14", 2e14, None), ("90m", None, 1.5), ("2d", None, 48)]
)
def test_budgets_as_typed(text: str, flops: float | None, hours: float | None) -> None:
    spec = spec_of()
    take_budget(spec, text, None, None)
    assert (spec.budget.flops, spec.budget.hours) == (flops, hours)
    with pytest.raises(UsageError, match="is no budget"):
        take_budget(spec, "3x", None, None)
