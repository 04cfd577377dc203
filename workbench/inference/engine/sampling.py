"""Drawing tokens from logits: each sequence by its own settings and its own random numbers.

What a sequence draws depends on its logits, its settings and its seed alone: rows that need the same
kind of work are worked on together, but never so that one changes another's numbers.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence as Many

import numpy as np
import torch
from torch.nn.functional import pad

from workbench.inference.engine.requests import SamplingParams, TokenInfo

GROUP = 128
FEW, MANY = 64, 1024
"""How many of the likeliest tokens are looked at, where that is enough: sorting all 49,152 logits of a
row takes 3 ms, finding the first 64 takes 0.1."""


class SamplerState:
    """What one sequence brings along from token to token."""

    def __init__(self, params: SamplingParams, prompt: Many[int], index: int, eos: frozenset[int]) -> None:
        self.params = params
        self.eos = eos
        # Samples of one request differ, and each is the same whenever it is drawn again.
        self.random = random.Random() if params.seed is None else random.Random(f"{params.seed}/{index}")
        self.written: Counter[int] = Counter()
        self._seen = set(prompt) if params.repetition_penalty != 1.0 else set()

    def accept(self, token: int) -> None:
        """Remember a token that was drawn."""
        self.written[token] += 1
        if self.params.repetition_penalty != 1.0:
            self._seen.add(token)

    def adjusts(self) -> bool:
        """Whether `adjust` would change anything."""
        p = self.params
        penalised = self.written and (p.presence_penalty or p.frequency_penalty)
        return bool(penalised or self._seen or p.logit_bias or p.min_tokens > self.written.total())

    def adjust(self, logits: torch.Tensor) -> None:
        """Change logits [V] in place: penalties, biases, no end before `min_tokens`."""
        p = self.params
        if self._seen:
            seen = torch.tensor(sorted(self._seen), device=logits.device)
            values = logits[seen]
            logits[seen] = torch.where(
                values > 0, values / p.repetition_penalty, values * p.repetition_penalty
            )
        if self.written and (p.presence_penalty or p.frequency_penalty):
            written = torch.tensor(list(self.written), device=logits.device)
            times = torch.tensor(list(self.written.values()), device=logits.device, dtype=logits.dtype)
            logits[written] -= p.presence_penalty + p.frequency_penalty * times
        for token, bias in p.logit_bias.items():
            logits[token] += bias
        if p.min_tokens > self.written.total():
            logits[sorted(self.eos)] = -torch.inf


def draw(logits: torch.Tensor, states: Many[SamplerState]) -> list[int]:
    """One token a row. `logits` [B, V] fp32 have been adjusted and masked already."""
    tokens = [0] * len(states)
    greedy = [row for row, state in enumerate(states) if state.params.temperature == 0]
    if greedy:
        for row, token in zip(greedy, logits[greedy].argmax(-1).tolist(), strict=True):
            tokens[row] = token
    drawn = [row for row, state in enumerate(states) if state.params.temperature != 0]
    for row, token in zip(drawn, _draw_all(logits, states, drawn), strict=True):
        tokens[row] = token
    return tokens


def _draw_all(logits: torch.Tensor, states: Many[SamplerState], rows: list[int]) -> list[int]:
    groups: dict[int, list[int]] = {}
    for row in rows:
        groups.setdefault(_looked_at(states[row].params, logits.shape[1]), []).append(row)
    tokens: dict[int, int] = {}
    for size, members in groups.items():
        temperatures = torch.tensor(
            [[states[row].params.temperature] for row in members], device=logits.device
        )
        chosen = logits if len(members) == len(logits) else logits[members]
        if size == 0:
            tokens.update(
                zip(members, _draw_untruncated(chosen / temperatures, states, members), strict=True)
            )
            continue
        values, ids = chosen.topk(size, -1)
        values /= temperatures
        # Of the first `top_k` only their share of each other matters, and that spares the sum over all.
        total = values[:, :1]
        if any(not states[row].params.top_k for row in members):
            total = (chosen / temperatures).logsumexp(-1, keepdim=True)
        likeliest, order = (values - total).double().exp().cpu().numpy(), ids.cpu().numpy()
        for place, row in enumerate(members):
            drawn = _draw_truncated(likeliest[place], states[row])
            if drawn is None:  # the mass asked for lies deeper than what was looked at
                every, all_ids = (chosen[place] / temperatures[place]).sort(descending=True, stable=True)
                whole = (every - total[place]).double().exp().cpu().numpy()
                drawn = _draw_truncated(whole, states[row])
                assert drawn is not None
                tokens[row] = int(all_ids[drawn])
            else:
                tokens[row] = int(order[place, drawn])
    return [tokens[row] for row in rows]


def _looked_at(params: SamplingParams, vocabulary: int) -> int:
    """How many of the likeliest tokens to look at; 0 where nothing is cut off."""
    if params.top_k and params.top_k < vocabulary:
        sizes = [size for size in (FEW, MANY) if params.top_k <= size < vocabulary]
        return sizes[0] if sizes else vocabulary
    if params.top_p >= 1 and params.min_p <= 0:
        return 0
    return min(MANY, vocabulary)


def _draw_untruncated(scaled: torch.Tensor, states: Many[SamplerState], rows: list[int]) -> list[int]:
    """First the group of tokens, then the token in it: summing up all 49,152 in double precision would take
    four times as long as their softmax."""
    unused = -scaled.shape[1] % GROUP
    groups = pad(scaled.softmax(-1), (0, unused)).view(len(rows), -1, GROUP)
    shares = groups.sum(-1).double()
    sums = shares.cumsum(-1)
    numbers = torch.tensor([[states[row].random.random()] for row in rows], dtype=torch.double)
    numbers = numbers.to(sums.device) * sums[:, -1:]
    group = _find(sums, numbers)
    before = sums.gather(1, group) - shares.gather(1, group)
    inside = groups.gather(1, group[:, :, None].expand(-1, -1, GROUP))[:, 0].double().cumsum(-1)
    place = group * GROUP + _find(inside, numbers - before)
    return [int(token) for token in place[:, 0].clamp(max=scaled.shape[1] - 1).tolist()]


def _find(sums: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """The first place [B, 1] whose sum [B, K] is greater; the last one that adds anything, where rounding
    leaves none."""
    last = torch.searchsorted(sums, sums[:, -1:].contiguous())
    return torch.minimum(torch.searchsorted(sums, numbers, right=True), last)


def _draw_truncated(likeliest: np.ndarray, state: SamplerState) -> int | None:
    """The place drawn among probabilities [K] sorted downwards, of all tokens' or the first of them; None if
    those are too few to tell."""
    p = state.params
    incomplete = p.top_k == 0 and len(likeliest) and likeliest.sum() < 1 - 1e-9
    if p.top_k:
        likeliest = likeliest[: p.top_k]
        likeliest = likeliest / likeliest.sum()
    sums = likeliest.cumsum()
    kept = len(likeliest)
    if p.top_p < 1:
        # The first tokens whose mass reaches top_p, the one that crosses the border among them.
        kept = min(kept, int(np.searchsorted(sums, p.top_p)) + 1)
    if p.min_p > 0:
        kept = min(kept, int((likeliest >= p.min_p * likeliest[0]).sum()))
    if incomplete and kept == len(likeliest):
        return None
    kept = max(kept, 1)
    number = state.random.random() * sums[kept - 1]
    return min(int(np.searchsorted(sums[:kept], number, side="right")), kept - 1)


def describe(logits: torch.Tensor, tokens: Many[int], rivals: int) -> list[TokenInfo]:
    """The log-probability of the token of each row, and of the `rivals` likeliest; from raw logits [B, V]."""
    logprobs = logits.log_softmax(-1)
    chosen = logprobs.gather(1, torch.tensor(tokens, device=logits.device)[:, None])[:, 0].tolist()
    if not rivals:
        return [TokenInfo(token, value) for token, value in zip(tokens, chosen, strict=True)]
    values, ids = logprobs.topk(min(rivals, logits.shape[1]), -1)
    return [
        TokenInfo(token, value, tuple(zip(names, numbers, strict=True)))
        for token, value, names, numbers in zip(tokens, chosen, ids.tolist(), values.tolist(), strict=True)
    ]
