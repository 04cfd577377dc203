"""The calls of CUDA's driver: load a compiled kernel, launch it on torch's current stream.

Nothing here can be tested without a GPU, so it decides nothing: what is launched was made elsewhere.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterable
from functools import cache
from typing import Any

import torch

from workbench.ops.cuda.cache import compiled
from workbench.ops.cuda.compile import architecture
from workbench.ops.cuda.kernel import Kernel, KernelError, Launch

USUAL_SHARED_BYTES = 48 * 1024
"""More dynamic shared memory than this a kernel must be allowed first."""

_lock = threading.Lock()
_functions: dict[tuple[int, Kernel], Any] = {}
_failures: dict[tuple[int, Kernel], KernelError] = {}


def run(launches: Iterable[Launch], device: torch.device) -> None:
    """Launch one after the other on torch's current stream of a device. Raises `KernelError`."""
    with torch.cuda.device(device):
        _enter(torch.cuda.current_device())
        stream = torch.cuda.current_stream().cuda_stream
        for launch in launches:
            function = load(launch.kernel, torch.cuda.current_device())
            buffers = [ctypes.create_string_buffer(part, len(part)) for part in launch.parameters]
            pointers = (ctypes.c_void_p * len(buffers))(*(ctypes.addressof(buffer) for buffer in buffers))
            if launch.shared_bytes > USUAL_SHARED_BYTES:
                attribute = _driver().CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
                _done(_driver().cuFuncSetAttribute(function, attribute, launch.shared_bytes))
            _done(
                _driver().cuLaunchKernel(
                    function,
                    *launch.grid,
                    *launch.block,
                    launch.shared_bytes,
                    stream,
                    ctypes.addressof(pointers),
                    0,
                )
            )


def load(kernel: Kernel, index: int) -> Any:
    """The loaded kernel on a device, compiled where it was not before; a failure is remembered."""
    with _lock:
        known = _functions.get((index, kernel))
        if known is not None:
            return known
        if failure := _failures.get((index, kernel)):
            raise failure
        try:
            with torch.cuda.device(index):
                _enter(index)
                binary = compiled(kernel, architecture(torch.cuda.get_device_capability(index)))
                module = _done(_driver().cuModuleLoadData(binary.code))
                function = _done(_driver().cuModuleGetFunction(module, binary.symbol.encode()))
        except KernelError as error:
            _failures[index, kernel] = error
            raise
        _functions[index, kernel] = function
        return function


@cache
def _driver() -> Any:
    try:
        from cuda.bindings import driver  # type: ignore[import-untyped]
    except Exception as error:
        raise KernelError(f"CUDA's driver interface cannot be imported: {error}") from None
    return driver


def _enter(index: int) -> None:
    """Make torch's context current in a thread where torch has not done so yet."""
    if not int(_done(_driver().cuCtxGetCurrent())):
        _done(_driver().cuCtxSetCurrent(_done(_driver().cuDevicePrimaryCtxRetain(index))))


def _done(answer: tuple[Any, ...]) -> Any:
    """The value of a driver call, or `KernelError` by the name of what went wrong."""
    code, *values = answer
    if code.value:
        raise KernelError(f"CUDA's driver says {code.name}")
    return values[0] if values else None
