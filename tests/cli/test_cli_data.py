"""`workbench data …` and `workbench model show`: sources, tokens, rows, checkpoints, and what is misused."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_run import mapping, text_of

from workbench.cli import main, render
from workbench.cli.data.row_text import MARKS, Writer
from workbench.cli.data.show import sources_of
from workbench.cli.data.tokenize import tokenizer_of
from workbench.cli.model_show import checkpoint_of
from workbench.cli.model_show import text_of as model_text
from workbench.errors import UsageError
from workbench.recipe import yaml_file
from workbench.store.inspector import Inspector

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    """A tiny recipe for masked language modelling, as a file."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number in range(40):
        (corpus / f"{number:02}.txt").write_text(text_of(number, 60) + "\x1b[31m")
    content = mapping(corpus, objective__name="mlm", model__family="bert", objective__mlm_probability=0.3)
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml_file.write(content))
    return str(path)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inspector]:
    """One child for all tests that need torch: it takes seconds to import."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_HOME", str(tmp_path_factory.mktemp("home")))
        with Inspector() as inspector:
            inspector.request("records", source="stdlib:", count=1)
            yield inspector


@pytest.fixture
def lent(client: Inspector, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands use that child, and leave it open."""
    monkeypatch.setattr("workbench.store.inspector.Inspector", lambda: contextlib.nullcontext(client))


@pytest.fixture
def labelled(tmp_path: Path) -> str:
    path = tmp_path / "labelled.csv"
    path.write_text("review,stars\n" + "".join(f"quite \x1b[31m good {n},{n % 5}\n" for n in range(20)))
    return str(path)


def test_show_tells_kind_columns_and_records(labelled: str, capsys: Capture) -> None:
    words = [labelled, "columns={text: review, label: stars}"]
    assert main(["data", "show", *words, "--records", "2"]) == 0
    out = capsys.readouterr().out
    assert "classification: it has the columns text and label" in out and "20" in out
    assert r"quite \x1b[31m good 1" in out and "good 2" not in out and "\x1b" not in out
    assert main(["data", "show", *words, "--search", "GOOD 17", "--records", "5", "--json"]) == 0
    (source,) = json.loads(capsys.readouterr().out)["sources"]
    assert [record["index"] for record in source["first"]] == [17]
    assert source["first"][0]["values"]["label"] == "2"


