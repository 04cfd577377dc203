"""Guards that stop a collapse of PPO: KL runaway, entropy collapse, length drift.

They watch three numbers of each batch of rollouts and compare medians, so that single wild batches say
nothing: a change must be large in itself and large beside the noise that the run has shown.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from scipy.stats import mannwhitneyu

from workbench.errors import RecipeError

Kind = Literal["kl_runaway", "kl_negative", "entropy_collapse", "length_drift", "not_finite"]


@dataclass(frozen=True)
class GuardLimits:
    """When to speak.

    `window` batches say what is usual, the last `recent` what is now. Beside all else a change must be less
    likely than `chance` if both were noise alone. `kl_limit` in nats a response stands for itself (None for
    no limit; six times the target is a fair one); below `kl_floor` no growth is called a runaway, above it
    growth by `kl_growth` within the window is. Entropy has collapsed below `entropy_fraction` of what it was
    at the start; length has drifted by `length_factor` or more, either way.
    """

    window: int = 24
    recent: int = 8
    chance: float = 1e-5
    kl_limit: float | None = None
    kl_floor: float = 10.0
    kl_growth: float = 4.0
    kl_negative: float = -1.0
    entropy_fraction: float = 0.25
    length_factor: float = 2.0

    def __post_init__(self) -> None:
        right = {
            "window": self.window >= 5,
            "recent": 1 <= self.recent <= self.window,
            # The least that the test can give, for samples that do not overlap.
            "chance": 2 / math.comb(max(self.window, 1) + max(self.recent, 0), max(self.recent, 0))
            < self.chance
            < 1,
            "kl_limit": self.kl_limit is None or self.kl_limit > 0,
            "kl_floor": self.kl_floor > 0,
            "kl_growth": self.kl_growth > 1,
            "kl_negative": self.kl_negative < 0,
            "entropy_fraction": 0 < self.entropy_fraction < 1,
            "length_factor": self.length_factor > 1,
        }
        for name, fine in right.items():
            if not fine:
                raise RecipeError(
                    f"{name} of the guards cannot be {getattr(self, name)}",
                    where=name,
                    hint=f"the default is {getattr(GuardLimits, name)}",
                )


@dataclass(frozen=True)
class Alarm:
    """What a guard saw: one plain sentence on what happened, one on what helps."""

    kind: Kind
    sentence: str
    advice: str


@dataclass(frozen=True)
class Change:
    """Medians of what is usual and of the last few."""

    before: float
    now: float


class Series:
    """One number over time: what was usual, and the last few. What is usual moves on, or, anchored, stays
    what it was at the start."""

    def __init__(self, window: int, recent: int, *, anchored: bool) -> None:
        self.anchored = anchored
        self.usual: deque[float] = deque(maxlen=window)
        self.recent: deque[float] = deque(maxlen=recent)

    def push(self, value: float) -> None:
        """Take a value in; the oldest recent one joins those that are usual."""
        full = len(self.usual) == self.usual.maxlen
        if len(self.recent) == self.recent.maxlen and not (self.anchored and full):
            self.usual.append(self.recent[0])
        self.recent.append(value)

    def now(self) -> float | None:
        """The median of the last few; None before there are enough."""
        return median(self.recent) if len(self.recent) == self.recent.maxlen else None

    def change(self) -> Change | None:
        """From what is usual to now; None before there is enough to tell."""
        now = self.now()
        if now is None or len(self.usual) < (self.usual.maxlen or 0):
            return None
        return Change(median(self.usual), now)

    def chance(self) -> float:
        """How likely two samples of one distribution, whatever it is, lie as far apart as what is usual and
        the last few (the rank-sum test of Wilcoxon 1945, Mann and Whitney 1947).

        Ranks do not mind outliers or heavy tails, where a deviation estimated from two dozen numbers gave
        false alarms. The test takes a millisecond, so it is asked last.
        """
        ties = len({*self.usual, *self.recent}) < len(self.usual) + len(self.recent)
        method = "asymptotic" if ties else "exact"
        return float(mannwhitneyu(list(self.recent), list(self.usual), method=method).pvalue)


class Guards:
    """Watches a run; `observe` after each batch of rollouts. The state belongs in the checkpoint."""

    def __init__(self, limits: GuardLimits | None = None) -> None:
        self.limits = limits or GuardLimits()
        size = (self.limits.window, self.limits.recent)
        # KL starts at 0 and rises in every healthy run, so it is compared with what it just was.
        self.kl = Series(*size, anchored=False)
        self.entropy = Series(*size, anchored=True)
        self.length = Series(*size, anchored=True)

    def observe(self, *, kl: float, entropy: float, length: float) -> list[Alarm]:
        """Alarms after a batch: mean KL of a response in nats (the sum over its tokens), mean entropy of a
        token in nats, mean length of a response in tokens. Empty while all is well."""
        for name, value in (("KL", kl), ("entropy", entropy), ("length", length)):
            if not math.isfinite(value):
                return [
                    Alarm(
                        "not_finite",
                        f"The {name} of the rollouts is {value}: the policy no longer answers with numbers.",
                        "Resume from an earlier checkpoint with a lower learning_rate or max_grad_norm.",
                    )
                ]
        self.kl.push(kl)
        self.entropy.push(entropy)
        self.length.push(length)
        alarms = (self._kl(), self._entropy(), self._length())
        return [alarm for alarm in alarms if alarm is not None]

    def _kl(self) -> Alarm | None:
        limits, now, change = self.limits, self.kl.now(), self.kl.change()
        if now is None:
            return None
        if now < limits.kl_negative:
            return Alarm(
                "kl_negative",
                f"The KL to the reference is {now:.2f} nats a response, and below 0 it cannot be: the "
                "responses were not drawn from the distribution that their log-probabilities come from.",
                "Sample with the temperature that log-probabilities are divided by, without top-k or top-p.",
            )
        start = ""
        if limits.kl_limit is not None and now > limits.kl_limit:
            start = f"above the limit of {limits.kl_limit:g}"
        elif (
            change
            and now > max(limits.kl_floor, limits.kl_growth * change.before)
            and self.kl.chance() < limits.chance
        ):
            start = f"up from {change.before:.1f} within {limits.window + limits.recent} batches"
        if not start:
            return None
        return Alarm(
            "kl_runaway",
            f"The policy is running away from the reference: KL is {now:.1f} nats a response, {start}.",
            "Raise kl_coef or use the adaptive one, lower learning_rate, and look whether the reward is "
            "being cheated.",
        )

    def _entropy(self) -> Alarm | None:
        change = self.entropy.change()
        if (
            change is None
            or change.now >= self.limits.entropy_fraction * change.before
            or self.entropy.chance() >= self.limits.chance
        ):
            return None
        return Alarm(
            "entropy_collapse",
            f"The policy has stopped exploring: entropy is {change.now:.3f} nats a token, and was "
            f"{change.before:.3f} when the run began.",
            "Raise kl_coef, lower learning_rate or the number of epochs over each batch; the responses are "
            "probably all alike.",
        )

    def _length(self) -> Alarm | None:
        change, factor = self.length.change(), self.limits.length_factor
        if (
            change is None
            or change.before / factor < change.now < change.before * factor
            or self.length.chance() >= self.limits.chance
        ):
            return None
        longer = change.now > change.before
        return Alarm(
            "length_drift",
            f"Responses have become {'longer' if longer else 'shorter'}: {change.now:.0f} tokens, and "
            f"{change.before:.0f} when the run began.",
            "Look whether the reward simply prefers "
            + ("length; set a penalty for responses that do not end." if longer else "short answers."),
        )

    def state_dict(self) -> dict[str, Any]:
        """All that was seen and still counts, as plain lists."""
        series = {"kl": self.kl, "entropy": self.entropy, "length": self.length}
        return {name: {"usual": list(s.usual), "recent": list(s.recent)} for name, s in series.items()}

    def load_state_dict(self, state: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
        """Go on from there."""
        for name, series in (("kl", self.kl), ("entropy", self.entropy), ("length", self.length)):
            for part in ("usual", "recent"):
                values: deque[float] = getattr(series, part)
                values.clear()
                values.extend(state[name][part])
