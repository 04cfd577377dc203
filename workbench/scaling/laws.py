"""Loss laws of language models: how the loss falls with parameters N and tokens D.

N counts parameters as `Law.count` says, D is tokens seen in training, losses are nats a token.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Count = Literal["total", "non_embedding"]
"""Which parameters N counts: all (Hoffmann et al. 2022), or all but embeddings (Kaplan et al. 2020)."""

COUNT_WORDS: dict[Count, str] = {
    "total": "all parameters",
    "non_embedding": "parameters without embeddings",
}
FLOPS_PER_PARAMETER = 6.0
"""Operations for each parameter and token, forward and backward (Kaplan et al. 2020, section 2.1)."""

REPEATED_TOKENS = 15.387756
"""R*_D: after so many repetitions, what one more is worth has fallen by 1 − 1/e (Muennighoff et al. 2023,
appendix A)."""
FEW_EPOCHS = 4.0
"""Up to so many, repeated tokens are nearly as good as new ones (Muennighoff et al. 2023, section 5)."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Law:
    """L(N, D) = E + A/N^α + B/D^β (Hoffmann et al. 2022, equation 2).

    `excess_parameters` is R*_N of Muennighoff et al. 2023 where the law knows of a worth of parameters beyond
    what the unique tokens can fill; None otherwise.
    """

    E: float
    A: float
    B: float
    alpha: float
    beta: float
    count: Count = "total"
    excess_parameters: float | None = None

    def loss(self, parameters: ArrayLike, tokens: ArrayLike) -> Floats:
        """Nats a token of so many parameters after so many different tokens; any shapes that go together."""
        n, d = np.asarray(parameters, np.float64), np.asarray(tokens, np.float64)
        return np.asarray(self.E + self.A / n**self.alpha + self.B / d**self.beta)

    def loss_with_repeats(self, parameters: float, tokens: float, unique: float) -> float:
        """The same where only `unique` of the tokens are different ones, and the rest repeats of them."""
        tokens = float(effective_tokens(tokens, unique))
        if self.excess_parameters is not None:
            # What the unique tokens can fill is the size for which they are the optimal number.
            optimal = self.parameters_for(unique)
            held, repeats = min(optimal, parameters), self.excess_parameters
            surplus = parameters / held - 1
            parameters = held * (1 + repeats * (1 - float(np.exp(-surplus / repeats))))
        return float(self.loss(parameters, tokens))

    # The compute-optimal frontier, where C = κ·N·D is given (Hoffmann et al. 2022, equation 4).

    @property
    def parameters_exponent(self) -> float:
        """a of N_opt ∝ C^a."""
        return self.beta / (self.alpha + self.beta)

    @property
    def tokens_exponent(self) -> float:
        """b of D_opt ∝ C^b."""
        return self.alpha / (self.alpha + self.beta)

    @property
    def _balance(self) -> float:
        """G of equation 4."""
        return float((self.alpha * self.A / (self.beta * self.B)) ** (1 / (self.alpha + self.beta)))

    def optimal_parameters(self, flops: ArrayLike, per: float = FLOPS_PER_PARAMETER) -> Floats:
        """N_opt for so many operations, `per` of them for each parameter and token."""
        share = np.asarray(flops, np.float64) / per
        return np.asarray(self._balance * share**self.parameters_exponent)

    def optimal_tokens(self, flops: ArrayLike, per: float = FLOPS_PER_PARAMETER) -> Floats:
        """D_opt for so many operations."""
        share = np.asarray(flops, np.float64) / per
        return np.asarray(share**self.tokens_exponent / self._balance)

    def optimal_loss(self, flops: ArrayLike, per: float = FLOPS_PER_PARAMETER) -> Floats:
        """The lowest loss that so many operations can reach."""
        return self.loss(self.optimal_parameters(flops, per), self.optimal_tokens(flops, per))

    def tokens_for(self, parameters: float) -> float:
        """The tokens for which this size is optimal: where N·∂L/∂N = D·∂L/∂D."""
        ratio = self.beta * self.B / (self.alpha * self.A) * parameters**self.alpha
        return float(ratio ** (1 / self.beta))

    def parameters_for(self, tokens: float) -> float:
        """The size for which so many tokens are optimal."""
        ratio = self.alpha * self.A / (self.beta * self.B) * tokens**self.beta
        return float(ratio ** (1 / self.alpha))

    def coefficients(self) -> dict[str, float]:
        """The five by name."""
        return {"E": self.E, "A": self.A, "B": self.B, "alpha": self.alpha, "beta": self.beta}


