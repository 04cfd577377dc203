"""The keys of rankings that are not committed, in a small file: a kill loses none that the screen shows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workbench import paths
from workbench.store.files import replace_file
from workbench.store.preferences.sessions import Session

KEYS = frozenset("123456789=bx")
MOST = 20
"""Items with keys that are kept; whoever leaves more behind has forgotten the first."""


@dataclass(frozen=True)
class Typed:
    """What was typed for an item on an occasion, of answers as they were `shown`, left to right, behind
    `base`, a draft as a plain value.

    `decision` is the number of the decision that stood then, 0 for none: where another stands now, the keys
    are of the past. `seconds` is how long the item had been looked at.
    """

    item: int
    occasion: int
    shown: Sequence[int] = ()
    decision: int = 0
    base: dict[str, Any] | None = None
    keys: str = ""
    seconds: float = 0.0

    @property
    def turn(self) -> tuple[int, int]:
        """What it is about."""
        return self.item, self.occasion


def typed_path(session: Session, annotator: str) -> Path:
    """Where they are kept, beside what else belongs to a session."""
    name = hashlib.sha256(annotator.encode()).hexdigest()[:16]
    return paths.home() / "ranking" / session.name / f"typed-{name}.json"


def keep_typed(session: Session, annotator: str, typed: Sequence[Typed]) -> None:
    """Keep this and nothing else; the last is what is on screen. Raises `StorageError`.

    Not synced: it is there for a process that is killed, not for a machine that loses power.
    """
    path = typed_path(session, annotator)
    paths.ensure_dir(path.parent)
    value = {
        "session": [session.id, session.created],
        "annotator": annotator,
        "typed": [asdict(one) for one in typed[-MOST:]],
    }
    replace_file(path, json.dumps(value).encode())


def kept_typed(session: Session, annotator: str) -> list[Typed]:
    """What was kept; nothing where it cannot be read, or is of an earlier session of the same name."""
    try:
        value = json.loads(typed_path(session, annotator).read_bytes())
        if value["session"] != [session.id, session.created] or value["annotator"] != annotator:
            return []
        return [typed for typed in (Typed(**one) for one in value["typed"]) if _sound(typed)]
    except (OSError, ValueError, TypeError, KeyError):
        return []


def _sound(typed: Typed) -> bool:
    numbers = (typed.item, typed.occasion, typed.decision)
    return (
        all(type(number) is int for number in numbers)
        and isinstance(typed.shown, list)
        and isinstance(typed.keys, str)
        and KEYS.issuperset(typed.keys)
        and isinstance(typed.seconds, int | float)
    )
