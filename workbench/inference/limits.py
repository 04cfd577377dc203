"""What an engine may use at most. No torch."""

from __future__ import annotations

from dataclasses import dataclass

MAX_SEQUENCES = 16
MAX_QUEUE = 256


@dataclass(frozen=True)
class Limits:
    """Sequences in one step, bytes of keys and values, requests that wait."""

    max_sequences: int = MAX_SEQUENCES
    memory_bytes: int = 2 << 30
    max_queue: int = MAX_QUEUE
