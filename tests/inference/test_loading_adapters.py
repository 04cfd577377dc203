"""Adapters and soft prompts write what PEFT's own model writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from saved_models import save, tokenizer_of

from workbench import paths
from workbench.errors import ModelError
from workbench.inference.loading.load import LoadedModel, load_for_inference

PROMPT = [5, 9, 130, 12, 200, 8, 77]
NEW = 12
# What PEFT 0.21 says of transformers 5.23 and 5.24, and of what is done here on purpose.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.past_key_values. is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Position ids are not supported:UserWarning"),
    pytest.mark.filterwarnings("ignore:Setting .save_embedding_layers.:UserWarning"),
    pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning"),
]
CAUSAL, SEQUENCES = "CAUSAL_LM", "SEQ_2_SEQ_LM"
ENCODER_DECODERS = ("T5", "Bart")
PARTS: tuple[tuple[str, Any], ...] = (("layers", 2), ("attention_heads", 4), ("ffn_dim", 96))


def load(name: str | Path, **options: Any) -> LoadedModel:
    return load_for_inference(str(name), device="cpu", dtype="float32", **options)


def base_in(folder: Path, name: str) -> Any:
    if name in ENCODER_DECODERS:
        parts = {f"{side}_{part}": size for side in ("encoder", "decoder") for part, size in PARTS}
        own = {"num_decoder_layers": 2, "d_kv": 16} if name == "T5" else parts
        # Tied to its input, a random output repeats the last token for ever.
        own |= {"tie_word_embeddings": False, "decoder_start_token_id": 0}
        return save(folder, name, head="ForConditionalGeneration", **own)
    if name == "GPT2":
        return save(folder, "GPT2", head="LMHeadModel")
    return save(folder, name, num_key_value_heads=2)


def with_adapter(tmp_path: Path, name: str, config: Any) -> tuple[Any, Path]:
    """PEFT's model, its new weights drawn at random, and the folder that it was saved to."""
    base_in(tmp_path / "base", name)
    # As PEFT names the base: by where it was read from.
    base = load(tmp_path / "base").model
    model: Any = peft.get_peft_model(base, config).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for part in model.parameters():
            if part.requires_grad:
                part.normal_(0, 0.5)
    model.save_pretrained(str(tmp_path / "adapter"))
    return model, tmp_path / "adapter"


def greedy(loaded: LoadedModel) -> list[int]:
    """What the runner writes, beside another row that is longer."""
    with torch.inference_mode():
        runner = loaded.make_runner()
        rows, tokens = [], []
        for prompt in (PROMPT, [7] * 30):
            prefill, logits = runner.begin(prompt), None
            while prefill.remaining:
                logits = runner.advance(prefill)
            assert logits is not None
            rows.append(runner.open(prefill, NEW))
            tokens.append(int(logits.argmax()))
        text = [tokens[0]]
        for _ in range(NEW - 1):
            tokens = runner.decode(rows, tokens).argmax(-1).tolist()
            text.append(tokens[0])
    return text


def generated(model: Any) -> list[int]:
    ids = torch.tensor([PROMPT])
    found = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=NEW,
        eos_token_id=None,
        forced_eos_token_id=None,
    )[0].tolist()
    text: list[int] = found[-NEW:]
    return text


def forwarded(model: Any, *, to_decoder: bool) -> list[int]:
    """The same through PEFT's forward, which reads the whole text each time. Its `generate` loses a soft
    prompt under transformers 5.24: it still looks for the cache by its old name."""
    text: list[int] = []
    for _ in range(NEW):
        given = torch.tensor([PROMPT if to_decoder else [*PROMPT, *text]])
        inputs = {"input_ids": given, "attention_mask": torch.ones_like(given)}
        if to_decoder:
            inputs["decoder_input_ids"] = torch.tensor([[0, *text]])
        with torch.inference_mode():
            text.append(int(model(**inputs).logits[0, -1].argmax()))
    return text


