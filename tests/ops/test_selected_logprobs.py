"""Selected log-probabilities: the paths against fp64, the definition against transformers' and PyTorch's."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear
from torch.utils._python_dispatch import TorchDispatchMode

from workbench.ops.selected_logprobs import chunked, logprobs
from workbench.ops.selected_logprobs.definition import Inputs, definition
from workbench.ops.selected_logprobs.logprobs import Selected, selected_logprobs
from workbench.ops.selected_logprobs.paths import (
    LEAST_LOGITS,
    LEAST_TRAINED,
    OTHER_TRAINED,
    PATHS,
    Name,
    choose,
)

NAMES: tuple[Name, ...] = ("definition", *PATHS)
EPSILON = {torch.float32: 2.0**-23, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}
SETTINGS: list[dict[str, Any]] = [{}, {"scale": 0.25, "softcap": 3.0, "temperature": 0.7}]


@pytest.fixture(autouse=True)
def blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 7 to 20 tokens, so that small vocabularies have several, the last one cut short."""
    monkeypatch.setattr(chunked, "LEAST_WIDTH", 7)
    monkeypatch.setitem(chunked.BLOCK, "cpu", 20)


def made(
    count: int = 5,
    vocabulary: int = 40,
    size: int = 16,
    *,
    dtype: torch.dtype = torch.float32,
    trains_head: bool = True,
    **settings: float,
) -> Inputs:
    """Random hidden states, head and targets, about a third of them ignored where there are several; the
    first hidden state points to its target, whose probability is near 1."""
    generator = torch.Generator().manual_seed(count * 1000 + vocabulary)
    hidden = torch.randn(count, size, generator=generator)
    weight = torch.randn(vocabulary, size, generator=generator) / size**0.25
    targets = torch.randint(0, vocabulary, (count,), generator=generator)
    hidden[0] = 3 * weight[targets[0]]
    targets[1::3] = -100
    bias = torch.randn(vocabulary, generator=generator)
    head = [tensor.to(dtype).requires_grad_(trains_head) for tensor in (weight, bias)]
    rest: dict[str, Any] = {"ignore_index": -100, "scale": 1.0, "softcap": None, "temperature": 1.0}
    return Inputs(hidden.to(dtype).requires_grad_(), head[0], targets, head[1], **(rest | settings))


def call(inputs: Inputs, path: Name | None = None) -> Selected:
    hidden, weight, targets, bias, *_ = inputs
    settings = {name: getattr(inputs, name) for name in Inputs._fields[4:]}
    return selected_logprobs(hidden, weight, targets, bias, **settings, path=path)


def leaves(inputs: Inputs) -> list[Tensor]:
    return [x for x in (inputs.hidden, inputs.weight, inputs.bias) if x is not None and x.requires_grad]


def as_double(inputs: Inputs) -> Inputs:
    changed = {
        name: getattr(inputs, name).detach().double().requires_grad_(getattr(inputs, name).requires_grad)
        for name in ("hidden", "weight", "bias")
    }
    return inputs._replace(**changed)


def error(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact).detach().norm() / exact.detach().norm().clamp(min=1e-30))


@pytest.mark.parametrize("dtype", EPSILON)
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("trains_head", [False, True])
def test_it_errs_at_most_twice_as_much_as_pytorch(
    dtype: torch.dtype, settings: dict[str, float], trains_head: bool
) -> None:
    for count, vocabulary, size in ((1, 40, 16), (3, 7, 8), (65, 301, 32), (257, 50, 16), (4, 1, 8)):
        given = made(count, vocabulary, size, dtype=dtype, trains_head=trains_head, **settings)
        exact = as_double(given)
        expected = definition(exact)[0]
        grad = torch.randn(count, generator=torch.Generator().manual_seed(1)).double()
        gradients = torch.autograd.grad(expected, leaves(exact), grad)
        plain = definition(given)[0]
        plains = torch.autograd.grad(plain, leaves(given), grad.float())
        found, is_best = call(given, "chunked")
        case = (count, vocabulary)
        assert found.dtype == torch.float32
        assert error(found, expected) <= 2 * error(plain, expected) + EPSILON[torch.float32], case
        assert torch.equal(is_best, definition(given)[1]), case
        for one, other, right in zip(
            torch.autograd.grad(found, leaves(given), grad.float()), plains, gradients, strict=True
        ):
            assert one.dtype == dtype and one.shape == right.shape
            assert error(one, right) <= 2 * error(other, right) + EPSILON[dtype], case


