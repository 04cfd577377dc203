"""The summary pane: what a run is doing, what went wrong with it, and how it can go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from workbench import paths
from workbench.store.run_notes import NOTED, notes_on
from workbench.store.scaling_prediction import read_prediction, words_of
from workbench.tui.text import clock, meter, reveal_control, short_loss, short_number
from workbench.tui.train.job_words import JobWords
from workbench.tui.train.rows import Row
from workbench.tui.widgets.text_lines import Line, plain
from workbench.units import duration

if TYPE_CHECKING:
    from workbench.store.metrics import MetricsTail

BAR = 30
NEXT = {
    "queued": "Not started yet. R starts it.",
    "stopped": "Stopped with a checkpoint. R goes on from it.",
    "failed": "Failed. R tries again from the last checkpoint.",
    "lost": "Its process is gone without a last word. R goes on from the last checkpoint.",
}


class InfoSource:
    """The summary of one run, made again whenever its row changes."""

    def __init__(self, row: Callable[[], Row | None], symbols: str) -> None:
        """`row` gives the present row of the run."""
        self._row, self._symbols = row, symbols
        self._seen: Row | None = None
        self._job, self._said = JobWords(), ""
        self._metrics: MetricsTail | None = None

    def poll(self) -> list[Line] | None:
        row = self._row()
        if row is None:
            return None
        job = self._job.words(row)
        if row == self._seen and job == self._said:
            return None
        self._seen, self._said = row, job
        return summary(row, self._symbols, self._notes(row), job)

    def _notes(self, row: Row) -> list[str]:
        """What the curves say, read again as far as they have grown."""
        from workbench.store.metrics import MetricsTail

        if row.status.objective not in NOTED:
            return []
        if self._metrics is None or self._metrics.path != row.run.metrics_path:
            self._metrics = MetricsTail(row.run.metrics_path, paths.cache_dir("metrics"))
        self._metrics.poll()
        while self._metrics.behind:
            self._metrics.poll()
        return notes_on(row.status.objective, self._metrics)


def summary(row: Row, symbols: str, notes: Sequence[str] = (), job: str = "") -> list[Line]:
    """What there is to say about a run, most urgent first; `notes` are what its curves say in words, `job`
    what a cluster says of its job."""
    status = row.status
    lines = [*_state(row), *_error(row)]
    if row.state in NEXT:
        lines.append(plain(NEXT[row.state], "warn"))
    if status.progress:
        lines.append(progress_line(row, symbols))
    if row.share is not None:
        lines.append(
            (
                ("steps     ", "key"),
                (meter(row.share, BAR, symbols), "good"),
                (f" {row.share:4.0%}  {status.step} of {status.max_steps}", ""),
            )
        )
    best = ""
    if status.best_eval_loss is not None:
        best = f", best {short_loss(status.best_eval_loss)} at step {status.best_step}"
    lines += [plain(note, "warn") for note in notes]
    lines.append(_pair("loss", f"{short_loss(status.loss)}, eval {short_loss(status.eval_loss)}{best}"))
    prediction = read_prediction(row.run)
    if prediction is not None:
        lines.append(_pair("predicted", words_of(prediction, status)))
    lines.append(_pair("tokens", f"{short_number(status.num_tokens)}, epoch {status.epoch:.2f}{_speed(row)}"))
    parameters = f", {short_number(status.num_parameters)} parameters" if status.num_parameters else ""
    lines.append(_pair("model", f"{status.model or '–'}{parameters}, {status.objective}"))
    processes = f", {status.num_processes} processes" if status.num_processes > 1 else ""
    lines.append(_pair("device", f"{status.device or '–'}{processes}"))
    lines += [_pair("job", reveal_control(job))] if job else []
    lines.append(_pair("times", _times(row)))
    kept = [path.name for path in row.run.checkpoints()]
    kept += ["final"] if row.run.final_path.is_dir() else []
    lines.append(_pair("kept", ", ".join(kept) or "no checkpoint yet"))
    lines.append(_pair("folder", str(row.run.path)))
    return lines


def _state(row: Row) -> list[Line]:
    words = row.state + (f": {row.status.message}" if row.status.message else "")
    role = "bad" if row.state in ("failed", "lost", "unknown") else "title"
    return [((f"{reveal_control(row.name)}  ", "key"), (reveal_control(words), role))]


def _error(row: Row) -> list[Line]:
    error = row.status.error
    if not isinstance(error, dict):
        return []
    lines = [plain(f"{part(error, 'title')}: {part(error, 'message')}", "bad")]
    if error.get("where"):
        lines.append(plain(f"  where: {part(error, 'where')}"))
    if error.get("hint"):
        lines.append(plain(f"  try:   {part(error, 'hint')}"))
    return lines


def part(error: dict[str, str], name: str) -> str:
    """One part of an error stored in a status, on one line."""
    return reveal_control(str(error.get(name, "")))


def progress_line(row: Row, symbols: str) -> Line:
    """What is being prepared and how far it is; a bar that moves only when the status does."""
    progress = row.status.progress or {}
    done, total = progress.get("done"), progress.get("total")
    what = reveal_control(str(progress.get("what", row.state)))
    if isinstance(done, int | float) and isinstance(total, int | float) and total > 0:
        share = done / total
        counts = f" {share:4.0%}  {short_number(done)} of {short_number(total)}"
        return ((f"{what:<9} ", "key"), (meter(share, BAR, symbols), "warn"), (counts, ""))
    count = f" {short_number(done)}" if isinstance(done, int | float) else ""
    return plain(f"{what}{count}", "key")


def _pair(name: str, value: str) -> Line:
    return ((f"{name:<10}", "key"), (reveal_control(value), ""))


def _speed(row: Row) -> str:
    speed = row.status.tokens_per_second
    return f", {short_number(speed)} tokens/s" if speed is not None else ""


def _times(row: Row) -> str:
    status = row.status
    words = f"made {clock(row.status.created)}"
    if status.started:
        words += f", ran {duration((status.ended or status.updated) - status.started)}"
    if row.active and status.eta_seconds is not None:
        words += f", {duration(status.eta_seconds)} to go"
    return words