SOFT = {
    "prompt tuning": lambda task: peft.PromptTuningConfig(task_type=task, num_virtual_tokens=5),
    "p-tuning": lambda task: peft.PromptEncoderConfig(
        task_type=task, num_virtual_tokens=5, encoder_hidden_size=16
    ),
    "prefix": lambda task: peft.PrefixTuningConfig(task_type=task, num_virtual_tokens=5),
    "projected prefix": lambda task: peft.PrefixTuningConfig(
        task_type=task, num_virtual_tokens=5, prefix_projection=True, encoder_hidden_size=16
    ),
}


@pytest.mark.parametrize("kind", SOFT)
@pytest.mark.parametrize("name", ["Llama", "GPT2", "Qwen2", *ENCODER_DECODERS])
def test_soft_prompts(tmp_path: Path, name: str, kind: str) -> None:
    task = SEQUENCES if name in ENCODER_DECODERS else CAUSAL
    model, folder = with_adapter(tmp_path, name, SOFT[kind](task))
    loaded = load(folder)
    assert loaded.prefix is not None and loaded.prefix.length == 5
    assert loaded.kind == ("encoder_decoder" if name in ENCODER_DECODERS else "decoder")
    wanted = forwarded(model, to_decoder=task == SEQUENCES)
    assert greedy(loaded) == wanted
    plain = load(tmp_path / "base")
    assert plain.prefix is None and greedy(plain) != wanted
    assert loaded.max_length == plain.max_length - 5


@pytest.mark.parametrize("name", ["Llama", "GPT2", "T5"])
def test_low_rank_adapters_become_part_of_the_weights(tmp_path: Path, name: str) -> None:
    task = SEQUENCES if name == "T5" else CAUSAL
    model, folder = with_adapter(tmp_path, name, peft.LoraConfig(task_type=task, r=4, lora_alpha=2))
    loaded = load(folder)
    assert not any("lora" in name for name, _ in loaded.model.named_parameters())
    assert loaded.adapters == (str(folder),)
    assert "LORA" in loaded.notes[1]
    assert greedy(loaded) == generated(model)


