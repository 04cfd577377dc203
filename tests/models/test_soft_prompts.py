"""Soft prompts: counts, beginnings, what learns, folding; plain PEFT reads them and we read PEFT's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from tiny_models import at, ids_of, model_of
from transformers import GPT2Config, GPT2LMHeadModel

from workbench.errors import ModelError
from workbench.models.adapt import adapt
from workbench.models.load import load_model
from workbench.models.purpose import Purpose
from workbench.models.soft_prompts import nearest_tokens
from workbench.models.soft_prompts.initial import initial_tokens, prefix_of
from workbench.models.soft_prompts.saving import PROJECTION
from workbench.recipe import TuningSection
from workbench.training.checkpoint import save_model

pytestmark = [
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Model has .tie_word_embeddings:UserWarning"),
]
CLM = Purpose("clm")


class Words:
    """A tokenizer of numbers, of which the first six are special; it puts one of them before a text."""

    all_special_ids = tuple(range(6))

    def __len__(self) -> int:
        return 300

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": [0] * add_special_tokens + [int(word) for word in text.split()]}

    def decode(self, ids: list[int], **_: Any) -> str:
        return f"\x1b{ids[0]}"

    def save_pretrained(self, folder: Path) -> None:
        """There is nothing to save."""


def section(method: Any, **values: Any) -> TuningSection:
    return TuningSection(method=method, num_virtual_tokens=values.pop("p", 5), **values)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder with two groups of keys and values."""
    path = tmp_path_factory.mktemp("base") / "llama"
    model_of("llama", "clm", num_key_value_heads=2).save_pretrained(path)
    return path


def base(folder: Path) -> Any:
    return load_model(at(folder), CLM, complete=True)


def prompted(folder: Path, tuning: TuningSection, checkpoint: Path | None = None) -> Any:
    torch.manual_seed(3)
    return adapt(base(folder), tuning, CLM, checkpoint, Words())


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    found: torch.Tensor = model.eval()(input_ids=ids_of(9), use_cache=False).logits
    return found


def trained(model: Any) -> Any:
    optimizer = torch.optim.SGD((w for w in model.parameters() if w.requires_grad), 0.5)
    for _ in range(2):
        optimizer.zero_grad()
        model(input_ids=ids_of(12), use_cache=False).logits.square().mean().backward()
        optimizer.step()
    return model


@pytest.mark.parametrize(("method", "weights"), [("prefix", 368_640), ("prompt", 15_360)])
def test_gpt2_small_has_the_published_number_of_weights(method: str, weights: int) -> None:
    with torch.device("meta"):
        model = GPT2LMHeadModel(GPT2Config())
    wrapped = adapt(model, section(method, p=20, prompt_tuning_init="RANDOM"), CLM, None, Words())
    assert sum(w.numel() for w in wrapped.parameters() if w.requires_grad) == weights


def test_a_text_is_repeated_or_cut_without_special_tokens() -> None:
    tokens: Any = Words()
    assert initial_tokens(section("prompt", prompt_tuning_init_text="7 0 8 9"), tokens) == [7, 8, 9, 7, 8]
    assert initial_tokens(section("prompt", p=2, prompt_tuning_init_text="7 8 9"), tokens) == [7, 8]
    assert min(initial_tokens(section("prompt", p=200), tokens) or []) >= 6
    with pytest.raises(ModelError, match="no tokens but special"):
        initial_tokens(section("prompt", prompt_tuning_init_text="0 1"), tokens)


