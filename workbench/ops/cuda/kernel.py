"""What is launched: a kernel, and all that the driver is told with it; made and tested without a GPU."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from workbench.errors import WorkbenchError
from workbench.paths import resources

FOLDER = "cuda"
_INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)


class KernelError(WorkbenchError):
    """A CUDA kernel cannot be had or run on this machine. Its users take another path, and say why."""

    title = "CUDA kernel"


class Kernel(NamedTuple):
    """One kernel of `kernels/cuda`: its file, the C++ name of the instance, and definitions (`-DX=1`)."""

    source: str
    name: str
    options: tuple[str, ...] = ()


class Launch(NamedTuple):
    """One launch, exactly as the driver gets it. `parameters` holds the bytes of each kernel parameter."""

    kernel: Kernel
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared_bytes: int
    parameters: tuple[bytes, ...]


@cache
def sources(name: str) -> dict[str, str]:
    """The text of a file of `kernels/cuda` and of all that it includes from there, by their names."""
    folder = resources("kernels") / FOLDER
    found: dict[str, str] = {}
    wanted = [name]
    while wanted:
        path = wanted.pop()
        if path in found:
            continue
        try:
            found[path] = (folder / path).read_text(encoding="utf-8")
        except FileNotFoundError:
            if path == name:
                raise KernelError("the installed package lacks a kernel", where=str(folder / name)) from None
            continue  # of another build than NVRTC's; if it is not, the compiler will say so
        wanted += _INCLUDE.findall(found[path])
    return found