def test_adapters_on_a_model_that_is_named(tmp_path: Path) -> None:
    model, folder = with_adapter(tmp_path, "Llama", peft.LoraConfig(task_type=CAUSAL, r=4))
    settings = json.loads((folder / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = str(tmp_path / "moved")
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelError, match="the model that the adapters are for") as caught:
        load(folder)
    assert str(tmp_path / "moved") in caught.value.hint
    assert greedy(load(tmp_path / "base", adapter=str(folder))) == generated(model)


def test_a_soft_prompt_on_top_of_adapters(tmp_path: Path) -> None:
    _, lora = with_adapter(tmp_path, "Llama", peft.LoraConfig(task_type=CAUSAL, r=4))
    merged = load(lora).model
    model: Any = peft.get_peft_model(merged, SOFT["prompt tuning"](CAUSAL)).eval()
    torch.manual_seed(2)
    torch.nn.init.normal_(model.prompt_encoder["default"].embedding.weight)
    model.save_pretrained(str(tmp_path / "soft"))
    loaded = load(lora, adapter=str(tmp_path / "soft"))
    assert len(loaded.adapters) == 2
    assert greedy(loaded) == forwarded(model, to_decoder=False)
    with pytest.raises(ModelError, match="only one soft prompt"):
        load_two_soft_prompts(tmp_path)


def load_two_soft_prompts(tmp_path: Path) -> None:
    settings = json.loads((tmp_path / "soft" / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = str(tmp_path / "base")
    (tmp_path / "soft" / "adapter_config.json").write_text(json.dumps(settings))
    load(tmp_path / "soft", adapter=str(tmp_path / "soft"))


def test_a_run_that_trained_adapters(tmp_path: Path) -> None:
    model, folder = with_adapter(tmp_path, "Llama", peft.LoraConfig(task_type=CAUSAL, r=4))
    run = paths.runs_dir() / "run-1"
    run.mkdir(parents=True)
    (run / "status.json").write_text("{}")
    folder.rename(run / "final")
    tokenizer_of(framed=True).save_pretrained(run / "final")
    loaded = load("run-1")
    assert greedy(loaded) == generated(model)
    assert loaded.tokenizer("fox")["input_ids"][0] == loaded.tokenizer.cls_token_id, "the adapters' own"


@pytest.mark.parametrize("labels", ["beside", "nowhere"])
def test_a_head_that_comes_with_adapters(tmp_path: Path, labels: str) -> None:
    save(tmp_path / "base", "Bert", head="ForMaskedLM")
    bert = save(tmp_path / "whole", "Bert", head="ForSequenceClassification", num_labels=3)
    bert.name_or_path = bert.config._name_or_path = str(tmp_path / "base")
    config = peft.LoraConfig(task_type="SEQ_CLS", r=4, modules_to_save=["classifier", "pooler"])
    model: Any = peft.get_peft_model(bert, config).eval()
    model.save_pretrained(str(tmp_path / "adapter"))
    if labels == "beside":
        bert.config.id2label = {0: "apple", 1: "pear", 2: "quince"}
        bert.config.save_pretrained(str(tmp_path / "adapter"))
    loaded = load(tmp_path / "adapter")
    assert (loaded.kind, loaded.head) == ("encoder", "classification")
    named = ("apple", "pear", "quince") if labels == "beside" else ("LABEL_0", "LABEL_1", "LABEL_2")
    assert loaded.labels == named
    heads = loaded.model.classifier.weight, model.base_model.model.classifier.modules_to_save.default.weight
    assert torch.equal(*heads)


def test_a_head_that_nobody_brings_is_not_drawn_at_random(tmp_path: Path) -> None:
    save(tmp_path / "base", "Bert", head="ForMaskedLM")
    bert = save(tmp_path / "whole", "Bert", head="ForSequenceClassification", num_labels=3)
    bert.name_or_path = bert.config._name_or_path = str(tmp_path / "base")
    config = peft.LoraConfig(task_type="SEQ_CLS", r=4, modules_to_save=["classifier"])
    peft.get_peft_model(bert, config).save_pretrained(str(tmp_path / "adapter"))
    with pytest.raises(ModelError, match="missing") as caught:
        load(tmp_path / "adapter")
    assert "pooler" in caught.value.message and "classifier" not in caught.value.message


def test_adapters_that_taught_new_tokens(tmp_path: Path) -> None:
    save(tmp_path / "base", "Llama")
    base = load(tmp_path / "base").model
    base.resize_token_embeddings(base.config.vocab_size + 3, mean_resizing=False)
    model: Any = peft.get_peft_model(
        base, peft.LoraConfig(task_type=CAUSAL, r=4, modules_to_save=["embed_tokens", "lm_head"])
    )
    model.save_pretrained(str(tmp_path / "adapter"))
    loaded = load(tmp_path / "adapter")
    assert greedy(loaded) == generated(model.eval())
    assert loaded.make_runner().vocabulary == base.config.vocab_size


def test_adapters_that_cannot_be_served(tmp_path: Path) -> None:
    _, folder = with_adapter(tmp_path, "Llama", peft.LoraConfig(task_type=CAUSAL, r=4))
    weights, settings = folder / "adapter_model.safetensors", folder / "adapter_config.json"
    told, tensors = json.loads(settings.read_text()), load_file(weights)

    settings.write_text(json.dumps({**told, "peft_type": "XLORA"}))
    with pytest.raises(ModelError, match="XLORA"):
        load(folder)
    settings.write_text("{")
    with pytest.raises(ModelError, match="adapter_config.json is damaged"):
        load(folder)
    settings.write_text(json.dumps({**told, "r": 8}))
    with pytest.raises(ModelError, match="do not fit their base model"):
        load(folder)
    settings.write_text(json.dumps(told))
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="damaged or cut short"):
        load(folder)
    save_file(tensors, folder / "adapter_model.bin")
    weights.unlink()
    with pytest.raises(ModelError, match="pickled"):
        load(folder)
    (folder / "adapter_model.bin").unlink()
    with pytest.raises(ModelError, match="no model.safetensors|no adapter_model.safetensors"):
        load(folder)
