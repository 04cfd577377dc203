"""Published models by their sizes, and figures of training them (`presets/layouts/published.yaml`)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from workbench import paths
from workbench.recipe import yaml_file
from workbench.scaling.layouts.model import Model, gpt


@dataclass(frozen=True)
class Figure:
    """Speed of a layout as a paper has it: `tflops` of a device, with (`hfu`) or without (`mfu`) what is
    recomputed, or `seconds` of a step."""

    model: str
    gpu: str
    gpus: int
    layout: str
    global_batch: int
    source: str
    length: int | None = None
    recompute: Literal["none", "selective", "full"] = "none"
    stack: str = "megatron"
    tflops: float | None = None
    counts: Literal["mfu", "hfu"] = "mfu"
    seconds: float | None = None


@dataclass(frozen=True)
class Training:
    """A whole training by its device hours, everything that stops or slows it included."""

    model: str
    gpu: str
    tokens: float
    gpu_hours: float
    source: str

    @property
    def tokens_per_second(self) -> float:
        """Of one device."""
        return self.tokens / self.gpu_hours / 3600


def _file() -> dict[str, Any]:
    return yaml_file.read(paths.resources("presets") / "layouts" / "published.yaml")


@cache
def published_models() -> dict[str, Model]:
    """Models that no recipe describes, by name."""
    return {name: gpt(name, **sizes) for name, sizes in _file()["models"].items()}


def figures() -> list[Figure]:
    """All figures of speed."""
    return [Figure(**entry) for entry in _file()["figures"]]


def trainings() -> list[Training]:
    """All whole trainings."""
    return [Training(**entry) for entry in _file()["trainings"]]