@pytest.mark.parametrize("method", ["prompt", "prefix"])
def test_begun_from_a_text_it_is_as_if_the_text_stood_there(method: str, folder: Path) -> None:
    model = prompted(folder, section(method, prompt_tuning_init_text="11 12 13 14 15"))
    text = torch.tensor([11, 12, 13, 14, 15]).expand(2, -1)
    with torch.no_grad():
        whole = base(folder).eval()(input_ids=torch.cat([text, ids_of(9)], 1)).logits
    torch.testing.assert_close(logits(model)[:, -9:], whole[:, -9:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "tuning",
    [section("prompt"), section("prefix"), section("prefix", prefix_projection=True, encoder_hidden_size=8)],
)
def test_plain_peft_reads_what_was_saved_and_a_checkpoint_goes_on(
    tuning: TuningSection, folder: Path, tmp_path: Path
) -> None:
    model = trained(prompted(folder, tuning))
    learning = {name for name, w in model.named_parameters() if w.requires_grad}
    assert learning and all(name.startswith("prompt_encoder.") for name in learning)
    tokenizer: Any = Words()
    save_model(tmp_path, model, tokenizer)
    plain = PeftModel.from_pretrained(base(folder), str(tmp_path))
    assert not getattr(plain.active_peft_config, "prefix_projection", False)
    torch.testing.assert_close(logits(plain), logits(model), rtol=1e-5, atol=1e-5)
    again = prompted(folder, tuning, tmp_path)
    assert torch.equal(logits(again), logits(model))
    own = dict(model.named_parameters())
    assert all(torch.equal(weights, own[name]) for name, weights in again.named_parameters())
    assert (tmp_path / PROJECTION).is_file() == tuning.prefix_projection


@pytest.mark.parametrize("method", ["prompt", "prefix"])
def test_what_peft_saved_is_read(method: str, folder: Path, tmp_path: Path) -> None:
    kind: Any = PromptTuningConfig if method == "prompt" else PrefixTuningConfig
    plain = get_peft_model(base(folder), kind(task_type="CAUSAL_LM", num_virtual_tokens=5))
    plain.save_pretrained(str(tmp_path))
    ours = prompted(folder, section(method), tmp_path)
    torch.testing.assert_close(logits(ours), logits(plain), rtol=1e-5, atol=1e-5)


def test_half_precision_leaves_the_prompt_in_single(folder: Path) -> None:
    for method in ("prompt", "prefix"):
        model = adapt(base(folder).bfloat16(), section(method), CLM, None, Words())
        assert {w.dtype for w in model.parameters() if w.requires_grad} == {torch.float32}


def test_a_prompt_of_another_model_is_refused_with_both_shapes(folder: Path, tmp_path: Path) -> None:
    tokenizer: Any = Words()
    save_model(tmp_path, prompted(folder, section("prefix")), tokenizer)
    with pytest.raises(ModelError, match=r"shape \(5, 96\).* need \(7, 96\)"):
        prompted(folder, section("prefix", p=7), tmp_path)


def test_a_prompt_is_read_as_its_nearest_tokens(folder: Path, tmp_path: Path) -> None:
    tokenizer: Any = Words()
    model = prompted(folder, section("prompt", p=2, prompt_tuning_init_text="11 12"))
    save_model(tmp_path, model, tokenizer)
    first, second = nearest_tokens(tmp_path, base(folder), tokenizer, 3)
    assert [first[0].token, second[0].token] == [11, 12] and len(first) == 3
    assert first[0].cosine == pytest.approx(1, abs=1e-6) and first[0].l2 == 0
    assert first[0].text == "“\\x1b11”" and first[0].cosine >= first[1].cosine >= first[2].cosine
    config = json.loads((tmp_path / "adapter_config.json").read_text()) | {"peft_type": "PREFIX_TUNING"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="near no token"):
        nearest_tokens(tmp_path, base(folder), tokenizer)


@pytest.mark.parametrize("family", ["t5", "bart"])
@pytest.mark.parametrize("method", ["prompt", "prefix"])
def test_encoder_decoders_learn_them_too(family: Any, method: str, tmp_path: Path) -> None:
    model = adapt(model_of(family, "denoise"), section(method), Purpose("denoise"), None, Words())
    mask = torch.ones(2, 9, dtype=torch.long)
    inputs = {"input_ids": ids_of(9), "attention_mask": mask, "decoder_input_ids": ids_of(4)}
    cached = method == "prefix"
    model(**inputs, use_cache=cached).logits.square().mean().backward()
    grads = [w.grad for w in model.parameters() if w.requires_grad]
    assert all(grad is not None and grad.abs().sum() > 0 for grad in grads)


def test_encoders_are_refused() -> None:
    with pytest.raises(ModelError, match="is none"):
        adapt(model_of("bert", "mlm"), section("prompt"), Purpose("mlm"), None, Words())


def test_prefixes_are_laid_out_as_peft_reads_them(folder: Path) -> None:
    assert prefix_of(base(folder), [9, 8]).shape == (2, 2 * 3 * 2 * 8)
