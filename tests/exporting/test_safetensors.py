"""Folders of safetensors: what transformers opens is what was trained, adapters merged as PEFT does it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from exported_models import decoder
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
)

IDS = torch.tensor([[7, 50, 120, 33, 260, 9]])
pytestmark = [
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Setting .save_embedding_layers.:UserWarning"),
    # What PEFT 0.21 says where the output layer is a target, on purpose here.
    pytest.mark.filterwarnings("ignore:Model has .tie_word_embeddings=True:UserWarning"),
    pytest.mark.filterwarnings("ignore:Model with .tie_word_embeddings=True:UserWarning"),
]


def test_round_trip(llama: Any, tokenizer: Any, exported: Any, tmp_path: Path) -> None:
    model, folder = llama
    told = exported(folder, "safetensors")
    out = tmp_path / "out"
    opened = AutoModelForCausalLM.from_pretrained(out)
    assert opened.dtype == torch.float32
    for name, weights in model.state_dict().items():
        assert torch.equal(weights, opened.state_dict()[name])
    read = AutoTokenizer.from_pretrained(out)
    assert read.chat_template == tokenizer.chat_template
    assert read("Some text, 12 words")["input_ids"] == tokenizer("Some text, 12 words")["input_ids"]
    # Generation ends where the template ends a turn, too.
    ends = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|im_end|>")]
    assert opened.generation_config.eos_token_id == ends and "<|im_end|> ends an answer" in told["notes"][0]
    for file in told["files"]:
        content = (out / file["name"]).read_bytes()
        assert file["bytes"] == len(content) and file["sha256"] == hashlib.sha256(content).hexdigest()
    assert {file["name"] for file in told["files"]} == {path.name for path in out.iterdir()} - {
        "workbench-export.json"
    }
    assert told["parameters"] == model.num_parameters() and told["dtype"] == "f32"


def test_other_number_format(llama: Any, exported: Any, tmp_path: Path) -> None:
    model, folder = llama
    exported(folder, "safetensors", dtype="bf16")
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert all(torch.equal(found[name], part.bfloat16()) for name, part in model.state_dict().items())
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "bfloat16"


def lora(folder: Path, tmp_path: Path, **values: Any) -> tuple[Any, Path]:
    """A model with adapters that are not small, and their folder."""
    base = AutoModelForCausalLM.from_pretrained(folder)
    config = peft.LoraConfig(r=4, lora_alpha=16, task_type="CAUSAL_LM", **values)
    torch.manual_seed(1)
    model = peft.get_peft_model(base, config).eval()
    with torch.no_grad():
        for part in model.parameters():
            if part.requires_grad:
                part.normal_(0, 0.3)
    model.save_pretrained(str(tmp_path / "adapters"))
    return model, tmp_path / "adapters"


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(IDS).logits
    return found


def test_merged_adapters_do_what_peft_does(llama: Any, tokenizer: Any, exported: Any, tmp_path: Path) -> None:
    _, base = llama
    model, adapters = lora(base, tmp_path, target_modules="all-linear")
    tokenizer.save_pretrained(adapters)
    told = exported(adapters, "safetensors")
    found = logits(AutoModelForCausalLM.from_pretrained(tmp_path / "out"))
    unmerged = logits(model)
    torch.testing.assert_close(found, logits(model.merge_and_unload()), rtol=0, atol=0)
    torch.testing.assert_close(found, unmerged, rtol=1e-4, atol=1e-4)
    assert told["base_model"] == "tiny" and told["architecture"] == "LlamaForCausalLM"
    assert not (tmp_path / "out" / "adapter_config.json").exists()
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template == tokenizer.chat_template


def test_adapters_of_one_of_two_tied_tables(tokenizer: Any, save: Any, exported: Any, tmp_path: Path) -> None:
    folder = save(decoder("Llama", tokenizer, tie_word_embeddings=True), tokenizer)
    model, adapters = lora(folder, tmp_path, target_modules=["lm_head", "q_proj"])
    exported(adapters, "safetensors")
    opened = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert opened.config.tie_word_embeddings is False
    torch.testing.assert_close(logits(opened), logits(model), rtol=1e-4, atol=1e-4)


def test_any_architecture_in_several_files(tokenizer: Any, exported: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
    config = BertConfig(vocab_size=300, num_labels=3, id2label={0: "a", 1: "b", 2: "c"}, **shape)
    model = BertForSequenceClassification(config).eval()
    model.save_pretrained(tmp_path / "bert", max_shard_size="20KB")
    told = exported(tmp_path / "bert", "safetensors")
    opened = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    assert opened.config.id2label == {0: "a", 1: "b", 2: "c"}
    assert torch.equal(logits(opened), logits(model))
    assert len(list((tmp_path / "out").glob("*.safetensors"))) > 1
    assert told["notes"] == ["there is no tokenizer beside the model, so none was written"]
