"""A layout's figures: memory of a rank, seconds of a step by what they go to, speed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from workbench.scaling.layouts.cluster import Cluster
from workbench.scaling.layouts.communication import Traffic, traffic
from workbench.scaling.layouts.compute import Work, optimizer, work
from workbench.scaling.layouts.layout import Layout
from workbench.scaling.layouts.memory import RankMemory, fullest
from workbench.scaling.layouts.model import Model
from workbench.scaling.layouts.pipeline import bubble, layers_of_pieces
from workbench.scaling.layouts.precision import Precision
from workbench.scaling.layouts.stack import WORKBENCH, Stack


@dataclass(frozen=True)
class Setting:
    """All that layouts are compared under: a model, rows of `length` tokens, `global_batch` of them a step,
    the devices, how numbers are kept."""

    model: Model
    cluster: Cluster
    length: int
    global_batch: int
    stack: Stack = WORKBENCH
    precision: Precision = Precision()

    @property
    def tokens(self) -> int:
        """Of an optimiser step."""
        return self.global_batch * self.length


@dataclass(frozen=True)
class Times:
    """Seconds of an optimiser step, by what they go to. `computing` is that of the slowest stage; `bubble`
    what it waits for the first and last micro-batches; `data`, `tensor`, `context` and `pipeline` what is
    sent and not hidden; `hidden` what is sent behind computing."""

    computing: float
    bubble: float
    tensor: float
    context: float
    pipeline: float
    data: float
    optimizer: float
    hidden: float

    @property
    def step(self) -> float:
        """All of the step."""
        return sum(self.parts().values())

    def parts(self) -> dict[str, float]:
        """What adds up to the step, by name."""
        names = ("computing", "bubble", "tensor", "context", "pipeline", "data", "optimizer")
        return {name: float(getattr(self, name)) for name in names}


@dataclass(frozen=True)
class Plan:
    """What is predicted of a layout."""

    setting: Setting
    layout: Layout
    memory: RankMemory
    times: Times
    forward: float
    backward: float
    sending: float

    @property
    def fits(self) -> bool:
        """Whether the fullest rank has room."""
        return self.memory.peak <= self.setting.cluster.device.memory

    @property
    def tokens_per_second(self) -> float:
        """Of all devices."""
        return self.setting.tokens / self.times.step

    @cached_property
    def flops_per_gpu(self) -> float:
        """Model FLOP/s of one device, without what is done twice."""
        flops = self.setting.model.flops_per_token(self.setting.length)
        return flops * self.tokens_per_second / self.setting.cluster.gpus

    @property
    def mfu(self) -> float:
        """Model FLOPs utilisation (Chowdhery et al. 2022, appendix B)."""
        return self.flops_per_gpu / self.peak

    @property
    def hfu(self) -> float:
        """The same with what gradient checkpointing does a second time: the layers forward, but not the head
        (Narayanan et al. 2021, equation 3)."""
        model, length = self.setting.model, self.setting.length
        whole = model.flops_per_token(length)
        layers = whole - 6.0 * model.predicted * model.head_products
        return self.mfu * (1 + layers / whole / 3 if self.layout.recompute == "full" else 1.0)

    @property
    def peak(self) -> float:
        """FLOP/s of a device, by its data sheet."""
        device = self.setting.cluster.device
        return device.half if self.setting.precision.half else device.single

    @property
    def bubble(self) -> float:
        """Time that a stage waits for the pipeline to fill and empty, as a share of the time it works."""
        return bubble(self.layout.pp, self.layout.microbatches, self.layout.virtual_stages)


def plan(setting: Setting, layout: Layout) -> Plan:
    """Reckon a layout that is possible (`feasible.problems`); whether it fits is in the plan."""
    model, on, stack, precision = setting.model, setting.cluster, setting.stack, setting.precision
    pieces = layers_of_pieces(model.layers, layout.pp * layout.virtual_stages)
    layers = max(sum(pieces[stage :: layout.pp]) for stage in range(layout.pp))
    in_last = sum(pieces[layout.pp - 1 :: layout.pp])
    weights = (layers * model.layer + model.embedding + (0 if layout.pp > 1 else model.head)) / layout.tp
    done = work(model, layout, setting.length, on, stack, precision)
    sent = traffic(model, layout, setting.length, on, stack, precision, weights)
    forward, backward = _stage(layers, in_last, done, sent, alone=layout.pp == 1)
    times = _times(setting, layout, layers, in_last, done, sent, optimizer(weights, layout, on, stack))
    memory = fullest(model, layout, setting.length, on, stack, precision)
    each = layout.virtual_stages
    return Plan(setting, layout, memory, times, forward / each, backward / each, sent.sending)


def _stage(
    layers: int, in_last: int, done: Work, sent: Traffic | None, *, alone: bool, context: bool = True
) -> tuple[float, float]:
    """Seconds forward and backward of a micro-batch through the slowest stage: of the first, with so many
    layers and the embedding, and the last, which may be `alone`. Without `sent` nothing is sent inside a
    layer, without `context` nothing for context parallelism."""
    each_forward, each_backward = done.forward, done.backward
    embedding, head_forward, head_backward = 0.0, done.head_forward, done.head_backward
    if sent is not None:
        each_forward += sent.tensor_forward + (sent.context_forward if context else 0.0)
        each_backward += sent.tensor_backward + (sent.context_backward if context else 0.0)
        embedding = sent.embedding
        head_forward += sent.head_forward + (embedding if alone else 0.0)
        head_backward += sent.head_backward
    forward = max(layers * each_forward + embedding, in_last * each_forward + head_forward)
    backward = max(layers * each_backward, in_last * each_backward + head_backward)
    return forward, backward


def _times(
    setting: Setting, layout: Layout, layers: int, in_last: int, done: Work, sent: Traffic, updating: float
) -> Times:
    microbatches, stages, pieces = layout.microbatches, layout.pp, layout.virtual_stages
    alone = stages == 1
    forward, backward = _stage(layers, in_last, done, sent, alone=alone)
    # What the slowest stage takes more with each kind of exchange.
    computing = microbatches * sum(_stage(layers, in_last, done, None, alone=alone))
    without = microbatches * sum(_stage(layers, in_last, done, sent, alone=alone, context=False))
    whole = microbatches * (forward + backward)
    tensor, context = without - computing, whole - without
    waiting = bubble(stages, microbatches, pieces) * whole
    # With as many micro-batches in flight as there are stages, each waits for both of its messages.
    pipeline = 2 * sent.sending * pieces * (microbatches + stages - 1) * (stages - 1) / stages
    overlap = setting.stack.data_overlap * _window(layout, whole, backward)
    exposed = max(0.0, sent.data - overlap)
    return Times(
        computing=computing,
        bubble=waiting,
        tensor=tensor,
        context=context,
        pipeline=pipeline,
        data=exposed,
        optimizer=updating,
        hidden=sent.data - exposed,
    )


def _window(layout: Layout, whole: float, backward: float) -> float:
    """Seconds of computing behind which gradients and weights can travel: all of it where weights are
    gathered for every micro-batch, else the backward pass of the last one."""
    return whole if layout.shards > 1 and layout.reshard else backward


def precision_of(half: bool, *, fused_layers: bool = False, fused_head: bool = False) -> Precision:
    """How numbers are kept, and what is computed by operators that keep less, on a CPU."""
    return Precision(half, fused_layers, fused_head)
