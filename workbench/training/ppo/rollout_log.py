"""`rollouts.jsonl`: some answers of each iteration, token by token, for a person to read as training goes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from workbench.errors import storage_error
from workbench.training.ppo.experience import Experience, Rollout
from workbench.training.samples import drop_later

BEHIND = 8
"""Tokens before a token that its text may depend on."""


class RolloutLog:
    """Appends at most `most` answers of an iteration, the first ones.

    A record has `step`, `prompt`, `pieces` of text, and for each of these `kl` (log π − log π_ref, nats),
    `advantages`, and `values` where there is a critic; `score`, its `parts`, `reward` with the KL taken off,
    and whether it `ended`.
    """

    def __init__(self, path: Path, tokenizer: Any, most: int, *, has_critic: bool) -> None:
        self.path, self.tokenizer, self.most = path, tokenizer, most
        self.has_critic = has_critic

    def resume(self, step: int) -> None:
        """Drop answers of later iterations: they will be written again."""
        drop_later(self.path, step)

    def write(self, step: int, rollout: Rollout, experience: Experience) -> None:
        """The answers of iteration `step`."""
        records = b""
        for number in range(min(self.most, len(rollout.answers))):
            record = self._record(step, number, rollout, experience)
            records += orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
        if not records:
            return
        try:
            with self.path.open("ab") as file:
                file.write(records)
        except OSError as error:
            raise storage_error(error, self.path) from None

    def _record(self, step: int, number: int, rollout: Rollout, experience: Experience) -> dict[str, Any]:
        ids = rollout.answers[number].ids
        count = len(ids)

        def of(table: Any) -> list[float]:
            return [round(value, 4) for value in table[number, :count].tolist()]

        kl, score = experience.kl, float(experience.scores[number])
        record = {
            "step": step,
            "time": time.time(),
            "prompt": self.tokenizer.decode(rollout.prompts[number]),
            "pieces": pieces(self.tokenizer, ids),
            "kl": of(kl),
            "score": _number(score),
            "parts": {name: _number(float(values[number])) for name, values in rollout.scores.parts.items()},
            "reward": _number(score + float(experience.non_score[number].sum())),
            "ended": bool(rollout.ended[number]),
            "advantages": of(experience.advantages),
        }
        if self.has_critic:
            record["values"] = of(experience.judged.values)
        return record


def _number(value: float) -> float | None:
    return None if value != value else round(value, 5)


def pieces(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """The text that each token adds. Bytes of a character that is not whole yet add nothing: the token that
    completes it has all of it."""
    found, said = list[str](), 0
    for place in range(len(ids)):
        start = max(0, min(said, place) - BEHIND)
        before = str(tokenizer.decode(ids[start:said]))
        now = str(tokenizer.decode(ids[start : place + 1]))
        if now.endswith("�") and place + 1 < len(ids):
            found.append("")
            continue
        found.append(now[len(before) :] if now.startswith(before) else now)
        said = place + 1
    return found
