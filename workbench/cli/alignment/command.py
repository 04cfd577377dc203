"""`workbench quickstart --align`: the path from text to preferences, small, by itself, to its end."""

from __future__ import annotations

import json
import re
from typing import Any

from workbench import paths
from workbench.cli import render
from workbench.cli.alignment.path import STEM, AlignmentPath
from workbench.store.files import replace_file


def align(*, as_json: bool) -> int:
    """Walk the path, or the rest of the last one that was cut off, and print what came out."""
    path = AlignmentPath(_name())
    render.talk(f"{path.name} in {path.folder.path}; workbench, in another terminal, shows its runs live")
    try:
        facts = path.run()
    except KeyboardInterrupt:
        render.talk("workbench quickstart --align goes on from here")
        raise
    replace_file(path.folder.result, json.dumps(facts, indent=1).encode())
    print(render.as_json(facts) if as_json else page(facts))
    return 0


def page(facts: dict[str, Any]) -> str:
    """The result for a person: how each model fared, and what to do next."""
    name = facts["name"]
    rows = [[row["model"], f"{row['quality']:.2f}", *_against(row)] for row in facts["models"]]
    headers = ["model", "points", "wins", "ties", "losses", "win rate"]
    table = render.table(headers, rows, right=(1, 2, 3, 4, 5))
    total = sum(facts["seconds"].values())
    session, prompts = facts["session"], max(row["prompts"] for row in facts["models"])
    return (
        f"\nOne answer of each model for {prompts:,} functions that none has seen, judged by the rule.\n"
        f"Points are of 5; wins, ties and losses against {name}-sft, with which PPO and\n"
        f"DPO began. In the win rate a tie is half a win.\n\n{table}\n\n"
        f"{total / 60:.1f} minutes this time. The runs {name}-* are in the Train tab. To rank the three\n"
        f"models yourself, or see how they were ranked:\n"
        f"  workbench, Rank tab, {session}\n  workbench rank leaderboard {session}"
    )


def _against(row: dict[str, Any]) -> list[str]:
    if row["share"] is None:
        return [""] * 4
    return [*(f"{row[key]}" for key in ("wins", "ties", "losses")), f"{row['share']:.0%}"]


def _name() -> str:
    """The last path where that was cut off, else a new one."""
    root = paths.home() / "alignment"
    folders = root.iterdir() if root.is_dir() else ()
    numbers = [int(found[1]) for one in folders if (found := re.fullmatch(rf"{STEM}-(\d+)", one.name))]
    last = max(numbers, default=0)
    if last and not AlignmentPath(f"{STEM}-{last}").folder.result.exists():
        return f"{STEM}-{last}"
    return f"{STEM}-{last + 1}"
