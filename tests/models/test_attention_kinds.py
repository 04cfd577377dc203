"""New decoders by kind of attention: they compute what they say, whatever way they are called."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from estimate_cases import model_of, recipe_of
from transformers import AutoModelForCausalLM, DynamicCache

from workbench.errors import RecipeError
from workbench.models.build import build_model
from workbench.models.isolation import check_isolation
from workbench.recipe import load

SIZES = {
    "hidden_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 3,
    "vocab_size": 300,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
}
KINDS: dict[str, dict[str, Any]] = {
    "window": {"attention": "sliding_window", "sliding_window": 8},
    "layers by turns": {"attention": "window_global", "sliding_window": 8},
    "global tokens": {"attention": "window_global", "sliding_window": 8, "global_tokens": 2},
    "strided": {"attention": "strided", "attention_stride": 4},
    "linear": {"attention": "linear"},
    "normalised": {"qk_norm": True},
    "normalised window": {"qk_norm": True, "attention": "sliding_window", "sliding_window": 8},
    "normalised linear": {"qk_norm": True, "attention": "linear"},
}
CLASSES = {
    "window": "MistralForCausalLM",
    "layers by turns": "MinistralForCausalLM",
    "normalised": "Qwen3ForCausalLM",
    "normalised window": "Qwen3ForCausalLM",
}
LENGTH = 40


def decoder(kind: str, **more: Any) -> Any:
    torch.manual_seed(0)
    return model_of(
        recipe_of("llama", "clm", **{**SIZES, **KINDS.get(kind, {}), **more}), device="cpu"
    ).eval()


def tokens(rows: int = 2, length: int = LENGTH) -> torch.Tensor:
    return torch.randint(3, 300, (rows, length), generator=torch.Generator().manual_seed(0))


def close(found: torch.Tensor, wanted: torch.Tensor) -> None:
    """Within what sums in another order may differ by."""
    assert float((found - wanted).abs().max()) < 2e-5 * max(1.0, float(wanted.abs().max()))


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_every_way_of_calling_gives_the_same(kind: str) -> None:
    """All at once; behind a cache, in pieces and one by one; padded on the left; packed."""
    model, ids = decoder(kind), tokens()
    assert type(model).__name__ == CLASSES.get(kind, "WorkbenchLlamaForCausalLM")
    check_isolation(model)
    full = model(ids, use_cache=False).logits
    cache = DynamicCache(config=model.config)
    places = [(0, 20), (20, 27), *((at, at + 1) for at in range(27, LENGTH))]
    pieces = [model(ids[:, a:b], past_key_values=cache, use_cache=True).logits for a, b in places]
    close(torch.cat(pieces, 1), full)
    mask = torch.cat([torch.zeros(2, 8), torch.ones(2, LENGTH)], 1).long()
    padded = torch.cat([torch.zeros(2, 8), ids], 1).long()
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    found = model(padded, attention_mask=mask, position_ids=positions, use_cache=False).logits
    close(found[:, 8:], full)
    positions = torch.cat([torch.arange(25), torch.arange(15)])[None]
    packed = model(ids, position_ids=positions, use_cache=False).logits
    close(packed[:, :25], full[:, :25])
    close(packed[:, 25:], model(ids[:, 25:], use_cache=False).logits)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind in CLASSES])
@torch.no_grad()
def test_blocks_are_transformers_own_attention_with_a_mask(kind: str) -> None:
    model, ids = decoder(kind), tokens()
    positions = torch.cat([torch.arange(25), torch.arange(15)])[None]
    found = model(ids, position_ids=positions, use_cache=False).logits
    model.set_attn_implementation("eager")
    close(found, model(ids, position_ids=positions, use_cache=False).logits)


@pytest.mark.parametrize(
    "wide",
    [
        {"attention": "sliding_window", "sliding_window": 64},
        {"attention": "window_global", "sliding_window": 40, "global_tokens": 3},
        {"attention": "strided", "sliding_window": 40, "attention_stride": 8},
    ],
    ids=lambda wide: str(wide["attention"]),
)
@torch.no_grad()
def test_what_covers_the_row_is_full_attention(wide: dict[str, Any]) -> None:
    plain, other, ids = decoder("full"), decoder("full", **wide), tokens()
    other.load_state_dict(plain.state_dict())
    close(other(ids, use_cache=False).logits, plain(ids, use_cache=False).logits)


@pytest.mark.parametrize("kind", ["global tokens", "linear"])
def test_what_is_saved_loads_and_says_nothing_of_how_it_was_computed(kind: str, tmp_path: Path) -> None:
    model, ids = decoder(kind), tokens(1)
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["model_type"] == "workbench_llama"
    assert "layer_types" not in config and "workbench_blocks" not in str(config)
    again = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        assert torch.equal(again(ids, use_cache=False).logits, model(ids, use_cache=False).logits)
    written = again.generate(ids[:, :12], max_new_tokens=5, do_sample=False)
    assert written.shape == (1, 17)


@pytest.mark.slow
def test_transformers_alone_refuses_our_own_type(tmp_path: Path) -> None:
    decoder("linear").save_pretrained(tmp_path)
    script = f"from transformers import AutoConfig; AutoConfig.from_pretrained({str(tmp_path)!r})"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == 1 and "`workbench_llama` but Transformers does not recognize" in ended.stderr


def test_training_by_checkpoints_has_the_same_gradients() -> None:
    for kind in ("global tokens", "strided", "linear"):
        found = []
        for again in (False, True):
            model = decoder(kind).train()
            if again:
                model.activation_checkpointing_enable({"use_reentrant": False})
            model(tokens(), labels=tokens(), use_cache=False).loss.backward()
            found.append({name: weight.grad for name, weight in model.named_parameters()})
        assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_depth_scaled_weights_are_smaller_by_the_root_of_twice_the_layers() -> None:
    section = recipe_of("llama", "clm", **{**SIZES, "hidden_size": 128, "init": "depth_scaled"}).model
    torch.manual_seed(0)
    model: Any = build_model(section, Tokenizer())
    for layer in model.model.layers:
        for weight, wanted in (
            (layer.self_attn.q_proj.weight, 0.2),
            (layer.mlp.up_proj.weight, 0.2),
            (layer.self_attn.o_proj.weight, 0.2 / 6**0.5),
            (layer.mlp.down_proj.weight, 0.2 / 6**0.5),
        ):
            # Five standard errors of a standard deviation.
            assert float(weight.detach().std()) == pytest.approx(wanted, rel=5 / (2 * weight.numel()) ** 0.5)


class Tokenizer:
    """As much of one as building needs."""

    bos_token_id = eos_token_id = pad_token_id = 0

    def __len__(self) -> int:
        return 300


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"attention": "linear", "dropout": 0.1}, "no probabilities"),
        ({"attention": "sliding", "dropout": 0.1}, "sliding_window"),
        ({"attention": "linear", "family": "bert"}, "only of family llama"),
        ({"attention": "window_global", "global_attn_every_n_layers": 9}, "none would"),
        ({"sliding_window": 4}, "means nothing to attention full"),
        ({"attention": "linear", "model_name_or_path": "some-model"}, "has its own"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError) as refused:
        load("nano", [f"model.{key}={value}" for key, value in wrong.items()])
    assert words in refused.value.render()
