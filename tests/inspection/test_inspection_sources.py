"""Sources, records and searches, of sound files and of broken ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from workbench.errors import DataError, RecipeError, UsageError
from workbench.inspection.records import records, search
from workbench.inspection.sources import sources
from workbench.inspection.values import DEEPEST, LONGEST_LIST, LONGEST_TEXT, shown


def silent(what: str, done: int, total: int | None) -> None:
    """Progress that nobody hears."""


def write_lines(path: Path, values: list[Any]) -> str:
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return str(path)


def described(*names: str, **options: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sources({"sources": list(names)}, silent, **options)["sources"]
    return found


def test_a_source_tells_files_records_kind_and_columns(tmp_path: Path) -> None:
    name = write_lines(
        tmp_path / "a.jsonl", [{"text": f"text {n}", "label": ["bad", "good"][n % 2]} for n in range(7)]
    )
    (source,) = described(name)
    assert source["kind"] == "classification" and "label" in source["why"]
    assert (source["records"], source["complete"], source["num_files"]) == (7, True, 1)
    assert source["bytes"] == Path(name).stat().st_size == source["files"][0]["bytes"]
    assert source["columns"] == [
        {"name": "text", "types": {"string": 7}, "example": "text 0"},
        {"name": "label", "types": {"string": 7}, "example": "bad"},
    ]
    assert source["problems"] == [] and source["num_problems"] == 0


def test_records_that_lack_something_are_problems_with_their_lines(tmp_path: Path) -> None:
    values: list[Any] = [
        {"text": "a", "label": "x"},
        {"text": "b", "label": None},
        {"text": " ", "label": "y"},
    ]
    (source,) = described(write_lines(tmp_path / "a.jsonl", values))
    assert source["kind"] == "classification" and source["records"] == 3 and source["num_problems"] == 2
    assert [problem["where"].rpartition(":")[2] for problem in source["problems"]] == ["2", "3"]


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.jsonl", b'{"text":"ok"}\n{"text":"\xff"}\n', "2"),
        ("a.csv", b"text,label\na,1\nb\n", "3"),
        ("a.json", b'[{"text": "a"}, {"text": ', "1"),
    ],
)
def test_a_broken_file_is_one_problem_and_what_came_before_it_is_told(
    tmp_path: Path, name: str, content: bytes, line: str
) -> None:
    (tmp_path / name).write_bytes(content)
    (source,) = described(str(tmp_path / name))
    assert source["records"] == 1 and not source["complete"]
    assert source["num_problems"] == 1
    assert source["problems"][0]["where"].rpartition(":")[2] == line


def test_a_missing_source_leaves_the_others(tmp_path: Path) -> None:
    missing, there = described(str(tmp_path / "no.csv"), write_lines(tmp_path / "a.jsonl", [{"text": "x"}]))
    assert missing["kind"] is None and missing["records"] == 0
    assert "does not exist" in missing["problems"][0]["message"]
    assert there["kind"] == "text" and there["records"] == 1


def test_held_out_sources_come_behind_and_say_so(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"text": "x"}])
    found = sources({"sources": [path], "eval_sources": [path]}, silent)["sources"]
    assert [source["side"] for source in found] == ["train", "eval"]


def test_counting_ends_when_its_time_does(tmp_path: Path) -> None:
    (source,) = described(write_lines(tmp_path / "a.jsonl", [{"text": "x"}] * 50), seconds=0.0)
    assert source["records"] == 1 and not source["complete"] and source["problems"] == []


def test_a_section_that_is_none_is_a_recipe_error() -> None:
    with pytest.raises(RecipeError, match="sorces"):
        sources({"sorces": ["a.txt"]}, silent)


def test_pages_follow_each_other_and_may_go_back(tmp_path: Path) -> None:
    name = write_lines(tmp_path / "a.jsonl", [{"text": f"t{n}"} for n in range(25)])

    def page(start: int) -> list[str]:
        answer = records(name, silent, start=start, count=10)
        assert [record["index"] for record in answer["records"]] == list(
            range(start, start + len(answer["records"]))
        )
        assert answer["more"] == (len(answer["records"]) == 10)
        return [record["values"]["text"] for record in answer["records"]]

    assert page(0) == [f"t{n}" for n in range(10)]
    assert page(10) == [f"t{n}" for n in range(10, 20)]
    assert page(20) == [f"t{n}" for n in range(20, 25)]
    assert page(5) == [f"t{n}" for n in range(5, 15)]
    assert page(40) == []


def test_a_file_that_changed_is_read_anew(tmp_path: Path) -> None:
    name = write_lines(tmp_path / "a.jsonl", [{"text": "old"}] * 4)
    records(name, silent, count=2)
    write_lines(tmp_path / "a.jsonl", [{"text": "quite new"}] * 4)
    assert records(name, silent, start=2, count=1)["records"][0]["values"]["text"] == "quite new"


def test_an_error_on_a_page_is_raised_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\n" + "a\n" * 3 + "b,c\n")
    with pytest.raises(DataError) as caught:
        records(str(tmp_path / "a.csv"), silent, start=1)
    assert caught.value.where.endswith(":5")


def test_long_values_are_cut_and_their_length_told(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "x" * 5000}]
    name = write_lines(tmp_path / "a.jsonl", [{"messages": turns}])
    (record,) = records(name, silent)["records"]
    assert len(record["values"]["messages"][0]["content"]) == LONGEST_TEXT
    assert record["cut"] == {"messages.0.content": 5000}


def test_values_that_json_cannot_hold_are_told_in_words() -> None:
    value, cut = shown({"a": float("nan"), "b": b"12", "c": 1 << 60, "d": "\ud800", "e": [0] * 900})
    assert value == {"a": "nan", "b": "2 bytes", "c": str(1 << 60), "d": "?", "e": [0] * LONGEST_LIST}
    assert cut == {"e": 900}
    deep: Any = "bottom"
    for _ in range(DEEPEST + 5):
        deep = [deep]
    assert "bottom" not in json.dumps(shown(deep)[0])


def test_search_finds_any_column_in_any_case_and_goes_on(tmp_path: Path) -> None:
    values: list[Any] = [{"text": "nothing"}] * 10
    values[3], values[7] = {"text": "a", "more": {"deep": ["The Needle"]}}, {"text": "needless"}
    name = write_lines(tmp_path / "a.jsonl", values)
    first = search(name, "NEEDLE", silent)
    assert (first["index"], first["next"], first["searched"]) == (3, 4, 4)
    second = search(name, "NEEDLE", silent, start=first["next"])
    assert (second["index"], second["next"], second["searched"]) == (7, 8, 4)
    last = search(name, "NEEDLE", silent, start=second["next"])
    assert (last["index"], last["next"], last["searched"], last["records"]) == (None, None, 2, [])
    assert [r["index"] for r in search(name, "need", silent, count=5)["records"]] == [3, 7]
    with pytest.raises(UsageError):
        search(name, "", silent)
