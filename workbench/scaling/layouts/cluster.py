"""The devices a layout is planned for: their memory, speed, and the links between them."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from workbench.errors import UsageError
from workbench.models.estimate import find_gpu, known_speed
from workbench.models.estimate.memory import CUDA_CONTEXT, FRAGMENTATION, LIBRARIES

GB = 1e9
LINK_EFFICIENCY = 0.8
"""Share of a link's rate that large collectives reach. An assumption, of the size that NCCL's own tests show
on such machines."""
MEMORY_EFFICIENCY = 0.8
"""Share of the memory's rate that element-wise operators reach. An assumption."""
CUDA_FRAGMENTS = 0.06
"""What the caching allocator of CUDA holds beside what is in use, as a share of what comes and goes in a
step. An assumption: it was not measured here."""
NODE_LATENCY, NETWORK_LATENCY = 4e-6, 12e-6
"""Seconds that one step of a ring takes beside its bytes, in a node and between two. An assumption."""


@dataclass(frozen=True)
class Device:
    """One device: peak FLOP/s in half and single precision, bytes of memory and of its rate a second.

    `products` and `attention` are the shares of the peak that products of large matrices and fused attention
    reach; `launch` the seconds that starting one operator takes; `base` bytes that are taken before anything
    is allocated, `fragments` what the allocator holds beside what is in use, as a share of that.
    """

    name: str
    half: float
    single: float
    memory: float
    memory_rate: float
    products: float = 0.75
    attention: float = 0.5
    launch: float = 6e-6
    base: float = CUDA_CONTEXT
    fragments: float = CUDA_FRAGMENTS

    @property
    def is_cpu(self) -> bool:
        """Whether it is this machine's processor."""
        return self.name == "cpu"


# Bytes a second of the memory, from the makers' data sheets; shares of the peak that products of large
# matrices and attention reach, which are assumptions. The A100's 0.75 was chosen so that Megatron-LM's table
# of 2021 comes out on average; an H100 at its power limit stays further below its data sheet.
# `tests/benchmarks/planner_published.py` says how far published runs bear all of it out.
RATES: dict[str, tuple[float, float, float]] = {
    "B200": (8.0e12, 0.65, 0.45),
    "H200": (4.8e12, 0.65, 0.45),
    "H100": (3.35e12, 0.65, 0.45),
    "A100-80GB": (2.04e12, 0.75, 0.55),
    "A100-40GB": (1.56e12, 0.75, 0.55),
    "L40S": (0.86e12, 0.70, 0.50),
    "A10": (0.60e12, 0.70, 0.50),
    "L4": (0.30e12, 0.60, 0.45),
    "V100": (0.90e12, 0.75, 0.35),
    "T4": (0.32e12, 0.60, 0.35),
    "RTX-4090": (1.01e12, 0.75, 0.50),
    "RTX-3090": (0.94e12, 0.75, 0.50),
}

IN_NODE: dict[str, float] = {
    "B200": 900 * GB,
    "H200": 450 * GB,
    "H100": 450 * GB,
    "A100-80GB": 300 * GB,
    "A100-40GB": 300 * GB,
    "V100": 150 * GB,
    "L40S": 32 * GB,
    "A10": 32 * GB,
    "L4": 32 * GB,
    "RTX-4090": 32 * GB,
    "RTX-3090": 32 * GB,
    "T4": 16 * GB,
}
"""Bytes a second in one direction between two GPUs of a node: NVLink and NVSwitch, or PCIe where there is
none, from the makers' data sheets (which count both directions)."""

INTERCONNECTS: dict[str, tuple[float, str]] = {
    "xdr": (100 * GB, "InfiniBand XDR, 800 Gb/s a GPU"),
    "ndr": (50 * GB, "InfiniBand NDR, 400 Gb/s a GPU"),
    "hdr": (25 * GB, "InfiniBand HDR, 200 Gb/s a GPU"),
    "edr": (12.5 * GB, "InfiniBand EDR, 100 Gb/s a GPU"),
    "roce-400": (50 * GB, "Ethernet with RDMA, 400 Gb/s a GPU"),
    "roce-200": (25 * GB, "Ethernet with RDMA, 200 Gb/s a GPU"),
    "ethernet-100": (12.5 * GB / 8, "Ethernet, 100 Gb/s a node of eight"),
    "ethernet-10": (1.25 * GB / 8, "Ethernet, 10 Gb/s a node of eight"),
    "local": (4 * GB, "processes of one machine, over gloo"),
}
"""Bytes a second in one direction that each GPU has to other nodes, and what that is."""
USUAL = {"B200": "ndr", "H200": "ndr", "H100": "ndr", "A100-80GB": "hdr", "A100-40GB": "hdr", "V100": "edr"}


