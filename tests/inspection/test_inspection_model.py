"""Checkpoints opened without their weights: sound, damaged, pickled, in parts, adapters, GGUF."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from workbench.data.special_tokens import STYLES
from workbench.data.tokenizer import FILE, wrapped
from workbench.errors import MissingExtraError, ModelError
from workbench.inspection.model import model
from workbench.inspection.opening import open_tokenizer
from workbench.models.build import build_model
from workbench.recipe import Recipe

TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"


def silent(what: str, done: int, total: int | None) -> None:
    """Progress that nobody hears."""


@pytest.fixture
def folder(recipe: Any, tmp_path: Path) -> Path:
    """A tiny Llama with its tokenizer."""
    mapping = recipe()
    path = tmp_path / "model"
    path.mkdir()
    open_tokenizer(mapping, silent).backend.save(str(path / FILE))
    tokenizer = wrapped(path / FILE, STYLES["llama"])
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(0)
    built: Any = build_model(Recipe.model_validate(mapping).model, tokenizer)
    built.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def problems_of(result: dict[str, Any]) -> str:
    return " | ".join(problem["message"] for problem in result["problems"])


def test_a_sound_checkpoint_is_told_in_full(folder: Path) -> None:
    found = model(str(folder), silent)
    assert found["architecture"] == "LlamaForCausalLM" and found["format"] == "safetensors"
    assert found["config"]["hidden_size"] == 32 and found["problems"] == []
    assert found["parameters"] == sum(group["parameters"] for group in found["groups"])
    layers = [group["name"] for group in found["groups"] if group["layer"]]
    assert layers == ["model.layers.0", "model.layers.1"]
    embeddings = found["groups"][0]["tensors"][0]
    assert embeddings["shape"] == [300, 32] and embeddings["dtype"] == "F32"
    assert found["bytes"] == 4 * found["parameters"] and found["dtypes"] == {"F32": found["parameters"]}
    sizes = {file["path"]: file["bytes"] for file in found["files"]}
    assert sizes["model.safetensors"] == os.path.getsize(folder / "model.safetensors")
    assert {"role": "eos_token", "token": "<|eos|>", "id": 1} in found["tokenizer"]["special"]
    assert found["chat"]["template"] == TEMPLATE
    assert found["chat"]["rendered"].startswith("<system>You are helpful.<user>")


def test_a_template_that_fails_is_a_problem(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ raise_exception('never this way') }}")
    found = model(str(folder), silent)
    assert found["chat"]["rendered"] is None and "never this way" in problems_of(found)


def test_pickled_weights_are_named_and_not_opened(folder: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(folder / "sprung"),)

    torch.save({"weight": Trap()}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    found = model(str(folder), silent)
    assert "pickled (pytorch_model.bin)" in problems_of(found) and "no others" in problems_of(found)
    assert found["parameters"] == 0 and not (folder / "sprung").exists()


def test_code_that_comes_along_is_not_run(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "trap.TrapConfig"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "trap.py").write_text(
        f"import os\nos.mkdir({str(folder / 'sprung')!r})\nclass TrapConfig: pass\n"
    )
    assert "Python code of its own" in problems_of(model(str(folder), silent))
    assert not (folder / "sprung").exists()


def test_damaged_and_missing_files_are_problems(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:200])
    (folder / "config.json").write_text("{")
    (folder / "tokenizer.json").unlink()
    found = problems_of(model(str(folder), silent))
    assert "damaged or cut short" in found and "config.json cannot be read" in found
    assert "tokenizer" in found


def test_parts_that_an_index_names_must_be_there(tmp_path: Path) -> None:
    save_file({"a.layers.0.w": np.zeros((2, 3), np.float16)}, tmp_path / "model-00001-of-00002.safetensors")
    index = {"a.layers.0.w": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    found = model(str(tmp_path), silent)
    assert "1 of 2 weight files are missing" in problems_of(found)
    assert (found["parameters"], found["bytes"], found["dtypes"]) == (6, 12, {"F16": 6})


def test_layers_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    tensors = {f"h.{n}.w": np.zeros(1, np.float32) for n in range(12)}
    save_file(tensors, tmp_path / "model.safetensors")
    names = [group["name"] for group in model(str(tmp_path), silent)["groups"]]
    assert names == [f"h.{n}" for n in range(12)]


def test_adapters_name_their_base(tmp_path: Path) -> None:
    save_file(
        {"base.layers.0.lora_A.weight": np.zeros((8, 4), np.float32)}, tmp_path / "adapter_model.safetensors"
    )
    (tmp_path / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": "somewhere/base", "r": 8})
    )
    found = model(str(tmp_path), silent)
    assert found["format"] == "adapter" and found["base_model"] == "somewhere/base"
    assert found["architecture"] == "LORA adapter" and found["problems"] == []


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ModelError, match="holds no model"):
        model(str(tmp_path), silent)
    with pytest.raises(ModelError, match="no checkpoint by itself"):
        model(str(tmp_path / "notes.txt"), silent)
    with pytest.raises(ModelError, match="no such folder"):
        model(str(tmp_path / "nowhere"), silent)
    with pytest.raises(ModelError, match="cannot be had from the hub"):
        model("nobody/nothing-of-this-name", silent)


def write_gguf(path: Path) -> None:
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(8)
    writer.add_block_count(1)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"token {n}" for n in range(200)])
    writer.add_tensor("token_embd.weight", np.zeros((200, 8), np.float16))
    writer.add_tensor("blk.0.attn_q.weight", np.zeros((8, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_gguf_tells_metadata_and_tensors(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    write_gguf(path)
    for name in (path, tmp_path):
        found = model(str(name), silent)
        assert found["format"] == "gguf" and found["architecture"] == "llama"
        assert found["config"]["llama.context_length"] == 64
        assert "tokenizer.ggml.tokens" not in found["config"], "a vocabulary is no configuration"
        assert found["parameters"] == 200 * 8 + 8 * 4
        assert [group["name"] for group in found["groups"]] == ["blk.0", "token_embd"]
        assert found["groups"][1]["tensors"][0]["shape"] == [200, 8]
        assert found["dtypes"] == {"F16": 1600, "F32": 32}


def test_damaged_gguf_is_a_model_error(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    write_gguf(path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ModelError, match="damaged"):
        model(str(path), silent)
    path.write_bytes(b"not a gguf file at all, but long enough to be read")
    with pytest.raises(ModelError, match="damaged"):
        model(str(path), silent)


def test_gguf_without_its_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tiny.gguf"
    write_gguf(path)
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(MissingExtraError) as caught:
        model(str(path), silent)
    assert "gguf" in caught.value.hint


def test_a_folder_that_goes_on_below_is_listed_with_its_paths(folder: Path) -> None:
    shutil.copytree(folder, folder / "generator")
    found = model(str(folder), silent)
    assert "generator/model.safetensors" in [file["path"] for file in found["files"]]
    assert found["dtypes"]["F32"] == found["parameters"] and found["problems"] == []
