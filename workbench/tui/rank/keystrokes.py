"""A ranking as it is typed: the keys pressed so far, and what they amount to.

The keys are all there is, so that undoing one is forgetting it, and a short text keeps them across a kill.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from workbench.store.preferences.log import Action

Kind = Literal["rank", "best-only", "tie", "all-bad"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Draft:
    """A decision not yet made: `groups` are the answers as shown, from 0, the best first, those tied
    together; `tying` says that the next is tied with the last."""

    count: int
    groups: tuple[tuple[int, ...], ...] = ()
    kind: Kind = "rank"
    tying: bool = False

    @property
    def placed(self) -> tuple[int, ...]:
        """The answers that have a place."""
        return tuple(number for group in self.groups for number in group)

    @property
    def missing(self) -> tuple[int, ...]:
        """The answers without one."""
        return tuple(number for number in range(self.count) if number not in self.placed)

    @property
    def complete(self) -> bool:
        """Whether it can be committed: of a ranking, one answer at most is left, which comes last."""
        return self.kind != "rank" or len(self.missing) <= 1

    @property
    def ranks(self) -> tuple[int | None, ...]:
        """The rank of each answer, 1 the best, None while it has none."""
        if self.kind in ("tie", "all-bad"):
            return (1,) * self.count
        found: list[int | None] = [None] * self.count
        for rank, group in enumerate(self._whole, 1):
            for number in group:
                found[number] = rank
        return tuple(found)

    @property
    def _whole(self) -> tuple[tuple[int, ...], ...]:
        """The groups with what follows from them."""
        rest = self.missing
        follows = rest and (self.kind == "best-only" or len(rest) == 1)
        return (*self.groups, rest) if follows else self.groups

    def press(self, key: str) -> Draft:
        """What it is after a key; itself where the key does nothing."""
        if key.isdecimal():
            return self._put(int(key) - 1)
        match key:
            case "=":
                if not self.groups:
                    return Draft(self.count, kind="rank" if self.kind == "tie" else "tie")
                return replace(self, tying=not self.tying) if self.kind == "rank" else self
            case "b":
                alone = bool(self.groups) and len(self.groups[0]) == 1
                return Draft(self.count, self.groups[:1], "best-only") if alone else self
            case "x":
                return Draft(self.count, kind="rank" if self.kind == "all-bad" else "all-bad")
        raise AssertionError(f"no key of a ranking: {key}")

    def _put(self, number: int) -> Draft:
        """The answer at the next rank, or with the last; taken from where it was."""
        if not 0 <= number < self.count:
            return self
        others = (tuple(other for other in group if other != number) for group in self.groups)
        groups = tuple(group for group in others if group)
        if self.tying and groups:
            return Draft(self.count, (*groups[:-1], (*groups[-1], number)))
        return Draft(self.count, (*groups, (number,)))

    def as_value(self) -> dict[str, Any]:
        """It as a plain value, for a file."""
        return {"groups": [list(group) for group in self.groups], "kind": self.kind}

    def words(self) -> str:
        """The order in a line: `2 > 1 = 3 > 4`."""
        if self.kind == "tie":
            return "all are tied"
        if self.kind == "all-bad":
            return "all are bad"
        if self.kind == "best-only":
            return f"{self.groups[0][0] + 1} is best, the others are tied"
        groups = self.groups if self.tying else self._whole
        order = " > ".join(" = ".join(str(number + 1) for number in group) for group in groups)
        if self.tying:
            return f"{order} = …"
        return f"{order} > …" if order and len(self.missing) > 1 else order


def of_decision(action: Action | None, shown: Sequence[int]) -> Draft:
    """The draft that makes the same decision on answers as `shown`; an empty one of none, or of a skip."""
    count = len(shown)
    if action is None or not action.ranks:
        return Draft(count)
    if action.kind in ("tie", "all-bad"):
        return Draft(count, kind="tie" if action.kind == "tie" else "all-bad")
    # One that came from a file may not say how they stood, and stands in the file's order.
    rank_of = dict(zip(action.shown, action.ranks, strict=True))
    groups = tuple(
        tuple(number for number, answer in enumerate(shown) if rank_of[answer] == place)
        for place in sorted(set(action.ranks))
    )
    return Draft(count, groups[:1], "best-only") if action.kind == "best-only" else Draft(count, groups)


def from_value(value: object, count: int) -> Draft:
    """What `as_value` made of a draft; an empty one for anything else."""
    try:
        groups = tuple(tuple(map(int, group)) for group in value["groups"])  # type: ignore[index]
        draft = Draft(count, groups, value["kind"])  # type: ignore[index]
        sound = set(draft.placed) <= set(range(count)) and len(set(draft.placed)) == len(draft.placed)
    except (TypeError, KeyError, ValueError):
        return Draft(count)
    single = draft.kind != "best-only" or [len(group) for group in groups] == [1]
    return draft if sound and single and draft.kind in KINDS else Draft(count)


def replay(base: Draft, keys: Sequence[str]) -> Draft:
    """What a draft is after keys."""
    for key in keys:
        base = base.press(key)
    return base
