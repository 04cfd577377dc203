"""A policy of 20,000 weights that writes letters, prompts for it, and recipes that train it in a second."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

LETTERS = "abcdefghijklmnopqrstuvwxyz ."
PROMPTS = 24
END = 0


def letter_tokenizer(letters: str = LETTERS) -> Any:
    """One token a letter, and one that ends."""
    vocabulary = {"<eos>": END, "<pad>": 1, **{letter: number + 2 for number, letter in enumerate(letters)}}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<pad>")


def letter_config(**changes: Any) -> LlamaConfig:
    shape = {
        "vocab_size": 32,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "bos_token_id": None,
        "eos_token_id": END,
        "pad_token_id": 1,
        "tie_word_embeddings": True,
        "initializer_range": 0.2,
    }
    return LlamaConfig(**(shape | changes))


def save_policy(folder: Path, seed: int = 0) -> Path:
    """A new policy with its tokenizer."""
    torch.manual_seed(seed)
    LlamaForCausalLM(letter_config()).save_pretrained(folder)
    letter_tokenizer().save_pretrained(folder)
    return folder


def save_reward_model(folder: Path, *, letters: str = LETTERS, labels: int = 1, seed: int = 1) -> Path:
    """A sequence classifier on the policy's tokens, or, of other letters, on its own."""
    torch.manual_seed(seed)
    LlamaForSequenceClassification(letter_config(num_labels=labels)).save_pretrained(folder)
    letter_tokenizer(letters).save_pretrained(folder)
    return folder


def save_prompts(path: Path) -> Path:
    """Prompts of unequal lengths."""
    records = [
        {"prompt": "the " + LETTERS[n % 26] * (1 + n % 5), "wanted": LETTERS[n % 3]} for n in range(PROMPTS)
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def recipe_of(folder: Path, **changes: Any) -> dict[str, Any]:
    """A recipe on a policy and prompts in `folder`; `ppo__kl_coef=0.1` changes one key."""
    recipe: dict[str, Any] = {
        "model": {"model_name_or_path": str(folder / "policy")},
        "data": {"sources": [str(folder / "prompts.jsonl")], "eval_fraction": 0.2},
        "objective": {"name": "ppo"},
        "ppo": {"reward_pattern": "a", "response_length": 10, "num_mini_batches": 2, "logged_rollouts": 2},
        "training": {
            "max_steps": 4,
            "per_device_train_batch_size": 2,
            "gradient_accumulation_steps": 2,
            "learning_rate": 1e-3,
            "lr_scheduler_type": "linear",
            "min_lr_ratio": 0.0,
            "adam_epsilon": 1e-5,
            "weight_decay": 0.0,
            "eval_steps": 4,
            "save_steps": 2,
            "load_best_model_at_end": False,
        },
        "launch": {"device": "cpu", "num_threads": 1},
    }
    for key, value in changes.items():
        section, _, name = key.partition("__")
        recipe.setdefault(section, {})[name] = value
    return recipe
