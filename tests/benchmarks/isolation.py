"""Packing with isolation against the same documents unpacked, on a real model: loss and gradients.

    python tests/benchmarks/isolation.py MODEL_FOLDER [--gguf FILE] [--text FILE]

Prints the loss of both and the largest relative difference of any parameter's gradient.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from workbench.models.isolation import check_isolation
from workbench.objectives import Batch
from workbench.objectives.clm import IGNORE, CausalLanguageModeling
from workbench.recipe import Recipe

SENTENCES = [
    "A packed row holds several documents.",
    "None of them may see another; the loss must not notice that they share a row.",
    "Short.",
    "Positions start anew at each document, and so does attention: that is all there is to it, "
    "and it is easily got wrong.",
]


Result = tuple[float, list[torch.Tensor]]


def loss_and_gradients(model: Any, rows: list[list[list[int]]], length: int) -> Result:
    """Rows are lists of documents, which are lists of token ids."""
    ids, positions = np.zeros((2, len(rows), length), np.int64)
    targets = np.full((len(rows), length), IGNORE, np.int64)
    for number, documents in enumerate(rows):
        place = 0
        for document in documents:
            end = place + len(document)
            ids[number, place:end] = document
            targets[number, place : end - 1] = document[1:]
            positions[number, place:end] = range(len(document))
            place = end
    count = int((targets != IGNORE).sum())
    arrays = {"input_ids": ids, "targets": targets, "position_ids": positions}
    batch = Batch(arrays, (count,), ids.size)
    objective = CausalLanguageModeling(Recipe(), None)
    loss = objective.loss(model, objective.tensors(batch, torch.device("cpu")), batch).sums[0]
    model.zero_grad()
    (loss / count).backward()
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    return loss.item() / count, gradients


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--gguf")
    options = parser.parse_args()
    source = {"gguf_file": options.gguf} if options.gguf else {}
    tokenizer = AutoTokenizer.from_pretrained(options.model, **source)
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32, **source).eval()
    check_isolation(model)
    documents = [tokenizer(text)["input_ids"] for text in SENTENCES]
    length = sum(map(len, documents)) + 3
    packed, packed_gradients = loss_and_gradients(model, [documents], length)
    alone, alone_gradients = loss_and_gradients(model, [[document] for document in documents], length)
    pairs = zip(packed_gradients, alone_gradients, strict=True)
    worst = max(((a - b).norm() / b.norm()).item() for a, b in pairs if b.norm() > 0)
    print(json.dumps({"packed": packed, "unpacked": alone, "largest_gradient_difference": worst}, indent=1))


if __name__ == "__main__":
    main()
