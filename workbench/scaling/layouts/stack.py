"""What a layout's figures depend on beside the layout: how the program that trains keeps its numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from workbench.models.estimate.activations import FUSED_LLAMA, LLAMA, Growth


@dataclass(frozen=True)
class Stack:
    """A way to train, as far as memory and time follow from it.

    `weights`, `copies` are bytes a weight of what is multiplied by and of the copy in fp32 beside it (0 where
    that is the same), `gradients` and `moments` those of a learning weight. `moving` is what element-wise
    work reads and writes in a layer: bytes for each of a token's `hidden`, `queries`, `feed_forward` numbers
    in half precision. `operators` is how many a layer starts, `logit_bytes` what a logit takes with its
    log-probability and gradient. `sequence_parallel`: what tensor parallelism leaves whole is split along the
    row (Korthikanti et al. 2022); `parallel_loss`: the logits are split by their vocabulary;
    `fused_attention`: scores of attention are never written to memory (Dao et al. 2022). `buckets`: DDP's,
    beside the gradients. `keeps_gathered`: the keys and values that context parallelism gathers are kept for
    the backward pass, else they are gathered again. `data_overlap`: the share of computing behind which
    gradients and weights travel.
    `shards_states_only`: weights and gradients are whole on every rank, and the optimiser's part is shared.
    """

    name: str
    title: str
    weights: int
    copies: int
    gradients: int
    moments: int
    logit_bytes: int
    moving: tuple[float, float, float]
    operators: int
    sequence_parallel: bool
    parallel_loss: bool
    buckets: bool
    fused_attention: bool = True
    keeps_gathered: bool = False
    data_overlap: float = 0.9
    shards_states_only: bool = False


WORKBENCH = Stack(
    "workbench",
    "as this program trains: transformers' layers, weights in fp32 under autocast, FSDP2",
    weights=4,
    copies=0,
    gradients=4,
    moments=8,
    logit_bytes=12,
    moving=(110, 30, 16),
    operators=60,
    sequence_parallel=False,
    parallel_loss=False,
    buckets=True,
    keeps_gathered=True,
)
MEGATRON = Stack(
    "megatron",
    "as Megatron-LM trains: fused layers in bf16, fp32 copies in the optimiser, sequence parallelism",
    weights=2,
    copies=4,
    gradients=4,
    moments=8,
    logit_bytes=8,
    moving=(24, 6, 8),
    operators=16,
    sequence_parallel=True,
    parallel_loss=True,
    buckets=False,
    shards_states_only=True,
)
MEGATRON_2022 = replace(
    MEGATRON,
    name="megatron-2022",
    title="as Megatron-LM of 2022: sequence parallelism, attention whose scores are written",
    fused_attention=False,
)
MEGATRON_2021 = replace(
    MEGATRON_2022,
    name="megatron-2021",
    title="as Megatron-LM of 2021: neither sequence parallelism nor attention that writes no scores",
    sequence_parallel=False,
)
STACKS = {stack.name: stack for stack in (WORKBENCH, MEGATRON, MEGATRON_2022, MEGATRON_2021)}

KEPT: dict[str, Growth] = {
    "workbench": LLAMA,
    "fused": FUSED_LLAMA,
    # Weights gathered in half precision, so that the residual stream is in it too (counted as the others).
    "sharded": Growth(hidden=(24, 14), queries=(16, 6), keys=(0, 4), feed_forward=(16, 8), one=8),
    # Inputs of both norms and of what follows them, keys and queries, what attention gives, and the parts of
    # the feed-forward layer, all in half precision; statistics of fused attention (Dao 2023).
    "megatron": Growth(hidden=(16, 8), queries=(8, 4), keys=(8, 4), feed_forward=(12, 6), one=8, mask=(0, 0)),
    # And the masks of dropout in the residual stream, and for each head the scores, what softmax makes of
    # them, and their mask: 34 + 5·heads·length/hidden bytes for each of hidden (Korthikanti et al. 2022,
    # equation 1).
    "megatron-2022": Growth(
        hidden=(18, 10), queries=(8, 4), keys=(8, 4), feed_forward=(12, 6), one=8, mask=(0, 0), scores=(9, 5)
    ),
}
KEPT["megatron-2021"] = KEPT["megatron-2022"]
"""Bytes that a layer keeps for the backward pass, by what keeps them, in fp32 and in half precision."""
CHEAP: dict[str, Growth] = {
    name: Growth(hidden=(8, 4), queries=(8, 4), keys=(8, 4), feed_forward=(8, 4), one=8, mask=(0, 0))
    for name in KEPT
}
CHEAP |= {name: replace(KEPT[name], scores=(0, 0)) for name in ("megatron-2022", "megatron-2021")}
"""The same where what is cheap is made again (selective recomputation): the two sums of the residual stream,
queries, keys, values, what attention gives, and two products of the feed-forward layer. Where scores are
written, these alone are made again (Korthikanti et al. 2022, section 5, equation 6)."""