def test_settings_go_for_all_sources() -> None:
    specs = sources_of(["a.jsonl", "text_column=body", "b=c.jsonl", "limit=5"])
    assert specs == [
        {"path": "a.jsonl", "text_column": "body", "limit": 5},
        {"path": "b=c.jsonl", "text_column": "body", "limit": 5},
    ]
    with pytest.raises(UsageError, match="no source"):
        sources_of(["limit=5"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text":"ok"}\n{"text":"\xff"}\n', "not UTF-8"),
        ("a.csv", b"text,label\na,1\nb\n", "1 fields, the header has 2"),
        ("a.json", b'[{"text": "a"}, {"text": ', "not valid JSON"),
        ("a.txt", b"", "empty"),
    ],
)
def test_show_of_a_broken_file_is_one_error(
    tmp_path: Path, capsys: Capture, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert main(["data", "show", str(tmp_path / name)]) == 1
    err = capsys.readouterr().err
    assert err.startswith("Data: ") and message in err and err.count("Data: ") == 1 and "Traceback" not in err


def test_show_of_nothing_is_an_error_with_what_is_near(
    tmp_path: Path, labelled: str, capsys: Capture
) -> None:
    assert main(["data", "show", str(tmp_path / "labeled.csv")]) == 1
    captured = capsys.readouterr()
    assert "labelled.csv" in captured.err and captured.out == ""


def test_inspect_shows_truth_under_masks_and_totals(lent: None, recipe: str, capsys: Capture) -> None:
    assert main(["data", "inspect", recipe, "--rows", "2", "--attends", "3"]) == 0
    out = capsys.readouterr().out
    assert "row 0 of" in out and "row 1 of" in out and "legend" in out and "length in tokens" in out
    assert "token 3 of input" in out and "\x1b" not in out
    lines = out.splitlines()
    above = next(number for number, line in enumerate(lines) if "[[MASK]]" in line)
    place = lines[above].index("[[MASK]]")
    assert lines[above + 1][place + 1 : place + 8].strip(), "what the mask hides stands below it"


def test_inspect_as_json_is_the_batch(lent: None, recipe: str, capsys: Capture) -> None:
    assert main(["data", "inspect", recipe, "objective.mlm_probability=0.9", "--json", "--side", "eval"]) == 0
    result = json.loads(capsys.readouterr().out)
    states = result["states"]
    chosen = sum(states.get(state, 0) for state in ("masked", "random", "kept"))
    assert result["side"] == "eval" and chosen > 0.7 * (chosen + states.get("context", 0))


def test_inspect_of_what_is_not_there_is_misuse(lent: None, recipe: str, capsys: Capture) -> None:
    assert main(["data", "inspect", recipe, "--attends", "5000"]) == 2
    assert main(["data", "inspect", recipe, "--start", "100000"]) == 2
    assert main(["data", "inspect", recipe, "--rows", "0"]) == 2
    assert main(["data", "inspect", recipe, "objective.nme=clm"]) == 2
    assert main(["data", "inspect", recipe, "data.sources=[nowhere.txt]"]) == 1
    assert "Traceback" not in capsys.readouterr().err


def batch_of(*tokens: tuple[str, str, int]) -> dict[str, Any]:
    """An answer with one row of (text, state, document)."""
    views = [
        {
            "id": place,
            "text": text,
            "state": state,
            "position": place,
            "document": document,
            "target": None,
            "target_text": None,
            "original": 1 if state in ("masked", "random") else None,
            "original_text": " truth" if state in ("masked", "random") else None,
            "note": "",
        }
        for place, (text, state, document) in enumerate(tokens)
    ]
    stream = {"name": "input", "tokens": views, "attends": [[[0, 0], [2, 2]]] * len(views), "cross": None}
    states: dict[str, int] = {}
    for _, state, _ in tokens:
        states[state] = states.get(state, 0) + 1
    return {
        "objective": "mlm",
        "side": "train",
        "rows_per_epoch": 1,
        "rows": [{"index": 0, "label": "", "notes": [], "streams": [stream]}],
        "states": states,
    }


def test_states_differ_in_marks_and_in_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    states = [state for state in MARKS if state != "padding"]
    result = batch_of(
        *((f"t{number}", state, 0) for number, state in enumerate(states)), ("p", "padding", -1)
    )
    writer = Writer(result)
    plain = writer.row(result["rows"][0], None)
    assert len({writer.marks(state) for state in states}) == len(states), "no colour is needed"
    assert "\x1b" not in plain and "1 of padding" in plain
    monkeypatch.setattr(render, "is_terminal", lambda stream: True)
    coloured = writer.row(result["rows"][0], None)
    assert set(re.findall(r"\x1b\[(\d+)m", coloured)) <= {"0", "1", "2", "31", "32", "33", "36"}
    assert re.sub(r"\x1b\[\d+m", "", coloured) == plain
    monkeypatch.setenv("NO_COLOR", "1")
    assert writer.row(result["rows"][0], None) == plain


def test_rows_are_wrapped_and_literal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    words = [(f" word{number}", "context", number // 10) for number in range(20)]
    result = batch_of(*words, ("\x1b]0;\n", "masked", 1), (" 中", "random", 1))
    text = Writer(result).row(result["rows"][0], 2)
    assert all(render.cells(line) <= 40 for line in text.splitlines() if line[:6].strip().isdigit())
    assert "-- document 0 --" in text and "-- document 1 --" in text
    assert r"[\x1b]0;\n]" in text and "\x1b" not in text
    assert text.count("truth") == 2
    assert "sees" in text.splitlines()[-3] and text.splitlines()[-1].split()[0] == "2"


def test_tokenize_takes_text_files_and_pipes(
    recipe: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text.txt").write_text("the cat \x1b[31m")
    assert main(["data", "tokenize", recipe, "--file", str(tmp_path / "text.txt")]) == 0
    out = capsys.readouterr().out
    assert "[CLS]" in out and r"\x1b" in out and "\x1b" not in out and "bytes per token" in out
    assert main(["data", "tokenize", recipe, "the cat", "--json"]) == 0
    typed = json.loads(capsys.readouterr().out)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"the cat")))
    assert main(["data", "tokenize", recipe, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == typed
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff")))
    assert main(["data", "tokenize", recipe]) == 1
    assert main(["data", "tokenize", recipe, "a", "--file", "b"]) == 2
    assert main(["data", "tokenize", recipe, "--file", str(tmp_path / "no.txt")]) == 1
    assert main(["data", "tokenize", str(tmp_path / "no.yaml"), "a"]) == 2


def test_a_name_is_a_folder_then_a_preset_then_a_run_then_a_model(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").touch()
    assert tokenizer_of(str(tmp_path)) == {"tokenizer": str(tmp_path)}
    assert tokenizer_of("nano")["recipe"]["model"]["hidden_size"] == 128
    assert tokenizer_of("somebody/model") == {"tokenizer": "somebody/model"}
    assert tokenizer_of("gpt2") == {"tokenizer": "gpt2"}
    assert checkpoint_of(str(tmp_path)) == str(tmp_path)
    assert checkpoint_of("gpt2") == "gpt2" and checkpoint_of("x.gguf") == "x.gguf"


def test_tokenizer_saves_a_folder_that_a_recipe_takes(
    lent: None, recipe: str, tmp_path: Path, capsys: Capture
) -> None:
    output = tmp_path / "mine"
    arguments = ["data", "tokenizer", recipe, "--vocab-size", "300", "--output", str(output)]
    assert main([*arguments, "--kind", "wordpiece"]) == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == str(output)
    assert "new (wordpiece)" in captured.err and "the recipe's own" in captured.err
    assert "held-out text" in captured.err
    assert main(["data", "tokenize", str(output), "the cat", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [token["text"] for token in found["tokens"]] == ["[CLS]", " the", " cat", "[SEP]"]
    assert main(arguments) == 1, "there is one already"
    assert main([*arguments[:4], "20", "--output", str(tmp_path / "small")]) == 2


def test_model_show_tells_layers_and_problems(lent: None, tmp_path: Path, capsys: Capture) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    tensors: dict[str, Any] = {f"model.layers.{n}.w": np.zeros((4, 3), np.float32) for n in range(12)}
    save_file({**tensors, "model.norm.weight": np.zeros(3, np.float16)}, tmp_path / "model.safetensors")
    config = {"architectures": ["Llama\x1b[31mForCausalLM"], "hidden_size": 3}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert main(["model", "show", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert r"Llama\x1b[31mForCausalLM" in out and "\x1b" not in out
    assert "model.layers.0 … 11  (12 layers)" in out and "12 × 12" in out
    assert "147 (144 F32, 3 F16)" in out and "no tokenizer beside the model" in out
    assert main(["model", "show", str(tmp_path), "--tensors"]) == 0
    out = capsys.readouterr().out
    assert len(re.findall(r"model\.layers\.\d+\.w +4 × 3 +F32", out)) == 12
    assert main(["model", "show", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"] == 147
    assert main(["model", "show", str(tmp_path / "nowhere")]) == 1
    assert "no such folder" in capsys.readouterr().err


def test_a_chat_template_is_shown_as_it_stands() -> None:
    result: dict[str, Any] = {
        **{"name": "m", "architecture": "", "format": "safetensors", "folder": "/m", "base_model": None},
        **{"parameters": 0, "bytes": 0, "dtypes": {}, "config": {}, "groups": [], "tokenizer": None},
        **{"files": [], "problems": []},
        "chat": {"template": "{{ a }}\n\x1b[2J", "messages": [], "rendered": "<user>\nhello"},
    }
    text = model_text(result)
    assert "  {{ a }}\n  \\x1b[2J" in text and "  <user>\n  hello" in text


@pytest.mark.parametrize("words", [["data"], ["model"], ["data", "shw", "a"], ["data", "tokenizer", "nano"]])
def test_half_a_command_is_misuse(words: list[str], capsys: Capture) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err.startswith("Usage: ")
