"""Every place that a model can be in opens to the same model."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from saved_models import WORDS, save, tokenizer_of, write_gguf

from workbench import paths
from workbench.errors import MissingExtraError, ModelError, WorkbenchError
from workbench.inference.loading import device as devices
from workbench.inference.loading.device import dtype_of
from workbench.inference.loading.load import LoadedModel, load_for_inference
from workbench.inference.loading.weights import own_weights
from workbench.training.state import TrainState

TEXT = "the red fox runs in Paris"


def load(name: str | Path, **options: Any) -> LoadedModel:
    """As in use, but in a precision that can be compared, on the processor that every machine has."""
    return load_for_inference(str(name), **{"device": "cpu", "dtype": "float32", **options})


def logits(model: Any) -> torch.Tensor:
    ids = torch.tensor([[5, 9, 30, 12, 200, 8]])
    with torch.no_grad():
        if model.config.is_encoder_decoder:
            found: torch.Tensor = model(input_ids=ids, decoder_input_ids=ids).logits
        else:
            found = model(input_ids=ids).logits
    return found


def test_a_folder_of_transformers(tmp_path: Path) -> None:
    model = save(tmp_path, "Llama", num_key_value_heads=2)
    model.generation_config.update(temperature=0.6, top_k=20, do_sample=True, eos_token_id=[2, 7])
    model.generation_config.save_pretrained(tmp_path)
    loaded = load(tmp_path)
    assert (loaded.kind, loaded.head, loaded.labels) == ("decoder", None, ())
    assert torch.equal(logits(loaded.model), logits(model))
    assert loaded.generation == {"temperature": 0.6, "top_k": 20}
    assert loaded.eos == {2, 7}
    assert loaded.max_length == 128
    assert loaded.chat_template is None
    assert loaded.notes == ("fp32: as asked",)
    assert loaded.tokenizer.decode(loaded.tokenizer(TEXT)["input_ids"]).strip() == TEXT
    assert not loaded.model.training and not any(part.requires_grad for part in loaded.model.parameters())
    own_weights(loaded.model)
    assert all(part.data_ptr() % 64 == 0 for part in loaded.model.parameters())
    assert torch.equal(logits(loaded.model), logits(model))
    runner = loaded.make_runner(100)
    assert runner.max_length == 100 and runner.vocabulary == model.config.vocab_size


def test_a_chat_template_comes_along(tmp_path: Path) -> None:
    save(tmp_path, "Llama")
    tokenizer = tokenizer_of()
    tokenizer.chat_template = "{{ messages[0].content }}"
    tokenizer.save_pretrained(tmp_path)
    assert load(tmp_path).chat_template == "{{ messages[0].content }}"


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [
        ("T5", "ForConditionalGeneration", ("encoder_decoder", None)),
        ("Bert", "ForMaskedLM", ("encoder", "fill_mask")),
        ("Bert", "ForPreTraining", ("encoder", "fill_mask")),
        ("Bert", "ForTokenClassification", ("encoder", "tagging")),
        ("Bert", "Model", ("embedder", None)),
        ("T5", "EncoderModel", ("embedder", None)),
        ("Electra", "ForPreTraining", ("embedder", None)),
    ],
)
def test_the_kind_is_that_of_the_class(tmp_path: Path, name: str, head: str, kind: tuple[str, str]) -> None:
    model = save(tmp_path, name, head=head)
    loaded = load(tmp_path)
    assert (loaded.kind, loaded.head) == kind
    if kind[0] == "embedder":
        assert not hasattr(loaded.model, "lm_head")
    else:
        mine, theirs = dict(loaded.model.named_parameters()), dict(model.named_parameters())
        assert all(torch.equal(weights, theirs[name]) for name, weights in mine.items())


@pytest.mark.parametrize(("labels", "head"), [(3, "classification"), (1, "regression")])
def test_heads_have_labels(tmp_path: Path, labels: int, head: str) -> None:
    save(tmp_path, "Bert", head="ForSequenceClassification", num_labels=labels)
    loaded = load(tmp_path)
    assert (loaded.kind, loaded.head) == ("encoder", head)
    assert loaded.labels == (("LABEL_0", "LABEL_1", "LABEL_2") if labels == 3 else ())


def test_a_layer_that_only_a_head_asks_may_be_missing_where_there_is_none(tmp_path: Path) -> None:
    for head in ("Model", "ForSequenceClassification"):
        save(tmp_path / head, "Bert", head=head)
        file = tmp_path / head / "model.safetensors"
        kept = {name: part for name, part in load_file(file).items() if "pooler" not in name}
        save_file(kept, file, metadata={"format": "pt"})
    assert load(tmp_path / "Model").kind == "embedder"
    with pytest.raises(ModelError, match="2 of its weights are missing"):
        load(tmp_path / "ForSequenceClassification")


def run_with(folder: str) -> Path:
    path = paths.runs_dir() / "run-1"
    (path / folder).mkdir(parents=True)
    (path / "status.json").write_text("{}")
    return path


def test_a_run_by_its_name_and_by_its_folder(tmp_path: Path) -> None:
    run = run_with("final")
    model = save(run / "final", "Llama")
    for name in ("run-1", str(run)):
        loaded = load(name)
        assert torch.equal(logits(loaded.model), logits(model))
        assert loaded.folder == run / "final"


def test_a_run_without_a_final_model_gives_its_last_checkpoint_that_is_whole() -> None:
    run = run_with("checkpoint-4")
    model = save(run / "checkpoint-4", "Llama")
    files = {path.name: path.stat().st_size for path in (run / "checkpoint-4").iterdir()}
    state = {"state": TrainState(step=4).as_dict(), "extra": {}, "files": files}
    (run / "checkpoint-4" / "trainer_state.json").write_text(json.dumps(state))
    save(run / "checkpoint-8", "Llama")
    loaded = load("run-1")
    assert loaded.folder == run / "checkpoint-4" and torch.equal(logits(loaded.model), logits(model))


def test_a_run_without_any_model_says_so() -> None:
    run_with("empty")
    with pytest.raises(ModelError, match="no model yet"):
        load("run-1")


def test_a_pulled_model_by_its_name() -> None:
    model = save(paths.home() / "models" / "tiny", "Llama")
    assert torch.equal(logits(load("tiny").model), logits(model))


def test_a_model_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = save(tmp_path / "snapshot", "Llama")
    asked: dict[str, Any] = {}

    def snapshot(name: str, **options: Any) -> str:
        asked.update(options, name=name)
        return str(tmp_path / "snapshot")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    loaded = load("somebody/tiny", revision="main")
    assert torch.equal(logits(loaded.model), logits(model))
    assert (asked["name"], asked["revision"]) == ("somebody/tiny", "main")
    assert not any(pattern.endswith((".bin", ".py", ".pt")) for pattern in asked["allow_patterns"])
    load("somebody/tiny", trust_remote_code=True)
    assert "*.py" in asked["allow_patterns"]


def test_an_answer_also_ends_where_the_chat_template_ends_a_turn(tmp_path: Path) -> None:
    save(tmp_path, "Llama", tokenizer=False)
    tokenizer = tokenizer_of()
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}[SEP]{% endfor %}"
    tokenizer.save_pretrained(tmp_path)
    assert load(tmp_path).eos == {tokenizer.eos_token_id, tokenizer.sep_token_id}


@pytest.mark.parametrize("named", ["the file", "its folder"])
def test_a_gguf_file(tmp_path: Path, named: str) -> None:
    model = save(tmp_path / "whole", "Llama", num_key_value_heads=2)
    file = tmp_path / "small" / "tiny.gguf"
    file.parent.mkdir()
    write_gguf(file, model, tokenizer_of())
    loaded = load(file if named == "the file" else file.parent)
    assert loaded.kind == "decoder"
    torch.testing.assert_close(logits(loaded.model), logits(model), rtol=0, atol=1e-5)
    assert loaded.tokenizer(f" {TEXT}")["input_ids"] == tokenizer_of()(TEXT)["input_ids"]
    assert loaded.chat_template == "{% for m in messages %}{{ m.content }}{% endfor %}"
    assert loaded.eos == {2}
    assert load(file, dtype="bfloat16").model.dtype == torch.bfloat16
    loaded.model.save_pretrained(tmp_path / "again")
    assert torch.equal(logits(load_weights(tmp_path / "again")), logits(loaded.model))


def load_weights(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder)


def test_reading_gguf_without_its_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.gguf").write_bytes(b"GGUF")
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "gguf" else find(name))
    with pytest.raises(MissingExtraError) as caught:
        load(tmp_path)
    assert caught.value.hint.endswith("pip install gguf")


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def cut_short(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def garbled(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\xff" * 100)


def of_another_shape(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": 32}))


def of_more_layers(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))


def of_a_new_kind(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "perpetuum", "architectures": ["P"]}))


def with_its_own_code(folder: Path) -> None:
    code = {
        "model_type": "own",
        "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.Own"},
    }
    (folder / "config.json").write_text(json.dumps(code))
    (folder / "own.py").write_text("raise SystemExit('the code was run')")


def without_tokenizer(folder: Path) -> None:
    for path in folder.glob("*token*"):
        path.unlink()


def that_finds_answers(folder: Path) -> None:
    save(folder, "Bert", head="ForQuestionAnswering")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (pickled, "pickled"),
        (cut_short, "damaged or cut short"),
        (garbled, "damaged or cut short"),
        (of_another_shape, "do not fit its config.json"),
        (of_more_layers, "weights are missing"),
        (of_a_new_kind, "does not know this kind"),
        (with_its_own_code, "code of its own"),
        (without_tokenizer, "no tokenizer"),
        (that_finds_answers, "not served"),
    ],
)
def test_what_cannot_be_opened_says_why_and_where(
    tmp_path: Path, spoil: Callable[[Path], None], said: str
) -> None:
    save(tmp_path, "Llama")
    spoil(tmp_path)
    with pytest.raises(ModelError, match=said) as caught:
        load(tmp_path)
    assert caught.value.where.startswith(str(tmp_path))
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/nowhere/at/all", "no such folder"),
        ("./nowhere", "no such folder"),
        ("nowhere.gguf", "no such folder"),
        ("nobody/nothing-of-this-name", "cannot be had from the hub"),
        ("no such; name", "no name of the hub"),
    ],
)
def test_a_name_that_means_nothing(name: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        load(name)


def test_files_and_folders_that_are_no_model(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ModelError, match="no model by itself") as caught:
        load(tmp_path / "weights.bin")
    assert "pickled" in caught.value.hint
    with pytest.raises(ModelError, match="no model by itself"):
        load(tmp_path / "notes.txt")
    with pytest.raises(ModelError, match="holds no model"):
        load(tmp_path)
    for name in ("one.gguf", "two.gguf"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ModelError, match="2 GGUF files") as caught:
        load(tmp_path)
    assert "one.gguf, two.gguf" in caught.value.hint


def test_a_damaged_gguf_file(tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(b"no gguf file at all, but long enough to be read as one")
    with pytest.raises(ModelError) as caught:
        load(tmp_path)
    assert caught.value.where.endswith("tiny.gguf")


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ("flags : fpu avx512f avx512_bf16", torch.bfloat16),
        ("flags : amx_bf16 amx_tile", torch.bfloat16),
        ("Features : fp asimd bf16", torch.bfloat16),
        ("flags : fpu avx512f avx2", torch.float32),
        (None, torch.float32),
    ],
)
def test_the_precision_is_what_the_processor_multiplies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str | None, wanted: torch.dtype
) -> None:
    if flags is not None:
        (tmp_path / "cpuinfo").write_text(flags)
    monkeypatch.setattr(devices, "CPU_INFO", tmp_path / "cpuinfo")
    found, why = dtype_of("auto", torch.device("cpu"))
    assert found == wanted
    assert ("natively" in why) == (wanted == torch.bfloat16)
    assert dtype_of("auto", torch.device("cpu"), encoder=True)[0] == torch.float32


@pytest.mark.parametrize(("major", "wanted"), [(7, torch.float32), (8, torch.bfloat16), (9, torch.bfloat16)])
def test_the_precision_is_what_the_gpu_multiplies(
    monkeypatch: pytest.MonkeyPatch, major: int, wanted: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (major, 0))
    assert dtype_of("auto", torch.device("cuda"))[0] == wanted


def test_devices_and_precisions_that_are_not_there(tmp_path: Path) -> None:
    for options in ({"device": "tpu"}, {"device": "xpu"}, {"dtype": "int4"}):
        with pytest.raises(WorkbenchError) as caught:
            load(save_once(tmp_path), **options)
        assert caught.value.hint


def save_once(folder: Path) -> Path:
    if not (folder / "config.json").exists():
        save(folder, "Llama")
    return folder


def test_memory_that_runs_out_is_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, "Llama")

    def fail(*args: Any, **options: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 TB")

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", fail)
    with pytest.raises(ModelError, match="not enough memory"):
        load(tmp_path)


def test_the_words_are_words() -> None:
    tokenizer = tokenizer_of()
    assert len(tokenizer(" ".join(WORDS))["input_ids"]) == len(WORDS)
