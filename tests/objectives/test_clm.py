"""Causal language modelling against transformers' own loss, and the exact invariants of packing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from peft import PrefixTuningConfig, PromptTuningConfig, get_peft_model
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PreTrainedModel, Qwen2Config

from workbench.errors import ModelError
from workbench.models.build import build_model
from workbench.models.isolation import check_isolation
from workbench.objectives import Batch, LossOutput
from workbench.objectives.clm import IGNORE, CausalLanguageModeling
from workbench.recipe import ModelSection, Recipe

VOCABULARY = 97


def model_of(kind: str = "llama", **options: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    configs = {
        "llama": lambda: LlamaConfig(**sizes, intermediate_size=64, num_key_value_heads=2, **options),
        "qwen2": lambda: Qwen2Config(**sizes, intermediate_size=64, num_key_value_heads=2, **options),
        "gpt2": lambda: GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, **options),
    }
    model: PreTrainedModel = AutoModelForCausalLM.from_config(configs[kind](), attn_implementation="sdpa")
    return model.eval()


def row(documents: list[list[int]], length: int) -> tuple[list[int], list[int], list[int]]:
    """A packed row written out by hand: ids, targets inside each document, positions; padded at the end."""
    ids: list[int] = []
    targets: list[int] = []
    positions: list[int] = []
    for document in documents:
        ids += document
        targets += [*document[1:], IGNORE]
        positions += range(len(document))
    padding = length - len(ids)
    return ids + [0] * padding, targets + [IGNORE] * padding, positions + [0] * padding


def loss_of(
    model: PreTrainedModel, rows: list[tuple[list[int], list[int], list[int]]]
) -> tuple[torch.Tensor, int]:
    ids, targets, positions = (np.array(part) for part in zip(*rows, strict=True))
    count = int((targets != IGNORE).sum())
    output = output_of(model, ids, targets, positions)
    return output.sums[0], count


def output_of(model: PreTrainedModel, ids: Any, targets: Any, positions: Any) -> LossOutput:
    arrays = {"input_ids": ids, "targets": targets, "position_ids": positions}
    batch = Batch(arrays, (int((targets != IGNORE).sum()),), ids.size)
    objective = CausalLanguageModeling(Recipe(), None)
    return objective.loss(model, objective.tensors(batch, torch.device("cpu")), batch)


def gradients(model: PreTrainedModel, loss: torch.Tensor) -> list[torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def documents(seed: int, lengths: list[int]) -> list[list[int]]:
    generator = np.random.default_rng(seed)
    return [generator.integers(1, VOCABULARY, size=length).tolist() for length in lengths]


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt2"])
@pytest.mark.parametrize("lengths", [[5, 9, 2, 8], [1, 1, 22], [24]])
def test_packed_with_isolation_equals_unpacked(kind: str, lengths: list[int]) -> None:
    model = model_of(kind)
    texts = documents(1, lengths)
    packed, count = loss_of(model, [row(texts, 28)])
    packed_gradients = gradients(model, packed)
    alone, alone_count = loss_of(model, [row([text], 28) for text in texts])
    assert count == alone_count == sum(lengths) - len(lengths)
    assert packed.item() == pytest.approx(alone.item(), rel=1e-5)
    for ours, theirs in zip(packed_gradients, gradients(model, alone), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_the_loss_is_that_of_transformers() -> None:
    model = model_of()
    text = documents(2, [20])[0]
    ours, count = loss_of(model, [row([text], 20)])
    ids = torch.tensor([text])
    assert ours.item() / count == pytest.approx(model(input_ids=ids, labels=ids).loss.item(), rel=1e-6)


def test_accuracy_counts_only_targets() -> None:
    model = model_of()
    text = documents(3, [12])[0]
    with torch.no_grad():
        predicted = model(input_ids=torch.tensor([text])).logits[0, :-1].argmax(-1)
    expected = int((predicted == torch.tensor(text[1:])).sum())
    output = output_of(model, *(np.array([part]) for part in row([text], 30)))
    assert output.stats.tolist()[:1] == [expected]


@pytest.mark.parametrize("vocabulary", [1024, 50257])
def test_the_first_loss_is_that_of_guessing(vocabulary: int) -> None:
    torch.manual_seed(0)
    tokenizer: Any = FakeTokenizer(vocabulary)
    section = ModelSection(vocab_size=vocabulary, hidden_size=64, num_hidden_layers=2, num_attention_heads=4)
    model = build_model(section, tokenizer).eval()
    ids = np.random.default_rng(0).integers(0, vocabulary, size=200).tolist()
    loss, count = loss_of(model, [row([ids], 200)])
    assert loss.item() / count == pytest.approx(math.log(vocabulary), rel=0.02)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt2"])
def test_isolation_is_found_where_it_is(kind: str) -> None:
    model = model_of(kind).train()
    check_isolation(model)
    assert model.training


def test_a_model_that_mixes_documents_is_refused() -> None:
    model = model_of()
    original = model.forward
    model.forward = lambda **inputs: original(**{**inputs, "position_ids": None})
    with pytest.raises(ModelError, match="does not keep packed documents apart") as caught:
        check_isolation(model)
    assert "isolate_documents=false" in caught.value.hint


class FakeTokenizer:
    """As much of a tokenizer as building a model needs."""

    bos_token_id, eos_token_id, pad_token_id = 0, 1, 2

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size


@pytest.mark.parametrize(
    ("section", "parameters"),
    [
        # embedding V·h, per layer 4·h² + 3·h·f + 2·h, final norm h (tied, all heads)
        (
            dict(
                vocab_size=300,
                hidden_size=32,
                num_hidden_layers=2,
                num_attention_heads=4,
                intermediate_size=64,
            ),
            30_240,
        ),
        # untied adds V·h
        (
            dict(
                vocab_size=300,
                hidden_size=32,
                num_hidden_layers=2,
                num_attention_heads=4,
                intermediate_size=64,
                tie_word_embeddings=False,
            ),
            39_840,
        ),
        # two of four KV heads halve keys and values
        (
            dict(
                vocab_size=300,
                hidden_size=32,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                intermediate_size=64,
            ),
            28_192,
        ),
    ],
)
def test_built_models_have_the_size_of_their_shape(section: dict[str, Any], parameters: int) -> None:
    tokenizer: Any = FakeTokenizer(300)
    model = build_model(ModelSection(**section), tokenizer)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert model.config.max_position_embeddings == 256


def test_an_existing_tokenizer_decides_the_vocabulary() -> None:
    tokenizer: Any = FakeTokenizer(777)
    section = ModelSection(
        vocab_size=300, hidden_size=32, num_attention_heads=4, tokenizer_name_or_path="some/one"
    )
    assert build_model(section, tokenizer).config.vocab_size == 777


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
@pytest.mark.filterwarnings("ignore:Model has .tie_word_embeddings:UserWarning")
@pytest.mark.parametrize("method", ["prompt", "prefix", "full"])
def test_logits_exist_only_where_something_is_to_be_predicted(method: str) -> None:
    model: Any = model_of("gpt2")
    if method == "prompt":
        config: Any = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    else:
        config = PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    if method != "full":
        model = get_peft_model(model, config)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(VOCABULARY, (3, 7), generator=generator)
    targets = torch.full((3, 7), IGNORE)
    targets[0, 5], targets[1, 2], targets[2, 5:] = 3, 4, torch.tensor([5, 6])
    shapes: list[Any] = []
    keep = model.get_output_embeddings().register_forward_hook(
        lambda _module, _inputs, output: shapes.append(output.shape)
    )
    recipe = Recipe(
        model=ModelSection(family="llama", model_name_or_path="m"),
        tuning={"method": method},
        data={"packing": False},
    )
    tensors = {"input_ids": ids, "targets": targets, "position_ids": torch.arange(7).expand(3, 7)}
    batch = Batch({}, (4,), 21)
    found = CausalLanguageModeling(recipe, None).loss(model, tensors, batch)
    # A head that is not trained makes none at all.
    assert shapes[-1] == ((4, VOCABULARY) if method == "full" else (3, 7, 1))
    keep.remove()
    whole = model(input_ids=ids).logits[:, -7:]
    expected = torch.nn.functional.cross_entropy(whole.flatten(0, 1), targets.flatten(), reduction="sum")
    torch.testing.assert_close(found.sums[0], expected)
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    ours = torch.autograd.grad(found.sums[0], learning, allow_unused=True)
    for one, other in zip(ours, torch.autograd.grad(expected, learning, allow_unused=True), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
