"""Which path selected log-probabilities take on a card: see `verdicts`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor

from workbench.ops.cuda.selected_logprobs import unsupported
from workbench.ops.cuda.selected_logprobs_path import cuda_backward, cuda_forward, kernels
from workbench.ops.cuda.verdicts import CUDA, Case, Check, Verdict, verdict
from workbench.ops.selected_logprobs.chunked import Found, Gradients, chunked, chunked_backward
from workbench.ops.selected_logprobs.definition import Inputs, definition

Forward = Callable[[Inputs, bool], Found]
Backward = Callable[[Inputs, Tensor, Tensor, Tensor, bool, bool], Gradients]
WAYS: dict[str, tuple[Forward, Backward, bool]] = {
    CUDA: (cuda_forward, cuda_backward, False),
    "chunked": (chunked, chunked_backward, True),
}
"""Forward, backward, and whether forward makes the gradient of hidden states on the way."""
NOTHING, HIDDEN, HEAD = "no gradients", "gradients of hidden states", "gradients of the head"
COMPARED, TIMED = (200, 1003), (2048, 32_768)
"""Places and tokens of the vocabulary."""


def choose(inputs: Inputs, trains_head: bool) -> tuple[str, str]:
    """The path of a call on a CUDA device, and the reason in words."""
    if obstacle := unsupported(inputs):
        return "chunked", f"our kernels do not take it: {obstacle}"
    hidden = inputs.hidden
    needs = hidden.requires_grad and torch.is_grad_enabled()
    case = HEAD if trains_head else HIDDEN if needs else NOTHING
    found: tuple[str, str] = _told(
        hidden.device.index or 0, hidden.shape[1], hidden.dtype, inputs.softcap is not None, case
    )
    return found


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _told(index: int, size: int, dtype: torch.dtype, is_capped: bool, case: str) -> tuple[str, str]:
    found = _verdict(index, size, dtype, is_capped)
    return found.taken[case], f"{case}: {found.reason(case)}"


@cache
def _verdict(index: int, size: int, dtype: torch.dtype, is_capped: bool) -> Verdict:
    device = torch.device("cuda", index)
    make = partial(example, size=size, dtype=dtype, is_capped=is_capped)
    checks: dict[str, Check] = {
        name: partial(_check, name, partial(make, *COMPARED, device=device)) for name in WAYS
    }
    timed = partial(make, *TIMED, device=device)
    cases: dict[str, Case] = {case: partial(_call, timed, case) for case in (NOTHING, HIDDEN, HEAD)}
    capped = ", capped" if is_capped else ""
    operator = f"selected log-probabilities of {size}, {dtype}{capped}"
    return verdict(operator, device, kernels(make(1, 1, device=torch.device("meta"))), checks, cases)


def example(
    places: int,
    vocabulary: int,
    *,
    size: int,
    dtype: torch.dtype,
    is_capped: bool = False,
    device: torch.device | str = "cpu",
) -> Inputs:
    """Random numbers; every seventh place has no target."""
    place = torch.device(device)
    generator = None if place.type == "meta" else torch.Generator(place).manual_seed(size)

    def random(*sizes: int) -> Tensor:
        return torch.randn(*sizes, generator=generator, device=place)

    targets = torch.arange(places, device=place) * 37 % vocabulary
    targets[::7] = -100
    weight = random(vocabulary, size) * size**-0.5
    softcap = 3.0 if is_capped else None
    parts = random(places, size).to(dtype), weight.to(dtype), targets, random(vocabulary).to(dtype)
    return Inputs(*parts, -100, 1.0, softcap, 0.7)


def _check(name: str, make: Callable[[], Inputs]) -> str:
    return compare(*WAYS[name][:2], make())


def compare(forward: Forward, backward: Backward, inputs: Inputs) -> str:
    """Log-probabilities and gradients against fp64, beside plain PyTorch in the same type: at most twice its
    error, and half a unit in the last place for rounding the result."""
    hidden, weight, bias = inputs.hidden, inputs.weight, inputs.bias
    assert bias is not None
    grad = torch.arange(len(hidden), device=hidden.device).cos()

    def by_autograd(dtype: torch.dtype) -> list[Tensor]:
        three = [one.detach().to(dtype).requires_grad_() for one in (hidden, weight, bias)]
        with torch.enable_grad():
            logprobs, _ = definition(inputs._replace(hidden=three[0], weight=three[1], bias=three[2]))
            return [logprobs.detach(), *torch.autograd.grad(logprobs, three, grad.to(logprobs.dtype))]

    exact, plain = by_autograd(torch.float64), by_autograd(hidden.dtype)
    logprobs, lse, *_ = forward(inputs, False)
    found = [logprobs, *backward(inputs, grad, logprobs, lse, True, True)]
    names = ("log-probabilities", "gradient of hidden states", "gradient of the head", "gradient of the bias")
    for name, mine, usual, wanted in zip(names, found, plain, exact, strict=True):
        size = wanted.norm()
        error, other = (float((one.double() - wanted).norm() / size) for one in (mine, usual))
        allowed = 2 * other + torch.finfo(mine.dtype).eps / 2
        if not error <= allowed:
            return f"it errs by {error:.1e} in {name}, not {allowed:.1e}: please report it"
    return ""


def _call(make: Callable[[], Inputs], case: str, name: str) -> Callable[[], object]:
    inputs = make()
    forward, backward, makes_slope = WAYS[name]

    def call() -> object:
        logprobs, lse, *_ = forward(inputs, makes_slope and case == HIDDEN)
        if case == NOTHING or (makes_slope and case == HIDDEN):
            return logprobs
        return backward(inputs, logprobs, logprobs, lse, True, case == HEAD)

    return call
