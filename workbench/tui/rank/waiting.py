"""What stands in place of the answers while there are none to be ranked, and what to do about it."""

from __future__ import annotations

from workbench.errors import WorkbenchError
from workbench.tui.rank.ranker import Ranker
from workbench.tui.text import reveal_control
from workbench.tui.widgets.text_lines import Line, plain

NO_SESSIONS = """\
Rank answers of models by keys: the best first, with one hand.

n      a new session: prompts, models, and how they sample
o      read a file: rankings, preference pairs, Argilla's or Arena's
       records, or answers that nobody ranked yet

Everything is kept in preferences.db, each key press as it is made.
t trains a reward model, or DPO, on what was ranked.

? shows every key."""


def no_sessions() -> list[Line]:
    """What there is to do where nothing is."""
    return [plain(line) for line in NO_SESSIONS.split("\n")]


def waiting_lines(ranker: Ranker, error: WorkbenchError | None) -> list[Line]:
    """Why there is nothing to rank in a session now, and whether that changes."""
    if error is not None:
        return [plain("The session cannot be read now. esc goes back, enter there tries again.", "warn")]
    standing = ranker.standing
    if standing is None:
        return [plain("reading …", "dim")]
    if not standing.coming:
        return _all_done(ranker)
    prompts = f"{standing.coming:,} prompt{'s' * (standing.coming != 1)}"
    if standing.generating:
        return [
            plain(f"The answers to {prompts} are being generated.", "title"),
            plain("They appear here by themselves; nothing needs to be pressed.", ""),
            (),
            plain(reveal_control(standing.generator), "dim"),
        ]
    return [
        plain(f"The answers to {prompts} are missing, and nothing generates them now.", "title"),
        plain(reveal_control(standing.generator), "warn"),
        (),
        (("g", "key"), ("  has them made; what came to nothing is tried again", "")),
        (("esc", "key"), ("  back to the sessions", "")),
    ]


def _all_done(ranker: Ranker) -> list[Line]:
    standing = ranker.standing
    assert standing is not None
    if not standing.progress.items:
        return [plain("There is nothing to rank in this session.", "title"), plain("esc goes back")]
    return [
        plain(f"All {standing.progress.items:,} are decided.", "title"),
        (),
        (("u", "key"), ("  undo the last          ", ""), ("[", "key"), ("  look at those before", "")),
        (("i", "key"), ("  agreement, bias, speed ", ""), ("v", "key"), ("  leaderboard of the models", "")),
        (("t", "key"), ("  train on it            ", ""), ("w", "key"), ("  export", "")),
        (("esc", "key"), ("  back to the sessions", "")),
    ]