@dataclass(frozen=True)
class Cluster:
    """`gpus` devices, `gpus_per_node` in a node; bytes a second of each in one direction, `in_node` to its
    neighbours and `network` to other nodes, as the data sheet has them."""

    device: Device
    gpus: int
    gpus_per_node: int
    in_node: float
    network: float
    network_name: str = ""

    @property
    def nodes(self) -> int:
        """Machines."""
        return -(-self.gpus // self.gpus_per_node)

    def neighbours(self, size: int, stride: int) -> int:
        """How many ranks of a group stand in one node, its ranks being `stride` apart."""
        return max(1, min(size, self.gpus_per_node // stride))

    def rate(self, size: int, stride: int) -> float:
        """Bytes a second of each rank in a ring of a group: within a node that of its links; across nodes as
        many network cards work for the group as it has ranks in a node."""
        together = self.neighbours(size, stride)
        if together >= size:
            return LINK_EFFICIENCY * self.in_node
        return LINK_EFFICIENCY * min(self.in_node, together * self.network)

    def latency(self, size: int, stride: int) -> float:
        """Seconds that a ring through a group takes beside its bytes."""
        together = self.neighbours(size, stride)
        nodes = -(-size // together)
        return (nodes - 1) * NETWORK_LATENCY + (together - 1) * NODE_LATENCY

    def collective(self, size: int, stride: int, nbytes: float, rounds: int = 1) -> float:
        """Seconds of an all-gather or reduce-scatter of `nbytes` over a group; `rounds` is 2 for an
        all-reduce, which is one of each (Thakur et al. 2005)."""
        if size == 1:
            return 0.0
        return rounds * (nbytes * (size - 1) / size / self.rate(size, stride) + self.latency(size, stride))

    def sending(self, stride: int, nbytes: float) -> float:
        """Seconds that a message to the rank `stride` further on takes."""
        near = stride < self.gpus_per_node
        rate = LINK_EFFICIENCY * (self.in_node if near else self.network)
        return nbytes / rate + (NODE_LATENCY if near else NETWORK_LATENCY)


def find_device(name: str) -> Device:
    """A GPU of the estimates' table, or `cpu`. Raises `UsageError`."""
    if name.casefold() == "cpu":
        return this_cpu(1)
    gpu = find_gpu(name)
    rate, products, attention = RATES[gpu.name]
    return Device(gpu.name, gpu.half, gpu.single, gpu.memory, rate, products, attention)


def this_cpu(processes: int) -> Device:
    """This machine's processor, shared by processes. Its speed is what `workbench estimate --measure` found,
    else a guess of 50 GFLOP/s a core."""
    import os

    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    speed = known_speed()
    single, half = (speed.single, speed.half) if speed else (50e9 * cores, 50e9 * cores)
    return Device(
        "cpu",
        half / processes,
        single / processes,
        psutil.virtual_memory().total / processes,
        10e9 / processes,
        products=0.5,
        attention=0.3,
        launch=2e-5,
        base=LIBRARIES,
        fragments=FRAGMENTATION,
    )


def cluster(
    gpu: str, gpus: int, *, gpus_per_node: int | None = None, interconnect: str | None = None
) -> Cluster:
    """The devices that are asked for. `interconnect` is one of `INTERCONNECTS`, or bytes a second of each
    GPU as `GB/s`, such as `50`. Raises `UsageError`."""
    if gpus < 1:
        raise UsageError(f"a layout needs at least one device, not {gpus}", where="--gpus")
    each = gpus_per_node or min(8, gpus)
    if each < 1:
        raise UsageError(f"a node has at least one device, not {each}", where="--gpus-per-node")
    if gpus > each and gpus % each:
        nearest = max(1, round(gpus / each)) * each
        raise UsageError(
            f"{gpus} devices are not a whole number of nodes of {each}",
            where="--gpus",
            hint=f"the nearest that is: --gpus {nearest}; or say --gpus-per-node",
        )
    is_cpu = gpu.casefold() == "cpu"
    device = this_cpu(min(each, gpus)) if is_cpu else find_device(gpu)
    usual = "local" if is_cpu else USUAL.get(device.name, "roce-200")
    network, name = _interconnect(interconnect or usual)
    return Cluster(device, gpus, each, 4 * GB if is_cpu else IN_NODE[device.name], network, name)


def _interconnect(text: str) -> tuple[float, str]:
    known = INTERCONNECTS.get(text.casefold())
    if known is not None:
        return known
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < 1e6:
        near = difflib.get_close_matches(text.casefold(), INTERCONNECTS, n=1, cutoff=0.4)
        raise UsageError(
            f"no interconnect called “{text}” is known",
            where="--interconnect",
            hint=(f"did you mean {near[0]}? " if near else "")
            + f"known: {', '.join(INTERCONNECTS)}; or GB/s of each GPU, such as 50",
        )
    return rate * GB, f"{rate:g} GB/s a GPU"