def test_what_is_nearly_certain_keeps_its_digits() -> None:
    """1 − p of 1e-9 is 0 in a softmax of fp32, and so would be its gradient."""
    given = made(3, 40, trains_head=True)
    given = given._replace(
        hidden=(given.hidden.detach() * 10).requires_grad_(), targets=given.targets[:1].expand(3)
    )
    exact = as_double(given)
    expected = definition(exact)[0]
    assert -1e-9 < float(expected.detach()[0]) < -1e-30
    found = call(given, "chunked").logprobs
    # The exponent of a difference of logits of about 100 in fp32.
    assert abs(float((found[0] / expected[0]).detach()) - 1) < 100 * 2.0**-23 * 8
    for one, right in zip(
        torch.autograd.grad(found[0], leaves(given)),
        torch.autograd.grad(expected[0], leaves(exact)),
        strict=True,
    ):
        assert error(one, right) < 100 * 2.0**-23 * 8


def test_the_definition_is_cross_entropy() -> None:
    given = made(9, 40)
    expected = cross_entropy(linear(given.hidden, given.weight, given.bias), given.targets, reduction="none")
    found, is_best = definition(given)
    torch.testing.assert_close(found, -expected)
    best = linear(given.hidden, given.weight, given.bias).argmax(-1)
    assert torch.equal(is_best, best == given.targets)


@pytest.mark.parametrize("path", NAMES)
def test_it_is_what_transformers_makes_of_logits(path: Name) -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    sizes: dict[str, Any] = dict(
        vocab_size=60, hidden_size=16, intermediate_size=16, num_hidden_layers=1, head_dim=8
    )
    config = Gemma2Config(**sizes, num_attention_heads=2, num_key_value_heads=2, final_logit_softcapping=0.5)
    model = Gemma2ForCausalLM(config).eval()
    with torch.no_grad():
        model.lm_head.weight.normal_(std=2.0)
    ids = torch.arange(12).view(2, 6)
    labels = ids.masked_fill(ids % 5 == 0, -100)
    loss = model(input_ids=ids, labels=labels).loss
    hidden = model.model(input_ids=ids).last_hidden_state
    found = selected_logprobs(
        hidden[:, :-1], model.lm_head.weight, labels[:, 1:], softcap=0.5, path=path
    ).logprobs
    assert found.shape == (2, 5)
    torch.testing.assert_close(-found.sum() / (labels[:, 1:] != -100).sum(), loss)


