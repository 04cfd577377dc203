"""The reference of a policy: what it says of the answers, never computed from a policy that has moved.

It is the model as the run began, or another one that the recipe names. What it says is computed once, before
the first step, in the very batches in which the policy will read the same rows: sums of floats depend on the
shapes they are computed in, and so the first rewards are exactly 0 and not about 0.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate.utils import gather_object

from workbench.data.artifact import key_of
from workbench.errors import ModelError, WorkbenchError
from workbench.objectives.base import Batch, to_tensor
from workbench.objectives.preference.reference_cache import (
    EVAL,
    TRAIN,
    ReferenceCache,
    Values,
    record,
    recorded,
    settings_digest,
    weights_digest,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from workbench.objectives.beginning import Beginning
    from workbench.objectives.preference.pair_rows import PairRows

    Score = Callable[[nn.Module, dict[str, Tensor], Batch], Tensor]

PROGRESS = "asking the reference"
KEEP_SECONDS = 30.0
"""How much of the work a kill may cost."""


class Reference:
    """The reference of one run. `named` is another model than the run's own, `has_adapters` says that the
    policy is its adapters and the reference what they stand on; `dress` makes a model that was just loaded
    compute as the policy does."""

    def __init__(
        self, start: Beginning, named: str | None, has_adapters: bool, dress: Callable[[nn.Module], None]
    ) -> None:
        self.start, self.named, self.dress = start, named, dress
        self.has_adapters = has_adapters and named is None
        self._model: nn.Module | None = None

    @contextmanager
    def model(self) -> Iterator[nn.Module]:
        """The reference, ready to read. It is loaded again unless the policy has not moved, or only its
        adapters have."""
        policy: Any = self.start.model
        if self.has_adapters:
            with policy.disable_adapter():
                yield policy
            return
        # Of a sharded policy no process has the weights alone.
        is_whole = not hasattr(policy, "unshard")
        if self.named is None and not self.start.has_moved and self._model is None and is_whole:
            yield policy
            return
        yield self.copy()

    def copy(self) -> nn.Module:
        """A frozen reference of its own, the same on every call. Raises `ModelError` where it is gone."""
        if self._model is None:
            try:
                model = self.start.fresh(self.named) if self.named else self.start.fresh()
            except WorkbenchError as error:
                raise ModelError(
                    f"the reference cannot be loaded: {error.message}",
                    where=error.where,
                    hint="a run goes on against the model it began with: put it back, or start a new run",
                ) from None
            model = model.to(self.start.accelerator.device)
            self.dress(model)
            self._model = model
        return self._model

    def note(self, **more: Any) -> dict[str, Any]:
        """What is noted of the reference in the run's folder: the digests of its `weights` and `settings`,
        and `more`, as they were before the first step."""
        folder = self.start.folder
        known = recorded(folder) if self.start.has_moved and folder is not None else None
        if known is not None:
            return known
        with self.model() as model:
            digests = {"weights": weights_digest(model), "settings": settings_digest(model)}
            noted = {**digests, "model": self.named or "as the run began", **more}
        if self.start.accelerator.is_main_process and folder is not None:
            record(folder, noted)
        return noted

    def check(self, noted: dict[str, Any]) -> None:
        """Raise `ModelError` unless weights and settings that are here now are those that were noted."""
        for name, digest in (("weights", weights_digest), ("settings", settings_digest)):
            with self.model() as model:
                if noted.get(name) not in (None, digest(model)):
                    raise ModelError(
                        f"the reference is not the model that this run began with: its {name} have changed",
                        where=self.named or "model.model_name_or_path",
                        hint=f"put the old {name} back, or start a new run",
                    )

    def precompute(self, score: Score, noted: dict[str, Any], parts: list[Any]) -> None:
        """Give `rows` and `held_out` what the reference says of every answer that they will need: from the
        cache, or computed now. `noted` has the digests of its weights and settings, `parts` is what else it
        depends on beside data and batches."""
        start = self.start
        rows: Any = start.rows
        held_out: Any = start.held_out
        sides = {
            TRAIN: _Side(rows, start.num_rows, start.batch_size, is_whole=True),
            EVAL: _Side(held_out, start.num_held_out, start.held_out_batch_size, is_whole=False),
        }
        sizes = {name: side.rows.store.num_answers for name, side in sides.items()}
        shapes = [start.batch_size, start.held_out_batch_size]
        kind = [start.accelerator.mixed_precision, start.accelerator.device.type]
        digests = [noted["weights"], noted.get("settings")]
        cache = ReferenceCache(key_of(start.data_key, digests, shapes, kind, parts, sizes), sizes)
        values = cache.read()
        work = self._agreed(
            [(name, first) for name, side in sides.items() for first in side.missing(values[name])]
        )
        if work:
            if start.has_moved:
                self.check(noted)
            self._compute(score, cache, values, sides, work)
        for name, side in sides.items():
            side.rows.reference = values[name]
        self._model = None

    def _agreed(self, work: list[tuple[str, int]]) -> list[tuple[str, int]]:
        """The same work for all: one process may read the file while another run writes it."""
        if self.start.accelerator.num_processes == 1:
            return work
        everyone = gather_object(work)
        return sorted(set(map(tuple, everyone)), key=lambda one: (one[0] == EVAL, one[1]))

    def _compute(
        self,
        score: Score,
        cache: ReferenceCache,
        values: Values,
        sides: dict[str, _Side],
        work: list[tuple[str, int]],
    ) -> None:
        accelerator = self.start.accelerator
        processes, mine = accelerator.num_processes, accelerator.process_index
        kept = time.monotonic()
        with self.model() as model, torch.no_grad():
            for begin in range(0, len(work), processes):
                self.start.progress(PROGRESS, begin, len(work))
                found: list[Any] = []
                is_mine = begin + mine < len(work)
                # Where weights are sharded all processes go through as many batches.
                if is_mine or hasattr(model, "unshard"):
                    name, first = work[min(begin + mine, len(work) - 1)]
                    batch = sides[name].batch(first)
                    scores = self._scored(score, model, batch)
                    found = [(name, batch.extra["answers"], scores)] if is_mine else []
                stopping = self.start.is_stopping()
                if processes > 1:
                    found = gather_object(found)
                    stopping = any(gather_object([stopping]))
                for name, answers, sums in found:
                    # The first batch that an answer is in is the first in which it will be trained on.
                    new = np.isnan(values[name][answers])
                    values[name][answers[new]] = sums[new]
                over = begin + processes >= len(work)
                if accelerator.is_main_process and (
                    over or stopping or time.monotonic() - kept > KEEP_SECONDS
                ):
                    cache.write(values)
                    kept = time.monotonic()
                if stopping:
                    self.start.leave()
        self.start.progress(PROGRESS, len(work), len(work))

    def _scored(self, score: Score, model: nn.Module, batch: Batch) -> Any:
        device = self.start.accelerator.device
        tensors = {name: to_tensor(array).to(device) for name, array in batch.arrays.items()}
        with self.start.accelerator.autocast():
            return score(model, tensors, batch).float().cpu().numpy()

    def ask(self, score: Score, tensors: dict[str, Tensor], batch: Batch) -> Tensor:
        """log π_ref of the answers of a batch [S], computed now."""
        policy: Any = self.start.model
        off = policy.disable_adapter() if self.has_adapters else nullcontext()
        with torch.no_grad(), off:
            return score(policy if self.has_adapters else self.copy(), tensors, batch)


@dataclass(frozen=True)
class _Side:
    """Rows from 0 to `until`, read `size` at a time; the last batch is full if `is_whole`, as in training."""

    rows: PairRows
    until: int
    size: int
    is_whole: bool

    def batch(self, first: int) -> Batch:
        """The batch that begins at a row."""
        return self.rows.batch(first, self._count(first))

    def _count(self, first: int) -> int:
        return self.size if self.is_whole else min(self.size, self.until - first)

    def missing(self, known: NDArray[np.float32]) -> list[int]:
        """Where the batches begin that are the first to hold an answer that is not known."""
        unknown = np.isnan(known)
        found = []
        for first in range(0, self.until, self.size):
            indices = self.rows.rows.indices(first, self._count(first))
            answers = [answer for number in indices for answer in self.rows.element(int(number)).answers]
            if unknown[answers].any():
                unknown[answers] = False
                found.append(first)
            elif not unknown.any():
                break
        return found
