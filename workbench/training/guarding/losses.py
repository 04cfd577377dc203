"""Watching the loss: spikes and divergence, told from noise by medians and ranks.

A loss is high where it lies above the median of the steps before by more robust standard deviations than
allowed, by a quarter more than all residuals of the window but one, and by a tenth; it is raised where it
does so by half as many and a twentieth. A single high loss is a batch; three in a row that are high, or four
of five, or five of five that are raised, are a model that was damaged. The deviation is that of differences
from step to step, 1.4826 / √2 times their median size (Hampel 1974; von Neumann 1941), for a loss that falls
makes residuals drift. The rule of ranks is what keeps heavy tails quiet: whatever the distribution of
independent residuals is, the last three are among the four largest of 256 + 3 with a chance of
256 / C(259, 4) = 1.4 · 10⁻⁶, and all else must be met too. With a history of n steps that is 24 / n³, which
is why it is long; as long as it is short five in a row are asked for: 720 / n⁵.

The quarter is for losses of few values, a batch with one record of a rare class or with none: there the
largest are all but equal, and grow as the model learns how rare they are. For them, too, eight losses are a
divergence only beyond what a tenth of the steps reach.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from heapq import nlargest
from itertools import pairwise, takewhile
from statistics import median
from typing import Any, Literal, NamedTuple

from workbench.recipe.stability_section import LEAST_HISTORY

BASELINE = 16
"""Steps whose median is the level: short, for the loss falls fast at first; long enough for a fifth of them
to be wild."""
PENDING = 5
"""Steps that an alarm is made of."""
SHORT = 96
"""With fewer residuals than these chance has three in a row too often."""
FIRST = 5
"""Steps that say at what level a run began."""
OF_FIRST, OF_LEVEL = 0.03, 0.1
"""A rise of less than these shares of the first level and of the present one is not high, however quiet it
was."""
RAISED = 0.5
"""Of the deviations and of the share of the level that make a loss high, what makes it raised."""
BEYOND = 1.25
"""So many times what is usual among the largest residuals is not usual."""
MAD_TO_DEVIATION = 1.4826

RISEN = 8
"""Steps that must all lie above the best level by the margin, for a divergence."""
DIVERGED_OF_FIRST, DIVERGED_OF_BEST = 0.05, 0.2
OFTEN = 0.1
"""What this share of the residuals reach is nothing unusual, also eight times in a row."""
EARLY_FACTOR = 2.0
"""Before there is a history: so many times the highest of the first losses."""

Kind = Literal["loss_spike", "divergence"]


@dataclass(frozen=True)
class Finding:
    """An alarm of the loss: since which step it was high, the level before and the limit that was passed."""

    kind: Kind
    onset: int
    level: float
    limit: float
    loss: float
    deviation: float


@dataclass(frozen=True)
class Outlier:
    """One high loss that was followed by ordinary ones."""

    step: int
    level: float
    limit: float
    loss: float
    deviation: float


class Seen(NamedTuple):
    """A step that is not yet part of what is usual, with what its residual was measured by."""

    step: int
    loss: float
    residual: float
    raised_at: float
    high_at: float
    level: float
    deviation: float

    @property
    def is_raised(self) -> bool:
        return self.residual > self.raised_at

    @property
    def is_high(self) -> bool:
        return self.residual > self.high_at


class LossWatch:
    """The losses of a run, step by step. All it knows is in `state_dict`, exactly."""

    def __init__(self, *, window: int, threshold: float, patience: int) -> None:
        self.threshold, self.patience = threshold, patience
        self.levels: deque[float] = deque(maxlen=BASELINE)
        self.residuals: deque[float] = deque(maxlen=window)
        self.pending: deque[Seen] = deque()
        self.latest: deque[float] = deque(maxlen=RISEN)
        self.first: list[float] = []
        self.best: float | None = None
        self.best_step = 0

    @property
    def is_warm(self) -> bool:
        """Whether there is a history to compare with."""
        return len(self.residuals) >= LEAST_HISTORY

    @property
    def is_high(self) -> bool:
        """Whether one of the last steps was high, or the loss is well above its best."""
        return any(seen.is_high for seen in self.pending) or self._has_risen()

    @property
    def is_doubtful(self) -> bool:
        """Whether two of the last steps were high, or the loss is well above its best: more than one batch
        that is unlike the others."""
        return sum(seen.is_high for seen in self.pending) > 1 or self._has_risen()

    @property
    def is_suspicious(self) -> bool:
        """Whether one of the last steps was raised, or the loss is well above its best."""
        return any(seen.is_raised for seen in self.pending) or self._has_risen()

    def _has_risen(self) -> bool:
        return len(self.latest) == RISEN and self._margin_below(median(self.latest)) is not None

    def observe(self, step: int, loss: float) -> Finding | Outlier | None:
        """Take the finite loss of a step in; what there is to say about it."""
        if len(self.first) < FIRST:
            self.first.append(loss)
        self.latest.append(loss)
        level = median(self.levels) if len(self.levels) == BASELINE else None
        usual = None if level is None else loss - level
        residual, deviation = -math.inf, self._deviation()
        raised = limit = math.inf
        if level is not None:
            residual = loss - level
            raised, limit = self._limits(level, deviation) if self.is_warm else self._early_limits(level)
        elif len(self.first) == FIRST:
            level = max(self.first)
            residual, (raised, limit) = loss - level, self._early_limits(level)
        seen = Seen(step, loss, residual, raised, limit, 0.0 if level is None else level, deviation)
        self.pending.append(seen)
        found = self._spike() or self._divergence()
        if found is not None:
            return found
        if not seen.is_raised:
            self._accept(step, loss, usual)
        return self._age()

    def reset(self) -> None:
        """Forget what was usual: what is now is usual from here on."""
        fresh = LossWatch(
            window=self.residuals.maxlen or LEAST_HISTORY, threshold=self.threshold, patience=self.patience
        )
        self.load_state_dict(fresh.state_dict())

    def _deviation(self) -> float:
        """The robust standard deviation of the residuals, without their drift."""
        if len(self.residuals) < 2:
            return 0.0
        steps = pairwise(self.residuals)
        return MAD_TO_DEVIATION / math.sqrt(2) * median(abs(after - before) for before, after in steps)

    def _limits(self, level: float, deviation: float) -> tuple[float, float]:
        """How far above the level a loss is raised, and high."""
        most, first = BEYOND * nlargest(2, self.residuals)[1], OF_FIRST * abs(median(self.first))
        share, threshold = OF_LEVEL * abs(level), self.threshold * deviation
        return max(RAISED * threshold, RAISED * share, most, first), max(threshold, share, most, first)

    def _early_limits(self, level: float) -> tuple[float, float]:
        """Without a history only what doubles is high, and only where the first losses had a level at all."""
        lowest, highest = min(self.first), max(self.first)
        if lowest <= highest / EARLY_FACTOR:
            return math.inf, math.inf
        limit = max((EARLY_FACTOR - 1) * abs(level), EARLY_FACTOR * highest - level)
        return limit, limit

    def _spike(self) -> Finding | None:
        """Enough high losses in a row up to this one, or one more among the last five; or five that are
        raised, and only these while the history is short."""
        last = list(self.pending)[-PENDING:]
        high = [seen for seen in last if seen.is_high] if last[-1].is_high else []
        in_a_row = len(list(takewhile(lambda seen: seen.is_high, reversed(last))))
        is_short = self.is_warm and len(self.residuals) < SHORT
        if is_short or (in_a_row < self.patience and len(high) <= self.patience):
            high = last if len(last) == PENDING and all(seen.is_raised for seen in last) else []
        if not high:
            return None
        first, now = high[0], last[-1]
        limit = first.high_at if first.is_high else first.raised_at
        return Finding("loss_spike", first.step, first.level, first.level + limit, now.loss, first.deviation)

    def _margin_below(self, loss: float) -> float | None:
        """The level above which a loss has left its best for good, where this one lies above it; there is
        none before there is a best."""
        if self.best is None or not self.is_warm:
            return None
        rise = max(
            DIVERGED_OF_FIRST * abs(median(self.first)),
            DIVERGED_OF_BEST * abs(self.best),
            self.threshold * self._deviation(),
        )
        # What takes longer to tell is asked last, for hardly ever is there anything to ask.
        if loss > self.best + rise:
            rise = max(rise, BEYOND * nlargest(round(OFTEN * len(self.residuals)), self.residuals)[-1])
        return self.best + rise if loss > self.best + rise else None

    def _divergence(self) -> Finding | None:
        if len(self.latest) < RISEN:
            return None
        margin = self._margin_below(min(self.latest))
        if margin is None or self.best is None:
            return None
        return Finding(
            "divergence", self.best_step + 1, self.best, margin, self.latest[-1], self._deviation()
        )

    def _accept(self, step: int, loss: float, usual: float | None) -> None:
        """An ordinary loss: it says what is usual; `usual` is how far above the level it lies."""
        self.levels.append(loss)
        if usual is not None:
            self.residuals.append(usual)
        if len(self.levels) == BASELINE and self.is_warm:
            level = median(self.levels)
            if self.best is None or level < self.best:
                self.best, self.best_step = level, step

    def _age(self) -> Outlier | None:
        """Let the oldest step go; a high one was noise after all, and belongs to what is usual."""
        if len(self.pending) <= PENDING:
            return None
        seen = self.pending.popleft()
        if not seen.is_raised:
            return None
        self.levels.append(seen.loss)
        if math.isfinite(seen.residual):
            self.residuals.append(seen.residual)
        if not self.is_warm or seen.residual <= 3 * seen.high_at:
            return None
        return Outlier(seen.step, seen.level, seen.level + seen.high_at, seen.loss, seen.deviation)

    def state_dict(self) -> dict[str, Any]:
        """All of it, as plain numbers; what is infinite is left to `json`, which keeps it."""
        return {
            "levels": list(self.levels),
            "residuals": list(self.residuals),
            "pending": [list(entry) for entry in self.pending],
            "latest": list(self.latest),
            "first": list(self.first),
            "best": self.best,
            "best_step": self.best_step,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with it."""
        for name in ("levels", "residuals", "latest"):
            kept: deque[float] = getattr(self, name)
            kept.clear()
            kept.extend(state[name])
        self.pending = deque(Seen(int(step), *rest) for step, *rest in state["pending"])
        self.first = list(state["first"])
        self.best, self.best_step = state["best"], int(state["best_step"])
