"""Where an annotator stands: what is done, what is left, how fast it goes, what is still being generated."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.errors import WorkbenchError
from workbench.store.preferences.annotator import Annotator, Progress
from workbench.store.preferences.order import is_repeated
from workbench.store.preferences.sessions import counts, wanted_answers
from workbench.units import duration


@dataclass(frozen=True)
class Standing:
    """`decided` and `left` count hidden repetitions too: else one could tell them from others by a number
    that does not move. `coming` prompts have no answers to be ranked yet, and `generator` says why."""

    progress: Progress
    decided: int
    left: int
    coming: int = 0
    generator: str = ""
    generating: bool = False

    def words(self, session: str, annotator: str) -> str:
        """It in a line."""
        progress = self.progress
        parts = [session, annotator, f"{self.decided:,} done", f"{self.left:,} left"]
        if self.coming:
            parts.append(f"{self.coming:,} to come")
        if progress.seconds is not None and progress.per_hour is not None:
            each = f"{progress.seconds:.1f}s" if progress.seconds < 10 else duration(progress.seconds)
            parts += [f"{each} each", f"{progress.per_hour:,.0f}/h"]
            if self.left:
                parts.append(f"{duration(3600 * self.left / progress.per_hour)} to go")
        parts += [f"{progress.skipped:,} skipped"] if progress.skipped else []
        parts += [f"{progress.flagged:,} flagged"] if progress.flagged else []
        return " · ".join(parts)


def standing_of(annotator: Annotator, *, generate: bool = False, again: bool = False) -> Standing:
    """Where an annotator stands now. With `generate` answers that are missing are had made, with `again`
    those too that failed. Raises `StorageError`."""
    progress = annotator.progress()
    session, name = annotator.session, annotator.name
    # Positions are counted from 0 without gaps.
    repeats = sum(
        is_repeated(position, session.seed, name, session.settings.repeated)
        for position in range(progress.items)
    )
    left = progress.left + max(0, repeats - progress.repeated)
    coming, words, active = _coming(annotator, generate or again, again)
    return Standing(progress, progress.done + progress.repeated, left, coming, words, active)


def _coming(annotator: Annotator, generate: bool, again: bool) -> tuple[int, str, bool]:
    session = annotator.session
    if not session.settings.models:
        return 0, "", False
    if not wanted_answers(annotator.database, session, 1):
        return 0, "", False
    from workbench.prompting.ranking.control import ensure_generating, generation_status

    there = counts(annotator.database, session)
    try:
        status = ensure_generating(session, again=again) if generate else generation_status(session)
    except WorkbenchError as error:
        return there.prompts - there.items, error.message, False
    words = status.message if status.error is None else str(status.error.get("message") or status.message)
    return (
        there.prompts - there.items,
        f"{status.state}: {words}" if words else status.state,
        status.is_active,
    )
