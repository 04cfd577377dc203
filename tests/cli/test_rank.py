"""`workbench rank …`: what comes in goes out again, and is reckoned with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from workbench.cli import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def votes(tmp_path: Path, home: Path) -> Path:
    """Two annotators on thirty prompts: the first model is better in most of them."""
    path = tmp_path / "votes.jsonl"
    records = [
        {
            "prompt": f"question {number}",
            "completions": [f"strong {number}", f"weak {number}"],
            "models": ["strong", "weak"],
            "ranks": [2, 1] if (number + 3 * (who == "bob")) % 7 == 0 else [1, 2],
            "annotator": who,
        }
        for number in range(30)
        for who in ("ann", "bob")
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_the_same_file_twice_adds_nothing(votes: Path, capsys: Capture) -> None:
    assert main(["rank", "import", str(votes)]) == 0
    assert "60 records: 60 decisions and 30 sets of answers added to votes" in capsys.readouterr().out
    assert main(["rank", "import", str(votes), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["decisions"] == 0
    assert main(["rank", "list", "--json"]) == 0
    (session,) = json.loads(capsys.readouterr().out)
    assert session["name"] == "votes" and session["decisions"] == {"ann": 30, "bob": 30}


def test_the_better_model_leads_and_annotators_are_compared(votes: Path, capsys: Capture) -> None:
    main(["rank", "import", str(votes)])
    capsys.readouterr()
    assert main(["rank", "leaderboard", "votes", "--json"]) == 0
    board = json.loads(capsys.readouterr().out)
    assert [one["model"] for one in board["standings"]] == ["strong", "weak"]
    assert (board["standings"][0]["wins"], board["standings"][0]["losses"]) == (51, 9)
    assert main(["rank", "leaderboard", "votes", "--method", "plackett-luce"]) == 0
    assert "won 51, lost 9, tied 0" in capsys.readouterr().out
    assert main(["rank", "stats", "votes", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["agreement"]["annotators"] == 2 and told["agreement"]["items"] == 30
    assert told["position"] == [], "the file does not say how the answers stood"
    assert main(["rank", "stats", "votes"]) == 0
    assert "Krippendorff's α of ranks" in capsys.readouterr().out


def test_rankings_come_back_and_pairs_are_for_trl(votes: Path, tmp_path: Path, capsys: Capture) -> None:
    main(["rank", "import", str(votes)])
    capsys.readouterr()
    main(["rank", "export", "votes"])
    first = capsys.readouterr().out
    (tmp_path / "back.jsonl").write_text(first)
    main(["rank", "import", str(tmp_path / "back.jsonl"), "--session", "again"])
    capsys.readouterr()
    main(["rank", "export", "again"])
    again = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    wanted = [json.loads(line) for line in first.splitlines()]
    assert [{**one, "session": None} for one in again] == [{**one, "session": None} for one in wanted]

    out = tmp_path / "pairs.jsonl"
    assert main(["rank", "export", "votes", "--format", "pairs", "--margins", "--output", str(out)]) == 0
    pairs = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(pairs) == 60 and sum(pair["chosen"].startswith("strong") for pair in pairs) == 51
    assert all(pair["margin"] == 1 for pair in pairs)


def test_half_a_character_is_exported_as_an_escape(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_text('{"prompt": "p", "completions": ["half \\ud83d", "ü"], "ranks": [1, 2]}\n')
    main(["rank", "import", str(path)])
    capsys.readouterr()
    assert main(["rank", "export", "odd", "--format", "pairs"]) == 0
    assert json.loads(capsys.readouterr().out)["chosen"] == "half \ud83d"


def test_what_goes_wrong_is_one_line(votes: Path, tmp_path: Path, capsys: Capture) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text(votes.read_text() + '{"prompt": "x", "completions": ["one"], "ranks": [1]}\n')
    assert main(["rank", "import", str(bad)]) == 1
    assert "bad.jsonl:61" in capsys.readouterr().err
    assert main(["rank", "stats", "nothing"]) == 2
    assert "no session called" in capsys.readouterr().err
    assert main(["rank", "list"]) == 0
    main(["rank", "import", str(votes)])
    capsys.readouterr()
    assert main(["rank", "export", "votes", "--output", str(tmp_path / "no" / "file")]) == 1
    assert "Traceback" not in capsys.readouterr().err
