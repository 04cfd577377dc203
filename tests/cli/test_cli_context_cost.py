"""`workbench context cost`: its page, its file, its errors, and a small decoder measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from estimate_cases import model_of, recipe_of
from long_results import cost_of
from transformers import PreTrainedTokenizerFast

from workbench.cli import main
from workbench.cli.context_cost import lengths_of, page
from workbench.errors import ModelError, UsageError
from workbench.prediction.context_cost import context_cost
from workbench.recipe import load
from workbench.store import context_costs
from workbench.store.runs import create_run


class Heard:
    """Takes the events of a measurement."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def send(self, event: str, **content: Any) -> None:
        self.events.append((event, content))

    def progress(self, what: str, done: int, total: int | None = None) -> None:
        pass


def saved(folder: Path, **kind: Any) -> Path:
    """A decoder of 64 positions with a tokenizer of a few words."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    shape = {
        "hidden_size": 32,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "max_position_embeddings": 64,
    }
    torch.manual_seed(0)
    model_of(recipe_of("llama", "clm", **shape, **kind), device="cpu").save_pretrained(folder)
    words = Tokenizer(WordLevel({"a": 0, "b": 1}, "a"))
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="a").save_pretrained(folder)
    return folder


def request(model: Path, **more: Any) -> dict[str, Any]:
    return {
        "model": str(model),
        "lengths": [128, 32],
        "kv_dtype": "auto",
        "dtype": "float32",
        "device": "cpu",
        "full": True,
        "train": False,
        **more,
    }


def test_a_window_keeps_as_much_of_long_texts_as_of_short_and_full_attention_more(tmp_path: Path) -> None:
    model = saved(tmp_path / "window", attention="sliding_window", sliding_window=8)
    heard = Heard()
    context_cost(request(model, train=True), heard)  # type: ignore[arg-type]
    event, content = heard.events[-1]
    assert event == "result" and content["trained_length"] == 64
    assert [at["length"] for at in content["costs"]] == [32, 128]
    short, long = (at["kept_bytes"] for at in content["costs"])
    # Two layers, keys and values, 32 numbers in fp32, of 8 tokens.
    assert short == long == 2 * 2 * 32 * 4 * 8
    short, long = (at["kept_bytes"] for at in content["full"])
    assert long >= 2 * 2 * 32 * 4 * 128
    assert [at["length"] for at in content["training"]] == [32, 128]
    text = page({**content, "model": "\x1b[31mred"})
    assert "\x1b[31m" not in text and "full: read" in text and "a window of 8" in text


def test_what_does_not_write_is_refused(tmp_path: Path) -> None:
    model = saved(tmp_path / "linear", attention="linear")
    config = json.loads((model / "config.json").read_text())
    config["architectures"] = ["WorkbenchLlamaForSequenceClassification"]
    (model / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError):
        context_cost(request(model), Heard())  # type: ignore[arg-type]


def test_files_and_lengths(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert context_costs.path_of("x", tmp_path) == tmp_path / "context-cost.json"
    path = context_costs.path_of("some/model name", None)
    assert path.parent == home / "context-cost" and path.name.startswith("model-name-")
    assert context_costs.save({"a": 1}, path)["a"] == 1 and json.loads(path.read_text())["a"] == 1
    assert lengths_of("256, 1024") == [256, 1024]
    for wrong in ("", "a", "0", "12.5", "99999999"):
        with pytest.raises(UsageError):
            lengths_of(wrong)
    assert main(["context", "cost", "no-such-run", "--lengths", "16"]) != 0
    assert "no-such-run" in capsys.readouterr().err


def test_what_was_measured_is_shown_again(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = create_run(load("nano", ["run.name=small-1"]))
    assert main(["context", "cost", "small-1", "--kept"]) == 1
    assert "workbench context cost small-1" in capsys.readouterr().err
    path = context_costs.path_of("", run.path)
    context_costs.save(cost_of(), path)
    for word in ("small-1", str(path)):
        assert main(["context", "cost", word, "--kept"]) == 0
        assert "16,384" in (out := capsys.readouterr().out) and "time of a further token" in out
    assert main(["context", "cost", "small-1", "--kept", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["costs"] == cost_of()["costs"]
    context_costs.save(cost_of(costs=[{"length": 256}]), path)
    assert main(["context", "cost", "small-1", "--kept"]) == 1
    assert "this measurement is damaged" in capsys.readouterr().err
    path.write_text('{"costs": [1]}')
    assert context_costs.read(path) is None
    assert main(["context", "cost", str(path), "--kept"]) == 1
    assert "holds no measurement" in capsys.readouterr().err
