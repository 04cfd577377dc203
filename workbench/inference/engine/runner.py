"""What the engine asks of a loaded model: to read prompts, and to take steps for many sequences at once."""

from __future__ import annotations

from collections.abc import Sequence as Many
from typing import Any, Protocol, TypeVar

import torch

from workbench.inference.engine.placed_prefix import PlacedPrefix
from workbench.inference.loading.soft_prompt import SoftPrompt


class Prefill(Protocol):
    """A prompt being read, chunk by chunk, and afterwards what its sequences begin from."""

    cached: int
    """Tokens of the prompt that were found in the cache and need no reading."""
    remaining: int
    """Tokens still to read."""
    shared: bool
    """Whether its samples lie over one copy of its keys and values."""


class Handle(Protocol):
    """The keys and values of one sequence."""

    length: int
    """Tokens it holds, the prompt's among them."""


PrefillKind = TypeVar("PrefillKind", bound=Prefill)
HandleKind = TypeVar("HandleKind", bound=Handle)


class Runner(Protocol[PrefillKind, HandleKind]):
    """A model on its device. All calls come from one thread, under `torch.inference_mode`.

    A sequence's life: `begin` and `advance` until its prompt is read, `open` (once for each of the samples
    that share the prompt, at any time afterwards), `decode` once a token, `close`; `forget` when no more
    sequences will be opened from a prompt.
    """

    vocabulary: int
    """Logits a token has."""
    max_length: int
    """Tokens a sequence may hold, prompt included."""
    bytes_per_token: int
    """What the keys and values of one token take; a runner whose sequences do not grow by so much with every
    token also has `bytes_of(tokens)`."""
    prefix: PlacedPrefix[Any] | None
    """The soft prompt that stands before every prompt which names none."""
    batch_invariant: bool
    """Whether the logits of a sequence are the same, bit for bit, whatever is beside it in `decode`.

    Where not, `decode` is called for seeded sequences one at a time.
    """
    name: str
    """How it runs, for people: `native bf16, 2 threads`."""

    @property
    def embeddings(self) -> torch.Tensor:
        """The vectors of all tokens [V, D]."""
        ...

    def place(self, soft_prompt: SoftPrompt) -> PlacedPrefix[Any]:
        """Make ready for prompts that choose it. Raises `ModelError` where it does not fit the model."""
        ...

    def room(self, prompt: int, prefix: PlacedPrefix[Any] | None = None) -> int:
        """How many tokens may follow a prompt of so many behind a prefix; none or fewer when it is too long
        itself."""
        ...

    def begin(
        self,
        prompt: Many[int],
        *,
        exact: bool = False,
        all_logits: bool = False,
        prefix: PlacedPrefix[Any] | None = None,
        samples: int = 1,
    ) -> PrefillKind:
        """Start on a prompt, behind a prefix that `place` gave, which `samples` sequences will continue. With
        `exact` (seeded requests) only such parts of the cache are used as give the same bits that reading
        would. With `all_logits`, `advance` returns them for every token.
        """
        ...

    def advance(self, prefill: PrefillKind) -> torch.Tensor | None:
        """Read one chunk. The logits [V] (fp32) after the last token once all is read, before that None;
        with `all_logits` those [n, V] of the chunk's tokens, every time."""
        ...

    def open(self, prefill: PrefillKind, capacity: int, *, alone: bool = False) -> HandleKind:
        """A sequence that continues the prompt, by at most `capacity` tokens. One that is `alone` (seeded,
        where the runner is not batch-invariant) is only ever decoded by itself."""
        ...

    def decode(self, handles: Many[HandleKind], tokens: Many[int]) -> torch.Tensor:
        """Append one token to each sequence; the logits [B, V] (fp32) that follow. They may be changed, and
        hold until the next call."""
        ...

    def close(self, handle: HandleKind, ids: Many[int] | None = None) -> None:
        """Free a sequence. `ids` are all its tokens, if it may be kept for a request that continues it."""
        ...

    def forget(self, prefill: PrefillKind) -> None:
        """No more sequences will be opened from this prompt."""
        ...

    def cached_bytes(self) -> int:
        """What is kept only for requests to come."""
        ...

    def shrink(self, wanted: int) -> None:
        """Throw away what is kept only for requests to come, oldest first, until it takes at most
        `wanted` bytes."""
        ...
