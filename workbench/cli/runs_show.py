"""`workbench runs show`: everything about one run on a page."""

from __future__ import annotations

import argparse
import textwrap
import time
from typing import TYPE_CHECKING, Any

from workbench import units
from workbench.cli import parser as grammar

if TYPE_CHECKING:
    from workbench.store.runs import Run

LAST_SAMPLES = 3
LAST_ALARMS = 5
NOTE_WIDTH = 100


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the grammar."""
    parser = grammar.add_command(
        commands,
        "show",
        run,
        help="show one run: state, events, recipe, checkpoints, metrics, samples",
        example="workbench runs show nano-1\nworkbench runs show nano-1 --json",
    )
    parser.add_argument("run", metavar="RUN", help="a run's name, or the path of its folder")
    grammar.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Handle `workbench runs show`."""
    from workbench.cli import render
    from workbench.store.runs import find_run

    facts = gather(find_run(args.run))
    print(render.as_json(facts) if args.json else page(facts))
    return 0


def gather(run: Run) -> dict[str, Any]:
    """All that is shown, as plain values."""
    from dataclasses import asdict

    from workbench.cli.events import SampleTail
    from workbench.cli.series import last_values
    from workbench.cli.summary import as_dict
    from workbench.errors import WorkbenchError
    from workbench.recipe import Recipe, difference
    from workbench.store.events import read_events
    from workbench.store.metrics import read_metrics
    from workbench.store.run_notes import notes_on
    from workbench.store.scaling_prediction import outcome_of, read_prediction, words_of
    from workbench.store.slurm import words_of as words_of_job

    try:
        changes = {key: value for key, value, _ in difference(run.recipe(), Recipe())}
        recipe_error = None
    except WorkbenchError as error:
        changes, recipe_error = {}, error.as_dict()
    prediction, status = read_prediction(run), run.status()
    outcome = outcome_of(prediction, status) if prediction else None
    return {
        **as_dict(run),
        "prediction": {
            **prediction.as_dict(),
            "words": words_of(prediction, status),
            "outcome": asdict(outcome) if outcome else None,
        }
        if prediction
        else None,
        "recipe_changes": changes,
        "recipe_error": recipe_error,
        "checkpoints": [path.name for path in run.checkpoints()],
        "size_bytes": run.size(),
        "log": str(run.log_path),
        "job": words_of_job(run),
        "notes": notes_on(run.status().objective, read_metrics(run.metrics_path)),
        "events": [event.as_dict() for event in read_events(run.events_path)],
        "last_metrics": last_values(run),
        "last_samples": SampleTail(run, from_start=True).poll()[-LAST_SAMPLES:],
    }


def page(facts: dict[str, Any]) -> str:
    """The facts for a person."""
    from workbench.cli import render

    parts = [render.pairs(_status(facts))]
    error = facts["error"] or facts["recipe_error"]
    if error:
        lines = [f"{error.get('title') or 'Error'}: {error.get('message', '')}"]
        lines += [
            f"  {label}: {error[key]}" for label, key in (("where", "where"), ("try", "hint")) if error[key]
        ]
        parts.append(render.style(render.literal("\n".join(lines), keep_lines=True), "red"))
    for note in facts["notes"]:
        parts.append(textwrap.fill(note, min(render.columns(), NOTE_WIDTH)))
    if facts["events"]:
        parts.append(_events(facts))
    changes = [(key, _value(value)) for key, value in facts["recipe_changes"].items() if key != "run.name"]
    for title, items in (
        ("recipe, where it differs from the defaults", changes),
        ("last metrics", [(name, render.number(value)) for name, value in facts["last_metrics"].items()]),
    ):
        if items:
            shown = [(render.literal(name), value) for name, value in items]
            parts.append(render.style(title, "bold") + "\n" + render.pairs(shown, "  "))
    if facts["last_samples"]:
        samples = [f"  {_sample(sample)}" for sample in facts["last_samples"]]
        parts.append("\n".join([render.style("last samples", "bold"), *samples]))
    return "\n\n".join(parts)


def _events(facts: dict[str, Any]) -> str:
    """The last alarms, a line each, and how much there is beside them."""
    from workbench.cli import render
    from workbench.store.events import RunEvent, line_of

    events = [event for record in facts["events"] if (event := RunEvent.from_dict(record)) is not None]
    alarms = [event for event in events if event.is_alarm]
    notes = len(events) - len(alarms)
    count = f"{len(alarms)} alarm{'' if len(alarms) == 1 else 's'}, {notes} note{'' if notes == 1 else 's'}"
    title = f"{render.style('events', 'bold')}  {count}; in words: workbench runs events {facts['name']}"
    width = min(render.columns(), NOTE_WIDTH) - 4
    lines = [
        line
        for event in alarms[-LAST_ALARMS:]
        for line in textwrap.wrap(
            render.literal(line_of(event)), width, initial_indent="  ", subsequent_indent="    "
        )
    ]
    return "\n".join([title, *lines])


def _status(facts: dict[str, Any]) -> list[tuple[str, str]]:
    from workbench.cli import render
    from workbench.store.status import ACTIVE_STATES

    step = f"{facts['step']:,}" + (f" of {facts['max_steps']:,}" if facts["max_steps"] else "")
    process = facts["process"] if facts["state"] in ACTIVE_STATES else None
    rows = [
        ("run", facts["name"]),
        ("state", render.style(facts["state"], render.STATE_STYLES.get(facts["state"], ""))),
        ("message", facts["message"] if not facts["error"] else ""),
        ("step", step),
        ("loss", render.number(facts["loss"]) if facts["loss"] is not None else ""),
        ("eval_loss", _eval(facts)),
        ("predicted", facts["prediction"]["words"] if facts["prediction"] else ""),
        ("model", _model(facts)),
        ("objective", facts["objective"]),
        ("tokens", render.count(facts["num_tokens"]) if facts["num_tokens"] else ""),
        ("tokens/s", render.count(facts["tokens_per_second"]) if facts["tokens_per_second"] else ""),
        ("device", facts["device"]),
        ("process", f"{process['pid']} on {process['host']}" if process else ""),
        ("job", facts["job"]),
        ("created", _moment(facts["created"])),
        ("worked", units.duration(facts["elapsed_seconds"]) if facts["elapsed_seconds"] else ""),
        ("ETA", units.duration(facts["eta_seconds"]) if facts["eta_seconds"] else ""),
        ("folder", facts["path"]),
        ("size", render.size(facts["size_bytes"])),
        ("checkpoints", ", ".join(facts["checkpoints"]) or "none yet"),
        ("final model", facts["final"] or ""),
    ]
    # The state may be painted already; everything else came from a file.
    return [(name, v if name == "state" else render.literal(str(v))) for name, v in rows if v]


def _eval(facts: dict[str, Any]) -> str:
    from workbench.cli import render

    if facts["eval_loss"] is None:
        return ""
    best = facts["best_eval_loss"]
    best_at = f" (best {render.number(best)} at step {facts['best_step']})" if best is not None else ""
    return render.number(facts["eval_loss"]) + best_at


def _model(facts: dict[str, Any]) -> str:
    from workbench.cli import render

    parameters = facts["num_parameters"]
    return f"{facts['model']}, {render.count(parameters)} parameters" if parameters else str(facts["model"])


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else ""


def _value(value: Any) -> str:
    import json

    from workbench.cli import render

    return render.literal(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _sample(sample: dict[str, Any]) -> str:
    from workbench.cli.events import sample_line

    return sample_line(sample)
