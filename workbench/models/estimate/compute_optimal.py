"""How many tokens a model of a size is worth training on, and the loss to expect.

L(N, D) = E + A/N^α + B/D^β (Hoffmann et al. 2022, approach 3) with the coefficients of the replication by
Besiroglu et al. 2024. The law was fitted to decoders on web text, from 70 million weights up; of other
families and of smaller models it is no more than a hint.
"""

from __future__ import annotations

from dataclasses import dataclass

E, A, B, ALPHA, BETA = 1.8172, 482.01, 2085.43, 0.3478, 0.3658
FITTED_FROM = 70_000_000
"""Weights of the smallest models that the law was fitted to, about."""


@dataclass(frozen=True)
class ComputeOptimal:
    """For a model of `parameters` weights: the `tokens` with which no other size would reach a lower loss
    for the same compute, the `loss` in nats a token that the law then predicts, what is `planned`, its
    `share` of the optimum and the `planned_loss`. `applies`: a decoder, within the sizes of the fit."""

    parameters: int
    tokens: float
    loss: float
    planned: int | None
    share: float | None
    planned_loss: float | None
    applies: bool


def predicted_loss(parameters: float, tokens: float) -> float:
    """Nats a token after training on so many tokens once."""
    return float(E + A / parameters**ALPHA + B / tokens**BETA)


def optimal_tokens(parameters: float) -> float:
    """The tokens at which the size is compute-optimal: where N·∂L/∂N = D·∂L/∂D, compute being 6·N·D."""
    return float((BETA * B / (ALPHA * A) * parameters**ALPHA) ** (1 / BETA))


def compute_optimal(parameters: int, planned: int | None, *, decoder: bool) -> ComputeOptimal:
    """The optimum of a size, and the plan beside it."""
    tokens = optimal_tokens(parameters)
    return ComputeOptimal(
        parameters=parameters,
        tokens=tokens,
        loss=predicted_loss(parameters, tokens),
        planned=planned,
        share=planned / tokens if planned else None,
        planned_loss=predicted_loss(parameters, planned) if planned else None,
        applies=decoder and parameters >= FITTED_FROM,
    )
