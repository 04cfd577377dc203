"""Memory of training by component, and the most of it that is held at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.models.estimate.activations import FLOAT, HALF, activations
from workbench.models.estimate.fused import PLAIN, Fused, logits_at_once
from workbench.models.estimate.load import Load
from workbench.models.estimate.matrices import Matrix
from workbench.models.estimate.parameters import Parameters
from workbench.models.estimate.shape import Shape

if TYPE_CHECKING:
    from workbench.recipe import TrainingSection

LIBRARIES = 790_000_000
"""Resident bytes of a CPU process that has torch, transformers and accelerate loaded and has trained
nothing yet; measured by `tests/benchmarks/estimates.py` with torch's build for CPUs."""

FRAGMENTATION = 0.5
XLNET_FRAGMENTATION = 1.8
"""What glibc's allocator holds beside what is in use, as a share of the most that comes and goes in a step:
the middle of what `tests/benchmarks/estimates.py` measured, 0.25 to 1.0, and more where many sizes take
turns. Blocks below 32 MB come from its heap, which does not shrink where something still in use lies above.
It is the least certain part of an estimate; with MALLOC_MMAP_THRESHOLD_=131072 in the environment it is
none."""

CUDA_CONTEXT = 600_000_000
"""Bytes of a GPU that a CUDA context and its libraries' workspaces take before anything is allocated. An
assumption: it was not measured here."""


@dataclass(frozen=True)
class Memory:
    """Bytes of one process; `other_models` is what is held beside the model that is reckoned.

    `weights` in fp32, `gradients` and the two moments of AdamW (`optimizer`) for what learns; `activations`
    kept for the backward pass; `logits` of predictions with their log-probabilities and gradients, as far as
    they exist at once;
    `overhead` of libraries, or of the device's context; `fragments` what the C library's allocator holds
    beside what is asked of it. They are not all held at once: gradients grow while
    activations are let go. `peak` is the most at any moment, `moment` says which that is.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    overhead: int
    fragments: int
    peak: int
    moment: str
    other_models: int = 0

    def components(self) -> dict[str, int]:
        """Each component by name, at its own largest."""
        names = ("weights", "gradients", "optimizer", "activations", "logits", "overhead", "fragments")
        found = {name: int(getattr(self, name)) for name in names}
        return found | ({"other_models": self.other_models} if self.other_models else {})


def memory(
    shape: Shape,
    parts: list[Matrix],
    parameters: Parameters,
    load: Load,
    training: TrainingSection,
    *,
    overhead: int = LIBRARIES,
    frozen: bool = False,
    fused: Fused = PLAIN,
) -> Memory:
    """What a process of training holds, in a micro-batch and between two.

    `frozen`: only a new last layer learns, so that nothing before it is kept for a backward pass. `fused`:
    what is computed by operators that keep less.
    """
    half, checkpointing = training.bf16 or training.fp16, training.gradient_checkpointing
    checkpointing = checkpointing and shape.family != "xlnet"
    saved = activations(shape, parts, load, half=half, fused=fused)
    weights, gradients = FLOAT * parameters.total, FLOAT * parameters.trainable
    optimizer = 2 * FLOAT * parameters.trainable
    kept = saved.ends + (0 if frozen else saved.kept(checkpointing) - saved.ends - saved.logits)
    # The gradient of the last matrix. Where the embeddings are the same weights, theirs is another, and the
    # sum of both a third.
    matrix = FLOAT * shape.vocabulary * shape.embedding if load.places and not frozen else 0
    waiting = gradients if training.gradient_accumulation_steps > 1 else 0
    if fused.head:
        # Some logits, their gradient in their place, and the matrix in half precision beside it.
        width = HALF if half else FLOAT
        logits = logits_at_once(shape, load, width) * shape.vocabulary * width
        loss = logits + matrix + (matrix // 2 if half else 0)
    else:
        # Log-probabilities, their gradient and the logits' gradient.
        predictions = FLOAT * load.places * shape.vocabulary
        logits, loss = 3 * predictions, max(3 * predictions, 2 * predictions + matrix)
    moments = {
        "loss": kept + loss + waiting,
        "end of the backward pass": gradients + (2 * matrix if shape.tied else 0),
    }
    if checkpointing and not frozen:
        moments["first layer made again"] = kept + saved.largest_layer + matrix + waiting
        moments["last layer made again"] = saved.ends + saved.largest_layer + gradients
    moment = max(moments, key=lambda name: moments[name])
    share = XLNET_FRAGMENTATION if shape.family == "xlnet" else FRAGMENTATION
    fragments = round(share * moments[moment])
    again = saved.largest_layer if checkpointing and not frozen else 0
    return Memory(
        weights=weights,
        gradients=gradients,
        optimizer=optimizer,
        activations=kept + again,
        logits=logits,
        overhead=overhead,
        fragments=fragments,
        peak=overhead + weights + optimizer + moments[moment] + fragments,
        moment=moment,
    )
