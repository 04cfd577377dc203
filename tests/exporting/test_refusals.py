"""What cannot be exported is said at once, and what goes wrong half-way leaves nothing behind."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from exported_models import byte_level, decoder, sentencepiece
from gguf import GGUFWriter
from safetensors import SafetensorError
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from workbench.errors import (
    CheckpointError,
    MissingExtraError,
    ModelError,
    RunError,
    StorageError,
    UsageError,
    WorkbenchError,
)
from workbench.exporting import safetensors_folder
from workbench.recipe import load
from workbench.store.runs import Run, create_run

TEXTS = ["a few words, and a few words more, and more"] * 3


def refused(kind: type[WorkbenchError], export: Any, *asked: Any, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        export(*asked, **options)
    return caught.value.render()


@pytest.fixture
def run(llama: Any) -> Run:
    """A run that has a checkpoint, and no final model."""
    made = create_run(load("nano", ["run.name=one"]))
    shutil.copytree(llama[1], made.path / "checkpoint-5")
    return made


def test_runs(run: Run, llama: Any, exported: Any, tmp_path: Path) -> None:
    assert "did you mean one?" in refused(RunError, exported, "onn", "gguf")
    told = refused(RunError, exported, "one", "gguf")
    assert "has not finished (queued)" in told and "checkpoint-5" in told
    # A checkpoint that was cut short shows by the sizes that it names.
    content = {"state": {}, "extra": {}, "files": {"model.safetensors": 5}}
    (run.path / "checkpoint-5" / "trainer_state.json").write_text(json.dumps(content))
    assert "damaged" in refused(CheckpointError, exported, run.path / "checkpoint-5", "gguf")
    shutil.copytree(llama[1], run.final_path)
    told = exported("one", "gguf")
    assert told["model"] == "one" and (tmp_path / "out" / "one-f32.gguf").is_file()


def test_soft_prompts(llama: Any, exported: Any, tmp_path: Path, recwarn: Any) -> None:
    base = AutoModelForCausalLM.from_pretrained(llama[1])
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    peft.get_peft_model(base, config).save_pretrained(str(tmp_path / "soft"))
    for format in ("safetensors", "gguf"):
        told = refused(ModelError, exported, tmp_path / "soft", format)
        assert "prompt tuning" in told and "cannot be merged" in told and "PeftModel" in told


def test_folders_that_hold_no_weights_of_ours(llama: Any, exported: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(llama[1], bad)
    (bad / "model.safetensors").rename(bad / "pytorch_model.bin")
    assert "pickled" in refused(ModelError, exported, bad, "safetensors")
    (bad / "pytorch_model.bin").rename(bad / "model.safetensors")
    (bad / "model.safetensors").write_bytes((bad / "model.safetensors").read_bytes()[:-100])
    assert "damaged or cut short" in refused(ModelError, exported, bad, "safetensors")
    (bad / "model.safetensors").rename(bad / "x.gguf")
    assert "GGUF file already" in refused(ModelError, exported, bad / "x.gguf", "gguf")
    assert "there is no such folder" in refused(ModelError, exported, "./nowhere", "gguf")


def test_architectures(tokenizer: Any, save: Any, exported: Any) -> None:
    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=402, n_embd=32, n_layer=1, n_head=2, n_positions=32))
    told = refused(ModelError, exported, save(gpt2, tokenizer), "gguf")
    assert "GPT2LMHeadModel is not written as GGUF" in told and "Qwen3ForCausalLM" in told
    relu = save(decoder("Llama", tokenizer, hidden_act="relu"), tokenizer)
    assert "activation relu" in refused(ModelError, exported, relu, "gguf")
    rope = {"rope_type": "yarn", "factor": 2.0, "rope_theta": 1e4, "attention_factor": 1.5}
    odd = save(decoder("Llama", tokenizer, rope_parameters=rope), tokenizer)
    assert "rotary embeddings of the kind yarn" in refused(ModelError, exported, odd, "gguf")
    bare = save(decoder("Llama", tokenizer))
    assert "no tokenizer beside it" in refused(ModelError, exported, bare, "gguf")


def test_tokenizers(llama: Any, exported: Any, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(llama[1], folder)

    def told(tokens: Any) -> str:
        tokens.save_pretrained(folder)
        return refused(ModelError, exported, folder, "gguf")

    words = byte_level("gpt-2", TEXTS, size=270)
    words.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{L}+|[^\p{L}]+"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    assert r"cuts texts into words by \p{L}+" in told(words) and "smaug-bpe" in told(words)
    words.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    assert "a blank before each text" in told(words)
    unigram = Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0)], unk_id=0))
    assert "a Unigram model" in told(PreTrainedTokenizerFast(tokenizer_object=unigram, unk_token="<unk>"))
    # Merges that a BPE learnt by itself are not all ways to make a piece.
    pieces = sentencepiece(None, TEXTS)
    content = json.loads(pieces.backend_tokenizer.to_str())
    lost = content["model"]["merges"].pop(0)
    whole = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(content)))
    assert f"“{lost[0]}” and “{lost[1]}” are never joined" in told(whole)


def test_number_formats(llama: Any, save: Any, exported: Any, tokenizer: Any) -> None:
    assert "for GGUF files alone" in refused(UsageError, exported, llama[1], "safetensors", dtype="q8_0")
    assert "one of auto" in refused(UsageError, exported, llama[1], "gguf", dtype="q4_k")
    model = decoder("Llama", tokenizer)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[0, 0] = 1e6
    folder = save(model, tokenizer)
    for format in ("safetensors", "gguf"):
        assert "take bf16" in refused(ModelError, exported, folder, format, dtype="f16")


def test_folders_that_are_taken(llama: Any, exported: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    exported(llama[1], "safetensors")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert "--force replaces it" in refused(StorageError, exported, llama[1], "gguf")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    (out / "thesis.txt").write_text("years of work")
    assert "thesis.txt" in refused(StorageError, exported, llama[1], "gguf", force=True)
    (out / "thesis.txt").unlink()
    exported(llama[1], "gguf", force=True)
    assert sorted(path.name for path in out.iterdir()) == ["tiny-f32.gguf", "workbench-export.json"]
    assert "what no export" in refused(StorageError, exported, llama[1], "gguf", to=llama[1], force=True)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("format", ["safetensors", "gguf"])
def test_a_full_disk_leaves_what_was_there(
    llama: Any, exported: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    exported(llama[1], "safetensors")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    write, count = GGUFWriter.write_tensor_data, 0

    def full(self: Any, *arguments: Any) -> None:
        nonlocal count
        count += 1
        if count == 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        if count > 6:  # numpy's own words for it
            raise OSError("49152 requested and 33104 written")
        write(self, *arguments)

    def full_file(tensors: Any, path: Path, **options: Any) -> None:
        path.write_bytes(b"half")
        raise SafetensorError("Error while serializing: I/O error: No space left (os error 28)")

    monkeypatch.setattr(GGUFWriter, "write_tensor_data", full)
    monkeypatch.setattr(safetensors_folder, "save_file", full_file)
    for target in (tmp_path / "out", tmp_path / "new"):
        told = refused(StorageError, exported, llama[1], format, to=target, force=True)
        assert "the disk is full" in told and "another disk" in told
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert {path.name for path in tmp_path.iterdir()} <= {"out", "home"}


def test_what_a_killed_export_left_is_taken_away(llama: Any, exported: Any, tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left, alive = (tmp_path / f".writing-out-{number}" for number in (gone.pid, os.getppid()))
    for folder in (left, alive):
        folder.mkdir()
        (folder / "half.gguf").write_bytes(b"half")
    exported(llama[1], "gguf")
    assert not left.exists() and alive.exists() and (tmp_path / "out" / "tiny-f32.gguf").exists()


def test_too_little_room_is_said_before(
    llama: Any, exported: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=1000))
    assert "too full" in refused(StorageError, exported, llama[1], "gguf", to=tmp_path / "deep" / "er")
    assert not (tmp_path / "deep").exists()


def test_places_that_can_be_no_folder(llama: Any, exported: Any, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("kept")
    for place, words in ((file, "a file stands"), (file / "in", "a file stands"), ("x" * 300, "too long")):
        told = refused(StorageError, exported, llama[1], "gguf", to=tmp_path / place, force=True)
        assert words in told and str(file if words[0] == "a" else place) in told
    assert file.read_text() == "kept"


def test_without_the_package(llama: Any, exported: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("workbench.exporting.llama_cpp")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert "pip install gguf" in refused(MissingExtraError, exported, llama[1], "gguf")