def test_gradcheck_in_fp64() -> None:
    for settings in SETTINGS:
        given = as_double(made(3, 9, 4, **settings))
        for path in NAMES:
            assert torch.autograd.gradcheck(
                lambda hidden, weight, bias, path=path, given=given: (
                    call(given._replace(hidden=hidden, weight=weight, bias=bias), path).logprobs
                ),
                leaves(given),
            )
        frozen = as_double(made(3, 9, 4, trains_head=False, **settings))
        assert torch.autograd.gradcheck(
            lambda hidden, frozen=frozen: call(frozen._replace(hidden=hidden), "chunked").logprobs,
            leaves(frozen),
        )


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck's own
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("trains_head", [False, True])
def test_it_is_an_operator_of_pytorch(path: Name, trains_head: bool) -> None:
    given = made(trains_head=trains_head, softcap=4.0)
    torch.library.opcheck(logprobs._selected, (*given, not trains_head, path))

    def loss(*tensors: Tensor) -> Tensor:
        changed: dict[str, Any] = dict(zip(("hidden", "weight", "bias"), tensors, strict=False))
        found, is_best = call(given._replace(**changed), path)
        return (found * found * (1 + is_best.float())).sum()

    torch.compiler.reset()  # or the cases would count as recompilations of one function
    compiled: Any = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for one, other in zip(
        torch.autograd.grad(compiled(*leaves(given)), leaves(given)),
        torch.autograd.grad(loss(*leaves(given)), leaves(given)),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


class Largest(TorchDispatchMode):
    """Numbers in the largest tensor that an operation made while this was on."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        given = {x.untyped_storage().data_ptr() for x in args if isinstance(x, Tensor)}
        for tensor in output if isinstance(output, tuple | list) else [output]:
            if isinstance(tensor, Tensor) and tensor.untyped_storage().data_ptr() not in given:
                self.count = max(self.count, tensor.untyped_storage().nbytes() // tensor.element_size())
        return output


@pytest.mark.parametrize("trains_head", [False, True])
def test_the_logits_are_never_all_in_memory(trains_head: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(chunked.BLOCK, "cpu", 4096)
    given = made(64, 2000, 16, trains_head=trains_head, softcap=9.0)
    with Largest() as of_all:
        torch.autograd.grad(definition(given)[0].sum(), leaves(given))
    assert of_all.count >= 64 * 2000
    frozen = given._replace(hidden=given.hidden.detach(), weight=given.weight.detach(), bias=None)
    path = PATHS["chunked"]  # itself: what happens within an operator is not seen
    with Largest() as largest, torch.no_grad():
        found, lse, _, _ = path.forward(frozen, not trains_head)
        if trains_head:
            path.backward(frozen, found, found, lse, True, True)
    # Of a head that is trained, its gradient; else a block of logits.
    assert largest.count <= (2000 * 16 if trains_head else 4096)


def test_ignored_targets_cost_nothing_and_weigh_nothing() -> None:
    given = made(6, 40)._replace(targets=torch.full((6,), -100))
    for path in NAMES:
        found, is_best = call(given, path)
        assert not found.any() and not is_best.any()
        assert not any(x.any() for x in torch.autograd.grad(found.sum(), leaves(given)))
    other = given._replace(targets=torch.tensor([0, 7, 7, 7, 7, 7]), ignore_index=7)
    assert int(call(other, "chunked").logprobs.count_nonzero()) == 1


def test_only_what_requires_a_gradient_gets_one() -> None:
    given = made()
    assert given.bias is not None
    for wanted in (["hidden"], ["weight"], ["bias"], ["hidden", "bias"], ["weight", "bias"]):
        one = given._replace(
            **{
                name: getattr(given, name).detach().requires_grad_(name in wanted)
                for name in ("hidden", "weight", "bias")
            }
        )
        assert len(leaves(one)) == len(wanted)
        pairs = (torch.autograd.grad(call(one, path).logprobs.sum(), leaves(one)) for path in NAMES)
        for found, expected in zip(*pairs, strict=True):
            torch.testing.assert_close(found, expected)
    with torch.no_grad():
        assert not call(given, "chunked").logprobs.requires_grad


@pytest.mark.parametrize("path", NAMES)
def test_under_autocast_it_multiplies_what_linear_would(path: Name) -> None:
    given = made(9, 40)
    rounded = given._replace(hidden=given.hidden.bfloat16(), weight=given.weight.bfloat16(), bias=None)
    expected = call(rounded, path).logprobs
    with torch.autocast("cpu", torch.bfloat16):
        found = call(given._replace(bias=None), path).logprobs
    assert torch.equal(found, expected)
    wanted = given.hidden, given.weight
    for one, other in zip(
        torch.autograd.grad(found.sum(), wanted), torch.autograd.grad(expected.sum(), wanted), strict=True
    ):
        assert torch.equal(one, other) and one.dtype == torch.float32


def test_the_choice_is_told_with_its_reason() -> None:
    def of(logits: int, trains_head: bool = False, dtype: torch.dtype = torch.float32) -> Inputs:
        head = torch.empty(1 << 10, 1, dtype=dtype, requires_grad=trains_head)
        hidden = torch.empty(logits >> 10, 1, dtype=dtype)
        return Inputs(hidden, head, torch.empty(len(hidden)), None, -100, 1.0, None, 1.0)

    for least, *rest in (
        (LEAST_LOGITS,),
        (LEAST_TRAINED[torch.bfloat16], True, torch.bfloat16),
        (OTHER_TRAINED, True),
    ):
        few, many = (choose(of(n, *rest)) for n in (least, least + 1024))
        assert (few.path, many.path) == ("definition", "chunked")
        assert f"{least} logits" in few.reason and "blocks of the vocabulary" in many.reason


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"targets": torch.zeros(4, dtype=torch.long)}, r"targets are \[4\], not \[5\]"),
        ({"targets": torch.zeros(5)}, "targets are of torch.float32"),
        ({"targets": torch.tensor([0, -100, 40, 1, 2])}, "a target is 40, outside 0 to 39 and not -100"),
        ({"targets": torch.full((5,), -1)}, "a target is -1"),
        ({"weight": torch.zeros(40, 15)}, r"weight is \[40, 15\], not \[V, 16\]"),
        ({"weight": torch.zeros(40, 16).bfloat16()}, "weight is of torch.bfloat16, hidden of torch.float32"),
        ({"bias": torch.zeros(39)}, r"bias is \[39\], not \[40\]"),
        ({"bias": torch.zeros(40, device="meta")}, "bias is on meta, hidden on cpu"),
        ({"temperature": 0.0}, "temperature is 0.0, not above 0"),
        ({"softcap": -1.0}, "softcap is -1.0"),
        ({"scale": math.nan}, "scale is nan"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call(made()._replace(**change))
