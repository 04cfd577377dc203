"""Continuations of fixed prompts as training goes: what the numbers sound like."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import torch

from workbench.errors import storage_error
from workbench.store.files import replace_file

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from workbench.recipe import TrainingSection

TEMPERATURE = 0.8
TOP_K = 50


def _step_of(line: bytes) -> float:
    """The step of a line; infinite for one that a kill or a full disk left torn."""
    try:
        return float(orjson.loads(line)["step"]) if line.endswith(b"\n") else math.inf
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return math.inf


class SampleWriter:
    """Appends to `samples.jsonl`; drawn with generators of its own, so that training never notices."""

    def __init__(self, path: Path, section: TrainingSection, *, enabled: bool) -> None:
        self.path = path
        self.section = section
        self.enabled = enabled and bool(section.sample_prompts)

    def resume(self, step: int) -> None:
        """Drop samples of later steps: they will be drawn again."""
        if not self.path.exists():
            return
        lines = self.path.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if _step_of(line) <= step]
        if kept != lines:
            replace_file(self.path, b"".join(kept))

    @torch.no_grad()
    def write(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, step: int) -> None:
        """Continue every prompt with temperature 0.8 and top-k 50, under the recipe's seed."""
        if not self.enabled:
            return
        was_training = model.training
        model.eval()
        records = b""
        devices = [model.device] if model.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self.section.seed)
            for prompt in self.section.sample_prompts:
                text = self._continue(model, tokenizer, prompt)
                record = {"step": step, "time": time.time(), "prompt": prompt, "text": text}
                records += orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
        model.train(was_training)
        try:
            with self.path.open("ab") as file:
                file.write(records)
        except OSError as error:
            raise storage_error(error, self.path) from None

    def _continue(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str) -> str:
        encoded = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False).to(model.device)
        length = encoded["input_ids"].shape[1]
        context = int(getattr(model.config.get_text_config(), "max_position_embeddings", 10**9))
        room = min(self.section.sample_max_new_tokens, context - length)
        if length == 0 or room < 1:
            return ""
        output = model.generate(
            **encoded,
            do_sample=True,
            temperature=TEMPERATURE,
            top_k=TOP_K,
            max_new_tokens=room,
            pad_token_id=tokenizer.pad_token_id
            if tokenizer.pad_token_id is not None
            else tokenizer.eos_token_id,
        )
        return str(tokenizer.decode(output[0, length:], skip_special_tokens=True))