@dataclass(frozen=True)
class KaplanLaw:
    """L(N, D) = E + ((N_c/N)^(α_N/α_D) + D_c/D)^α_D (Kaplan et al. 2020, equation 1.5, which has no floor E).

    The published one counts parameters without embeddings.
    """

    parameters_scale: float
    tokens_scale: float
    parameters_power: float
    tokens_power: float
    count: Count = "non_embedding"
    floor: float = 0.0

    def loss(self, parameters: ArrayLike, tokens: ArrayLike) -> Floats:
        """Nats a token; any shapes that go together."""
        n, d = np.asarray(parameters, np.float64), np.asarray(tokens, np.float64)
        size = (self.parameters_scale / n) ** (self.parameters_power / self.tokens_power)
        return np.asarray(self.floor + (size + self.tokens_scale / d) ** self.tokens_power)

    def optimal_parameters(self, flops: ArrayLike, per: float = FLOPS_PER_PARAMETER) -> Floats:
        """The N of the lowest loss for so many operations, sought on a fine grid: there is no closed form."""
        wanted = np.atleast_1d(np.asarray(flops, np.float64))
        sizes = np.logspace(2, 16, 4001)
        losses = self.loss(sizes, wanted[:, None] / per / sizes)
        return np.asarray(sizes[losses.argmin(axis=1)].reshape(np.shape(flops)))

    def optimal_tokens(self, flops: ArrayLike, per: float = FLOPS_PER_PARAMETER) -> Floats:
        """The D that goes with it."""
        return np.asarray(np.asarray(flops, np.float64) / per / self.optimal_parameters(flops, per))

    def optimal_loss(self, flops: ArrayLike, per: float = FLOPS_PER_PARAMETER) -> Floats:
        """The lowest loss that so many operations can reach."""
        return self.loss(self.optimal_parameters(flops, per), self.optimal_tokens(flops, per))

    def loss_with_repeats(self, parameters: float, tokens: float, unique: float) -> float:
        """Repeats count as they do in `Law`: the paper has no word on them."""
        return float(self.loss(parameters, effective_tokens(tokens, unique)))

    def coefficients(self) -> dict[str, float]:
        """The five by name."""
        return {
            "E": self.floor,
            "N_c": self.parameters_scale,
            "D_c": self.tokens_scale,
            "alpha_N": self.parameters_power,
            "alpha_D": self.tokens_power,
        }


AnyLaw = Law | KaplanLaw


def effective_tokens(tokens: ArrayLike, unique: ArrayLike) -> Floats:
    """D' = U + U·R*_D·(1 − e^(−R/R*_D)) with R = D/U − 1 repetitions of U different tokens: as many new ones
    as all D are worth (Muennighoff et al. 2023, equation 5)."""
    d, u = np.asarray(tokens, np.float64), np.asarray(unique, np.float64)
    repeats = np.maximum(d / u - 1, 0.0)
    worth = u * (1 + REPEATED_TOKENS * (1 - np.exp(-repeats / REPEATED_TOKENS)))
    return np.asarray(np.where(d <= u, d, worth))


def law_of(values: Mapping[str, Any]) -> AnyLaw:
    """The law that a mapping of its fields describes; `form` is `hoffmann` or `kaplan`."""
    fields = {name: value for name, value in values.items() if name != "form"}
    return KaplanLaw(**fields) if values.get("form") == "kaplan" else Law(**fields)
