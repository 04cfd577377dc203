"""A model that is a table: the next byte depends on the last ones, so that every answer is known beforehand.

Tokens are bytes, and one that ends an answer. A prompt is continued by the letters that follow its last
byte: after `a` come b, c, d, …, z, and then the end.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from workbench.inference.engine.placed_prefix import PlacedPrefix
from workbench.inference.loading.soft_prompt import SoftPrompt

EOS = 256
VOCABULARY = 257


class ByteTokenizer:
    """Bytes as tokens."""

    all_special_tokens: tuple[str, ...] = ()

    def decode(self, ids: Sequence[int], **options: object) -> str:
        return bytes(token for token in ids if token != EOS).decode(errors="replace")

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": list(text.encode())}

    def convert_ids_to_tokens(self, token: int) -> str:
        return self.decode([token])


@dataclass(eq=False)
class FakePrefill:
    prompt: list[int]
    cached: int
    remaining: int
    shared: bool = True


@dataclass(eq=False)
class FakeHandle:
    ids: list[int]
    capacity: int
    length: int
    prompt: int
    is_closed: bool = False


@dataclass
class FakeRunner:
    """Counts what is open and how wide steps are; fails where it is told to."""

    max_length: int = 1000
    chunk: int = 8
    batch_invariant: bool = True
    shares_prompt: bool = True
    sharpness: float = 50.0
    bytes_per_token: int = 1024
    vocabulary: int = VOCABULARY
    name: str = "fake"
    prefix: PlacedPrefix[None] | None = None
    opened: list[FakeHandle] = field(default_factory=list)
    prefills: list[FakePrefill] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)
    fail_at_step: int | None = None
    seconds: float = 0.0

    def logits_after(self, last: int) -> torch.Tensor:
        logits = torch.zeros(VOCABULARY)
        following = EOS if last in (ord("z"), EOS) else min(last + 1, 255)
        logits[following] = self.sharpness
        return logits

    @property
    def embeddings(self) -> torch.Tensor:
        return torch.eye(self.vocabulary)

    def place(self, soft_prompt: SoftPrompt) -> PlacedPrefix[None]:
        length = soft_prompt.length
        return PlacedPrefix(length, soft_prompt.key, length * self.bytes_per_token, 0, None)

    def room(self, prompt: int, prefix: PlacedPrefix[Any] | None = None) -> int:
        return self.max_length - prompt - (prefix.length if prefix else 0)

    def begin(
        self,
        prompt: Sequence[int],
        *,
        exact: bool = False,
        all_logits: bool = False,
        prefix: PlacedPrefix[Any] | None = None,
        samples: int = 1,
    ) -> FakePrefill:
        prefill = FakePrefill(list(prompt), 0, len(prompt), self.shares_prompt)
        self.prefills.append(prefill)
        self.all_logits = all_logits
        return prefill

    def advance(self, prefill: FakePrefill) -> torch.Tensor | None:
        start = len(prefill.prompt) - prefill.remaining
        read = prefill.prompt[start : start + self.chunk]
        prefill.remaining -= len(read)
        if self.all_logits:
            return torch.stack([self.logits_after(token) for token in read])
        return self.logits_after(read[-1]) if prefill.remaining == 0 else None

    def open(self, prefill: FakePrefill, capacity: int, *, alone: bool = False) -> FakeHandle:
        assert prefill in self.prefills
        handle = FakeHandle(list(prefill.prompt), capacity, len(prefill.prompt), len(prefill.prompt))
        self.opened.append(handle)
        return handle

    def decode(self, handles: Sequence[FakeHandle], tokens: Sequence[int]) -> torch.Tensor:
        if self.seconds:
            time.sleep(self.seconds)
        self.widths.append(len(handles))
        if self.fail_at_step == len(self.widths):
            raise RuntimeError("the device fell off the bus")
        assert len(set(map(id, handles))) == len(handles)
        for handle, token in zip(handles, tokens, strict=True):
            assert not handle.is_closed
            handle.ids.append(token)
            handle.length += 1
            assert handle.length < handle.prompt + handle.capacity
        return torch.stack([self.logits_after(handle.ids[-1]) for handle in handles])

    def close(self, handle: FakeHandle, ids: Sequence[int] | None = None) -> None:
        assert not handle.is_closed
        if ids is not None:
            assert list(ids) == handle.ids
        handle.is_closed = True
        self.opened.remove(handle)

    def forget(self, prefill: FakePrefill) -> None:
        self.prefills.remove(prefill)

    def cached_bytes(self) -> int:
        return 0

    def shrink(self, wanted: int) -> None:
        assert wanted >= 0
