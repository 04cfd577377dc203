"""The answers of a streamed request, put together from their pieces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from workbench.inference.generation import Completion, Delta, OnDelta


@dataclass
class Growing:
    """Passes each piece on to `on_delta`, and each answer that is complete to `on_completion`."""

    on_delta: OnDelta | None = None
    on_completion: Callable[[Completion], None] | None = None
    completions: dict[int, Completion] = field(default_factory=dict)

    def hear(self, delta: Delta) -> None:
        """Take in a piece."""
        completion = self.completions.setdefault(delta.index, Completion(delta.index))
        completion.text += delta.text
        completion.logprobs.extend(delta.logprobs)
        if self.on_delta is not None:
            self.on_delta(delta)
        if delta.finish_reason is not None and completion.finish_reason is None:
            completion.finish_reason = delta.finish_reason
            if self.on_completion is not None and delta.finish_reason != "cancelled":
                self.on_completion(completion)

    def so_far(self) -> list[Completion]:
        """All answers that have begun, in order; those that were not complete count as cancelled."""
        return [
            replace(completion, finish_reason=completion.finish_reason or "cancelled")
            for _, completion in sorted(self.completions.items())
        ]
