"""Sums asked of models: whether the greedy answer is right to the letter, and how likely the right one is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from workbench.data.framing import frame_for
from workbench.errors import ModelError
from workbench.prediction.opening import Opened, device_of, open_model

if TYPE_CHECKING:
    from workbench.prediction.events import Events

ROOM = 4
"""Tokens that an answer may be longer than the longest right one before it is cut."""
END = "\n"


def sums(request: dict[str, Any], events: Events) -> None:
    """Ask each of `models` (folders) every one of `items` (`prompt`, `answer`).

    Sends `model` for each: its `name`, and for each item `exact` (the whole answer, with its end), `result`
    (the last number), `log_likelihood` of the right answer in nats, its `tokens` and `digits`.
    """
    device = device_of(request["device"])
    for number, entry in enumerate(request["models"]):
        opened = open_model(entry["folder"], device)
        if opened.purpose.objective != "clm":
            raise ModelError(
                "only a causal language model can be asked to go on with a sum", where=entry["folder"]
            )
        found = []
        size = request["batch_size"]
        for start in range(0, len(request["items"]), size):
            found += _answers(opened, request["items"][start : start + size], device)
            done = number * len(request["items"]) + len(found)
            events.progress("asking", done, len(request["models"]) * len(request["items"]))
        events.send("model", name=entry["name"], items=found)


def _answers(opened: Opened, items: Sequence[dict[str, Any]], device: torch.device) -> list[dict[str, Any]]:
    """Greedy answers and likelihoods of one batch."""
    pairs = [_encoded(opened, item["prompt"], item["answer"] + END) for item in items]
    likelihoods = _likelihoods(opened, pairs, device)
    texts = _greedy(opened, pairs, device)
    found = []
    for item, (_, answer), likelihood, text in zip(items, pairs, likelihoods, texts, strict=True):
        line, end, _ = text.partition(END)
        right = item["answer"]
        found.append(
            {
                "exact": bool(end) and line == right,
                "result": bool(end) and line.rpartition("=")[2] == right.rpartition("=")[2],
                "log_likelihood": likelihood,
                "tokens": len(answer),
                "digits": sum(letter.isdigit() for letter in right),
                "text": line[:80],
            }
        )
    return found


def _encoded(opened: Opened, prompt: str, answer: str) -> tuple[list[int], list[int]]:
    """Prompt and answer as the model reads them in one text, with as many solved sums before the question as
    its context has room for: of positions that it never saw it can say nothing.

    Raises `ModelError` where one token spans the boundary, for then there is no asking the one without a part
    of the other.
    """
    encode = opened.tokenizer
    # As texts begin in training.
    beginning = frame_for("clm", opened.tokenizer).prefix
    whole = encode(prompt + answer, add_special_tokens=False)["input_ids"]
    while len(beginning) + len(whole) + ROOM > opened.max_length and END in prompt:
        prompt = prompt.partition(END)[2]
        whole = encode(prompt + answer, add_special_tokens=False)["input_ids"]
    first = encode(prompt, add_special_tokens=False)["input_ids"]
    if whole[: len(first)] != first or len(whole) == len(first):
        raise ModelError(
            "the tokenizer joins the end of a question with the beginning of its answer", where=opened.name
        )
    return [*beginning, *first], whole[len(first) :]


@torch.no_grad()
def _likelihoods(
    opened: Opened, pairs: Sequence[tuple[list[int], list[int]]], device: torch.device
) -> list[float]:
    """log p(answer | prompt) in nats, in fp32; rows are padded on the right, where nobody looks."""
    length = max(len(prompt) + len(answer) for prompt, answer in pairs)
    ids = torch.zeros(len(pairs), length, dtype=torch.long)
    for row, (prompt, answer) in enumerate(pairs):
        ids[row, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
    logits = opened.model(input_ids=ids.to(device)).logits.float()
    log_odds = torch.log_softmax(logits[:, :-1], -1).gather(-1, ids[:, 1:, None].to(device))[..., 0].cpu()
    return [
        float(log_odds[row, len(prompt) - 1 : len(prompt) + len(answer) - 1].sum())
        for row, (prompt, answer) in enumerate(pairs)
    ]


@torch.no_grad()
def _greedy(opened: Opened, pairs: Sequence[tuple[list[int], list[int]]], device: torch.device) -> list[str]:
    """What the model says by itself, as text; prompts are padded on the left."""
    length = max(len(prompt) for prompt, _ in pairs)
    pad = opened.tokenizer.pad_token_id
    ids = torch.full((len(pairs), length), 0 if pad is None else pad, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, (prompt, _) in enumerate(pairs):
        ids[row, length - len(prompt) :] = torch.tensor(prompt)
        mask[row, length - len(prompt) :] = 1
    new = max(len(answer) for _, answer in pairs) + ROOM
    out = opened.model.generate(
        input_ids=ids.to(device),
        attention_mask=mask.to(device),
        max_new_tokens=new,
        do_sample=False,
        pad_token_id=0 if pad is None else pad,
    )
    return [opened.tokenizer.decode(row, skip_special_tokens=True) for row in out[:, length:].cpu()]
