"""Soft-prompt embedding: the paths against the definition, the definition against PEFT's own forward."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from workbench.ops.soft_prompt import embedding
from workbench.ops.soft_prompt.definition import Inputs, definition, prompt_labels, prompt_mask
from workbench.ops.soft_prompt.embedding import soft_prompt_embedding
from workbench.ops.soft_prompt.paths import LEAST_BYTES, PATHS, Name, choose

NAMES: tuple[Name, ...] = ("definition", *PATHS)
VOCABULARY, SIZE = 50, 24
TYPES = [
    (torch.float32, torch.float32),
    (torch.bfloat16, torch.float32),
    (torch.bfloat16, torch.bfloat16),
    (torch.float16, torch.float32),
]


def made(
    batch: int = 3,
    length: int = 5,
    virtual: int = 4,
    prompts: int | None = None,
    *,
    types: tuple[torch.dtype, torch.dtype] = TYPES[0],
    scale: float | None = None,
) -> Inputs:
    """Random ids, a table, one prompt or several with an index of each row."""
    generator = torch.Generator().manual_seed(batch * 100 + length)
    several = () if prompts is None else (prompts,)
    return Inputs(
        torch.randint(0, VOCABULARY, (batch, length), generator=generator),
        torch.randn(VOCABULARY, SIZE, generator=generator).to(types[0]),
        torch.randn(*several, virtual, SIZE, generator=generator).to(types[1]).requires_grad_(),
        None if prompts is None else torch.randint(0, prompts, (batch,), generator=generator),
        scale,
    )


def call(inputs: Inputs, path: Name | None = None) -> Tensor:
    ids, table, prompt, index, scale = inputs
    return soft_prompt_embedding(ids, table, prompt, index, scale=scale, path=path)


@pytest.mark.parametrize("path", NAMES)
@pytest.mark.parametrize("types", TYPES)
@pytest.mark.parametrize("prompts", [None, 1, 3])
def test_every_path_is_exact_and_sums_the_gradient_in_fp32(
    path: Name, types: tuple[torch.dtype, torch.dtype], prompts: int | None
) -> None:
    for batch, length, virtual in ((1, 1, 1), (17, 3, 20), (2, 65, 3)):
        given = made(batch, length, virtual, prompts, types=types, scale=SIZE**0.5)
        output = call(given, path)
        assert torch.equal(output, definition(given)) and output.dtype == types[0]
        grad = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(types[0])
        (found,) = torch.autograd.grad(output, given.prompt, grad)
        index = torch.zeros(batch, dtype=torch.long) if given.prompt_index is None else given.prompt_index
        exact = torch.zeros(prompts or 1, virtual, SIZE, dtype=torch.float64)
        exact.index_add_(0, index, grad[:, :virtual].double())
        # Sums of up to 17 terms of about 1 in fp32, rounded once to the prompt's type.
        tolerance = 17 * 2.0**-23 * 4 + torch.finfo(types[1]).eps * float(exact.abs().max())
        assert found.dtype == types[1] and found.shape == given.prompt.shape
        assert float((found.double() - exact.view(found.shape)).abs().max()) <= tolerance


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_the_prompt_stands_where_peft_puts_it() -> None:
    from peft import PromptTuningConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    shape: dict[str, Any] = dict(hidden_size=SIZE, intermediate_size=32, num_hidden_layers=1)
    config = LlamaConfig(vocab_size=VOCABULARY, num_attention_heads=2, **shape)
    tuning = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
    model: Any = get_peft_model(LlamaForCausalLM(config), tuning)
    ids = made().ids
    mask = torch.ones_like(ids)
    mask[1, :2] = 0  # padding on the left
    labels = ids.masked_fill(mask == 0, -100)
    seen: dict[str, Tensor] = {}
    model.base_model.register_forward_pre_hook(lambda _, __, kwargs: seen.update(kwargs), with_kwargs=True)
    model(input_ids=ids, attention_mask=mask, labels=labels)
    prompt = model.prompt_encoder["default"].embedding.weight
    found = soft_prompt_embedding(ids, model.get_input_embeddings().weight.detach(), prompt)
    assert torch.equal(found, seen["inputs_embeds"])
    assert torch.equal(prompt_mask(mask, 4), seen["attention_mask"].long())
    assert torch.equal(prompt_labels(labels, 4), seen["labels"])


def test_gradcheck_in_fp64() -> None:
    double = (torch.float64, torch.float64)
    for path in NAMES:
        for prompts in (None, 2):
            given = made(3, 2, 2, prompts, types=double, scale=1.5)
            assert torch.autograd.gradcheck(
                lambda prompt, given=given, path=path: call(given._replace(prompt=prompt), path), given.prompt
            )


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck's own
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("prompts", [None, 3])
def test_it_is_an_operator_of_pytorch(path: Name, prompts: int | None) -> None:
    given = made(prompts=prompts, types=TYPES[1], scale=2.0)
    torch.library.opcheck(embedding._embedding, (*given, path))

    def loss(prompt: Tensor) -> Tensor:
        return call(given._replace(prompt=prompt), path).float().square().sum()

    torch.compiler.reset()  # or the cases would count as recompilations of one function
    compiled: Any = torch.compile(loss, fullgraph=True, backend="aot_eager")
    found, expected = (torch.autograd.grad(f(given.prompt), given.prompt)[0] for f in (compiled, loss))
    torch.testing.assert_close(found, expected)


def test_the_choice_is_told_with_its_reason() -> None:
    small = made()
    assert choose(small).path == "definition" and "1440 bytes" in choose(small).reason
    rows = LEAST_BYTES // (SIZE * 4) + 1
    large = small._replace(ids=torch.zeros(1, rows, dtype=torch.int32))
    assert choose(large).path == "composed" and "written once" in choose(large).reason
    trained = large._replace(table=large.table.clone().requires_grad_())
    assert choose(trained).path == "definition" and "trained too" in choose(trained).reason


def test_a_table_that_is_trained_gets_its_gradient() -> None:
    given = made()
    table = given.table.requires_grad_()
    (found,) = torch.autograd.grad(call(given).sum(), table)
    assert float(found.sum()) == given.ids.numel() * SIZE
    with pytest.raises(ValueError, match="no gradient for a table"):
        call(given, "composed")
    with torch.no_grad():
        assert torch.equal(call(given, "composed"), call(given))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ids": torch.zeros(5, dtype=torch.long)}, r"ids are \[B, T\]"),
        ({"ids": torch.zeros(3, 5)}, "ids is of torch.float32"),
        ({"table": torch.zeros(9, SIZE, dtype=torch.int32)}, "table is of torch.int32"),
        ({"prompt": torch.zeros(4, SIZE + 1)}, "25 numbers, the table's 24: it was made for another model"),
        ({"prompt": torch.zeros(2, 4, SIZE)}, "without an index"),
        ({"prompt_index": torch.zeros(3, dtype=torch.long)}, "with an index"),
        ({"prompt": torch.zeros(2, 4, SIZE), "prompt_index": torch.zeros(2, dtype=torch.long)}, r"not \[3\]"),
        (
            {"prompt": torch.zeros(2, 4, SIZE), "prompt_index": torch.tensor([0, 1, 2])},
            "index has 2, outside 0 to 1",
        ),
        ({"ids": torch.full((3, 5), VOCABULARY)}, "ids has 50, outside 0 to 49"),
        ({"ids": torch.full((3, 5), -100)}, "ids has -100"),
        ({"prompt": torch.zeros(4, SIZE, device="meta")}, "prompt is on meta, the table on cpu"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call(made()._replace(**change), "composed")


def test_rows_without_tokens_are_prompt_alone() -> None:
    given = made(2, 0, 4)
    for path in NAMES:
        assert torch.equal(call(given, path), given.prompt.detach().expand(2, -1, -1))
