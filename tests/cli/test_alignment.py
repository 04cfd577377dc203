"""The small path from text to preferences: its examples, its judge, and what is told at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.cli.alignment import folder as folders
from workbench.cli.alignment.command import page
from workbench.cli.alignment.folder import Folder
from workbench.cli.alignment.functions import Function, documented_functions, first_sentence
from workbench.cli.alignment.judge import Judge, words
from workbench.cli.alignment.ranking import fared, judge_all
from workbench.store.preferences.contents import Answer, Prompt
from workbench.store.preferences.database import Database
from workbench.store.preferences.sessions import add_item, create_session

JUDGE = Judge(frozenset(["return", "the", "low", "median", "of", "some", "data"]))
SIGNATURE = "def median_low(data):"


@pytest.fixture(scope="module")
def functions() -> list[Function]:
    return documented_functions()


def test_every_python_has_functions_that_are_described(functions: list[Function]) -> None:
    assert len(functions) > 2000
    assert len({one.signature for one in functions}) == len(functions)
    median = next(one for one in functions if one.signature == SIGNATURE)
    assert median.sentence == "Return the low median of numeric data."
    assert median.prompt == 'def median_low(data):\n    """'


@pytest.mark.parametrize(
    ("docstring", "sentence"),
    [
        ("Return the sum. Then more.\n\nAnd details.", "Return the sum."),
        ("Return the\n    sum of all.", "Return the sum of all."),
        ("Return the sum without a stop", ""),
        ("return the sum of all.", ""),
        ("", ""),
        ("Sum.", ""),
        ("Über alles in der Welt.", ""),
    ],
)
def test_first_sentences(docstring: str, sentence: str) -> None:
    assert first_sentence(docstring) == sentence


def test_the_words_of_names() -> None:
    assert words("read_windowsRegistry(HTTPServer)") == ["read", "windows", "registry", "http", "server"]


def test_the_judge_gives_a_point_for_each_virtue() -> None:
    best = JUDGE.quality(SIGNATURE, "Return the low median of some data.")
    assert best == 5.0
    assert JUDGE.quality(SIGNATURE, "Return the low median of some data") == 4.0  # no end
    assert JUDGE.quality(SIGNATURE, "Median data.") == 4.0  # curt
    assert JUDGE.quality(SIGNATURE, "Return the low median of some gribble.") == pytest.approx(
        4 + (6 / 7) ** 2
    )
    assert JUDGE.quality(SIGNATURE, "Return the the the low data.") == pytest.approx(4 + (4 / 6) ** 2)
    assert JUDGE.quality(SIGNATURE, "") == 0.0
    assert JUDGE.ranks(SIGNATURE, ["", "Return the low data.", "", "Return the low data"]) == [3, 1, 3, 2]


def test_the_files_are_the_same_whenever_they_are_written(
    functions: list[Function], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    monkeypatch.setattr(folders, "documented_functions", lambda: list(functions))
    first, second = Folder("align-1"), Folder("align-2")
    assert first.write() == second.write() == len(functions) - folders.HELD_OUT
    for name in ("examples", "asked", "prompts", "held_out"):
        assert getattr(first, name).read_bytes() == getattr(second, name).read_bytes()
    held_out = set(first.held_out.read_text().splitlines())
    assert len(held_out) == folders.HELD_OUT
    assert held_out.isdisjoint(first.prompts.read_text().splitlines())
    assert set(first.asked.read_text().splitlines()) <= set(first.prompts.read_text().splitlines())


def test_models_are_compared_prompt_by_prompt(tmp_path: Path) -> None:
    with Database(tmp_path / "preferences.db") as database:
        session = create_session(database, "result", seed=1)
        for new, old in (
            ("Return the low median of some data.", "Return the low gribble of data."),
            ("Return the low data.", "Return the low data."),
            ("", "Return the low data."),
        ):
            prompt = Prompt(f'{SIGNATURE}\n    """ {len(new)}')
            add_item(database, session, prompt, [Answer(new, "new"), Answer(old, "old")])
        assert judge_all(database, session, JUDGE) == 3
        assert judge_all(database, session, JUDGE) == 0
        rows = {row["model"]: row for row in fared(database, session, JUDGE, "old")}
    assert (rows["new"]["wins"], rows["new"]["ties"], rows["new"]["losses"]) == (1, 1, 1)
    assert rows["new"]["share"] == 0.5
    assert rows["old"]["share"] is None
    told = page(
        {
            "name": "align-1",
            "models": list(rows.values()),
            "session": "align-1-result",
            "seconds": {"sft": 90.0},
        }
    )
    assert "50%" in told and "workbench rank leaderboard align-1-result" in told
