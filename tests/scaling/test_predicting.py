"""Predictions: of runs of a family and of recipes, kept with a run, and how they turned out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scaling_studies import LAW, TINY, finished_study, make_study, spec_of

from workbench import paths
from workbench.cli import main
from workbench.cli.scale_chart import still
from workbench.recipe import load
from workbench.scaling import fit_file
from workbench.scaling.figures import emergence_figures, isoflop_figure, loss_figure, residual_figure
from workbench.scaling.fitting.points import Point
from workbench.scaling.fitting.report import report_on
from workbench.scaling.forecast import forecast
from workbench.scaling.plan import Plan, make_plan
from workbench.scaling.predicting import curve_of, learning_shape, predict
from workbench.scaling.recipes import base_recipe, recipe_of
from workbench.scaling.results import OTHERS, results_of
from workbench.scaling.study_files import save_plan
from workbench.scaling.targets import of_recipe, unique_tokens_of
from workbench.store.runs import Run, create_run
from workbench.store.scaling_prediction import (
    FILE,
    Outcome,
    Predicted,
    Prediction,
    outcome_of,
    read_prediction,
    words_of,
    write_prediction,
)
from workbench.store.scaling_studies import Study


@pytest.fixture
def study() -> Study:
    """One whose runs have all finished, at the losses of a planted law."""
    return finished_study()


@pytest.fixture
def run() -> Run:
    """A run that has not begun."""
    return create_run(load("nano", ["run.name=larger"]))


def prediction(**changes: Any) -> Prediction:
    values: dict[str, Any] = {
        "loss": 2.0, "low": 1.9, "high": 2.1, "level": 0.95, "step": 100, "tokens": 1e6, "parameters": 1e5,
        "flops": 6e11, "law": "study tiny", "curve": ((50.0, 2.5), (100.0, 2.0)),
    }  # fmt: skip
    return Prediction(**{**values, **changes})


def test_a_prediction_is_kept_with_its_run_and_judged_at_the_end(run: Run) -> None:
    assert read_prediction(run) is None
    write_prediction(run, prediction())
    kept = read_prediction(run)
    assert kept == prediction() and kept is not None and kept.tokens_per_step == 1e4
    status = run.status()
    assert outcome_of(kept, status) is None
    status.state, status.eval_loss = "finished", 2.05
    outcome = outcome_of(kept, status)
    assert outcome is not None and outcome.inside and outcome.error == pytest.approx(2 / 2.05 - 1)
    assert "reached 2.05, inside the interval, predicted -2.4%" in words_of(kept, status)
    status.eval_loss = 2.2
    assert "outside" in words_of(kept, status)


@pytest.mark.parametrize("text", ["{", "[]", '{"loss": 1}', '{"loss": "x"}'])
def test_a_damaged_prediction_is_none(run: Run, text: str) -> None:
    (run.path / FILE).write_text(text)
    assert read_prediction(run) is None


def test_the_curve_ends_in_the_predicted_loss_and_has_the_shape_of_the_others() -> None:
    shape = [(0.25, 2.0), (0.5, 2**0.5), (1.0, 1.0)]
    curve = curve_of(2.0, 1.5, 1000, shape)
    assert [curve[0][0], curve[-1][0]] == [250, 1000]
    assert [curve[0][1], curve[-1][1]] == pytest.approx([2.5, 2.0])
    assert all(after[1] < before[1] for before, after in zip(curve, curve[1:], strict=False))
    assert curve_of(2.0, 1.5, 1000, []) == () and curve_of(1.4, 1.5, 1000, shape) == ()


def test_a_fit_comes_back_out_of_its_file_with_the_same_prediction() -> None:
    runs = [
        Point(f"{n}-{d}", n, d, float(LAW.loss(n, d)) * (1 + 0.002 * (-1) ** i), 6 * n * d)
        for i, (n, d) in enumerate((n, d) for n in (2e4, 8e4, 3e5) for d in (1e6, 4e6, 2e7))
    ]
    report = report_on(runs, "total", where="here", resamples=30)
    value = json.loads(json.dumps(fit_file.as_dict(report, {})))
    fitted = fit_file.from_dict(value)
    assert fit_file.is_of(value, runs, "total") and not fit_file.is_of(value, runs[1:], "total")
    given = {"parameters": 1e6, "tokens": 1e8, "flops": 6e14, "step": 10, "law": "x"}
    found = predict(fitted, **given)  # type: ignore[arg-type]
    again = forecast(report.forms, parameters=1e6, tokens=1e8, factor=6e14 / 3.6e13, level=0.95)
    assert (found.low, found.high) == pytest.approx((again.low, again.high))
    assert set(found.forms) == {"additive", "joint"}
    assert found.low < float(LAW.loss(1e6, 1e8)) < found.high
    assert found.factor == pytest.approx(6e14 / 3.6e13)


def told(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    assert main(["scale", *words, "--json"]) == code
    out = capsys.readouterr()
    return json.loads(out.out) if code == 0 else out.err


def test_from_a_finished_study_to_a_prediction(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "fit", study.name, "--bootstrap", "20")
    assert found["coefficients"]["alpha"] == pytest.approx(LAW.alpha, rel=1e-4)
    assert main(["scale", "fit", study.name, "--bootstrap", "20"]) == 0
    page = capsys.readouterr().out
    assert "second form" in page and "backtests" in page
    assert "beside published laws" in page and "frontier" in page and "⠀" not in page
    larger = told(capsys, "predict", study.name, "--compute", "8x")
    assert larger["factor"] == pytest.approx(8, rel=0.01)
    assert larger["loss"] == pytest.approx(float(LAW.loss(larger["parameters"], larger["tokens"])), rel=1e-3)
    assert larger["curve"][-1][1] == pytest.approx(larger["loss"])
    # As the planted runs fell with the root of their steps, so does the predicted curve.
    half = np.interp(larger["step"] / 2, *np.array(larger["curve"]).T)
    assert (half - LAW.E) / (larger["loss"] - LAW.E) == pytest.approx(2**0.5, rel=0.03)
    recipe = told(capsys, "predict", study.name, "nano", "training.max_steps=500")
    assert recipe["step"] == 500 and any("tokenizer" in note for note in recipe["notes"])
    shown = told(capsys, "show", study.name)
    assert shown["counts"]["waiting"] == len(shown["runs"]) and told(capsys, "list")[0]["name"] == study.name


def test_what_a_fit_left_out_stays_out_of_predictions(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    name = str(study.plan()["runs"][0]["name"])
    fit = told(capsys, "fit", study.name, "--bootstrap", "20", "--leave-out", name, "--level", "0.8")
    larger = told(capsys, "predict", study.name, "--compute", "8x")
    assert study.fit() == fit and larger["level"] == 0.8
    assert any(f"leaves out {name}" in note for note in larger["notes"])
    study.fit_path.write_text('{"version": 3}')
    # One that is damaged, or of an older version, is as none, and made anew.
    assert told(capsys, "show", study.name)["coefficients"] is None
    assert told(capsys, "list")[0]["coefficients"] is None
    assert told(capsys, "fit", study.name, "--bootstrap", "20")["left_out"] == {}


def test_runs_of_an_older_study_of_the_same_name_are_not_fitted(study: Study) -> None:
    spec = spec_of(rules={**TINY["rules"], "learning_rate": 1e-2})
    save_plan(study, spec, make_plan(spec, study.name, where=study.name))
    results = results_of(study, "total")
    assert not results.points and set(results.left_out.values()) == {OTHERS}


def test_what_data_a_study_has_is_known_from_its_runs(study: Study) -> None:
    assert unique_tokens_of(study) is None
    name = str(study.plan()["runs"][0]["name"])
    status = Run(paths.runs_dir() / name).status()
    status.epoch = 0.5
    status.write(Run(paths.runs_dir() / name).status_path)
    assert unique_tokens_of(study) == 2 * status.num_tokens


def test_how_a_recipe_is_trained_otherwise_is_told(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("training.max_steps=500", "training.per_device_train_batch_size=64", "training.min_lr_ratio=0.5")
    notes = told(capsys, "predict", study.name, "nano", *words)["notes"]
    assert any("its steps read" in note for note in notes) and any("decays by" in note for note in notes)


def test_a_run_of_a_study_with_sums_has_the_sources_of_the_study(home: Path) -> None:
    sums = {"steps": [1], "documents": 2, "held_out": 10}
    study = make_study("sums", arithmetic=sums)
    spec = spec_of(arithmetic=sums)
    planned = Plan.from_dict(study.plan()).runs[-1]
    run = create_run(recipe_of(spec, base_recipe(spec, "here"), planned, study.path))
    assert of_recipe(str(run.recipe_path), (), study).notes == ()
    notes = of_recipe("nano", ["training.max_steps=9"], study).notes
    assert any("its sources are not the study's" in note for note in notes)


def test_the_curve_begins_where_something_was_measured(study: Study) -> None:
    shape = learning_shape(results_of(study, "total").points, LAW.E)
    assert shape[0] == pytest.approx((0.25, 2.0), rel=0.02)


def test_a_prediction_is_kept_with_a_run_that_there_is(
    study: Study, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    told(capsys, "predict", study.name, "--run", run.name)
    kept = read_prediction(run)
    assert kept is not None and kept.step == 1500 and kept.law == f"study {study.name}"
    assert main(["runs", "show", run.name]) == 0
    assert "by study tiny" in capsys.readouterr().out


BAD = (
    (["predict", "tiny"], "two of size, tokens and compute"),
    (["predict", "tiny", "--parameters", "1e6"], "two of size, tokens and compute"),
    (["predict", "tiny", "--parameters", "-1", "--tokens", "1"], "no number above 0"),
    (["predict", "besirglu", "--compute", "1e20"], "did you mean besiroglu?"),
    (["predict", "besiroglu", "--compute", "2x"], "no largest run"),
    (["predict", "besiroglu", "--compute", "1e20", "--start"], "no recipe to start"),
    (["fit", "tiny", "--leave-out", "x"], "the study has no run"),
    (["fit", "tiny", "--bootstrap", "1"], "20 to 100,000"),
    (["fit", "nothing"], "no study called"),
    (["emergence", "tiny"], "no sums among its text"),
    (["show", "tinny"], "did you mean tiny?"),
    (["laws", "--compute", "x"], "no number above 0"),
    (["plan", "nano", "--budget", "1e9"], "too small to fit a law"),
)


def test_bad_input(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in BAD:
        assert main(["scale", *words]) in (1, 2), words
        assert message in capsys.readouterr().err, words


def test_a_published_law_predicts_without_an_interval(capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "predict", "besiroglu", "--parameters", "7e10", "--tokens", "1.4e12")
    assert found["loss"] == found["low"] == found["high"] == pytest.approx(1.974, abs=2e-3)
    laws = {law["name"]: law for law in told(capsys, "laws")}
    assert laws["hoffmann"]["tokens_per_parameter"] == pytest.approx(92.7, abs=0.1)


def test_figures_are_drawn(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    fit = told(capsys, "fit", study.name, "--bootstrap", "20")
    for make in (loss_figure, isoflop_figure, residual_figure):
        assert len(still(make(fit), width=70).splitlines()) == 16
    made = Prediction(2.0, 1.9, 2.1, 0.95, 100, 1e6, 1e5, 6e11, "study tiny")
    runs = (Predicted("a", made, Outcome(1.95, 0.02, True), ""), Predicted("b", made, None, ""))
    *_, first, second, reached = loss_figure(fit, runs).lines
    assert (first.marks, second.y.tolist()) == ("bars", [1.9, 2.1])
    assert (reached.label, reached.x.tolist(), reached.y.tolist()) == ("reached", [6e11], [1.95])
    row = {
        "steps": 1,
        "exact": 0.5,
        "exact_interval": [0.4, 0.6],
        "per_token": -1.0,
        "per_token_interval": [-1.2, -0.8],
    }
    found = {
        "models": [
            {"parameters": 1e5, "flops": 1e12, "rows": [row]},
            {"parameters": 5e4, "flops": 8e12, "rows": [row]},
        ]
    }
    assert emergence_figures(found)[0].lines[0].x.tolist() == [1e12, 8e12]
    assert all("1 step" in still(figure, width=60) for figure in emergence_figures(found))


def test_a_plan_as_a_command(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "plan", "tiny-decoders", "--dry-run", "--name", "x")
    assert len(found["runs"]) >= 12 and not found["saved"] and not (home / "scaling" / "x").exists()
    kept = told(
        capsys, "plan", "nano", "--budget", "5e13", "--name", "y", "--skip-data", "rules.batch_tokens=2048"
    )
    assert kept["saved"] and (home / "scaling" / "y" / "plan.json").exists()
    assert "y" in told(capsys, "plan", "nano", "--budget", "5e13", "--name", "y", "--skip-data")["name"]
    assert main(["scale", "plan"]) == 0 and "tiny-decoders" in capsys.readouterr().out
    assert main(["scale", "rm", "y"]) == 0 and not (home / "scaling" / "y").exists()
