"""Compiles a kernel for one architecture with NVRTC, out of the package that torch's CUDA builds bring along.

No nvcc, no CUDA headers and no GPU are needed. The sources are handed over in memory, so that what is
compiled is what the cache's key was made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from workbench.installing import pip_install
from workbench.ops.cuda.kernel import Kernel, KernelError, sources

OLDEST = 80
"""The kernels use instructions of compute capability 8.0 (mma.sync, ldmatrix, cp.async)."""
OPTIONS = ("--std=c++17",)
LOG_LINES = 4


class Binary(NamedTuple):
    """Compiled code (a cubin, or PTX where `is_ptx`) and the symbol that the kernel has in it."""

    code: bytes
    symbol: str
    is_ptx: bool


@cache
def _nvrtc() -> Any:
    try:
        from cuda.bindings import nvrtc  # type: ignore[import-untyped]

        nvrtc.nvrtcVersion()  # the library is looked for at the first call only
    except Exception as error:  # whatever a half-installed package raises
        words = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise KernelError(
            f"NVRTC cannot be loaded: {words}",
            hint=f"install torch's CUDA build, or {pip_install('cuda-bindings')}",
        ) from None
    return nvrtc


def version() -> str:
    """NVRTC's version such as 13.0. Raises `KernelError` where there is none."""
    _, major, minor = _nvrtc().nvrtcVersion()
    return f"{major}.{minor}"


def architecture(capability: tuple[int, int], known: Sequence[int] | None = None) -> str:
    """NVRTC's name for a card: `sm_90` gives a cubin, `compute_90` PTX that the driver translates.

    A card that this NVRTC does not know runs the cubin of the nearest lower architecture of its generation,
    and otherwise PTX. `known` are NVRTC's own (default: ask it). Raises `KernelError` for cards before 8.0.
    """
    card = 10 * capability[0] + capability[1]
    if card < OLDEST:
        raise KernelError(
            f"the kernels need compute capability 8.0, the card has {'.'.join(map(str, capability))}"
        )
    if known is None:
        known = list(_nvrtc().nvrtcGetSupportedArchs()[1])
    lower = [one for one in known if OLDEST <= one <= card]
    if not lower:
        raise KernelError(f"NVRTC {version()} compiles for none of {capability[0]}.x")
    nearest = max(lower)
    return f"{'sm' if nearest // 10 == card // 10 else 'compute'}_{nearest}"


def compile_kernel(kernel: Kernel, target: str) -> Binary:
    """The kernel for `sm_XY` as a cubin, for `compute_XY` as PTX; some 0.5 s.

    Raises `KernelError` with the first lines of the compiler's log.
    """
    texts = dict(sources(kernel.source))
    main = texts.pop(kernel.source)
    return compile_text(main, kernel.name, target, name=kernel.source, headers=texts, options=kernel.options)


def compile_text(
    text: str,
    symbol: str,
    target: str,
    *,
    name: str = "kernel.cu",
    headers: dict[str, str] | None = None,
    options: Sequence[str] = (),
) -> Binary:
    """The same of a source that is no file; `symbol` is the C++ name of the kernel wanted."""
    nvrtc = _nvrtc()
    headers = headers or {}
    created, program = nvrtc.nvrtcCreateProgram(
        text.encode(),
        name.encode(),
        len(headers),
        [header.encode() for header in headers.values()],
        [header.encode() for header in headers],
    )
    _check(created, name)
    try:
        _check(nvrtc.nvrtcAddNameExpression(program, symbol.encode())[0], symbol)
        words = [f"--gpu-architecture={target}", *OPTIONS, *options]
        done = nvrtc.nvrtcCompileProgram(program, len(words), [word.encode() for word in words])[0]
        if done != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise KernelError(f"NVRTC failed for {symbol}: {_log(program) or done.name}", where=name)
        is_ptx = target.startswith("compute_")
        size_of, read = (
            (nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX)
            if is_ptx
            else (nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN)
        )
        answer, size = size_of(program)
        _check(answer, name)
        code = bytearray(size)
        _check(read(program, code)[0], name)
        answer, lowered = nvrtc.nvrtcGetLoweredName(program, symbol.encode())
        _check(answer, symbol)
        return Binary(bytes(code), lowered.decode(), is_ptx)
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _check(answer: Any, what: str) -> None:
    if answer.value:
        raise KernelError(f"NVRTC says {answer.name}", where=what)


def _log(program: Any) -> str:
    """The first lines of the compiler's log that name an error, else its first lines."""
    nvrtc = _nvrtc()
    _, size = nvrtc.nvrtcGetProgramLogSize(program)
    log = bytearray(size)
    nvrtc.nvrtcGetProgramLog(program, log)
    lines = [line.strip() for line in log.rstrip(b"\0").decode(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line]
    return "; ".join((errors or lines)[:LOG_LINES])
