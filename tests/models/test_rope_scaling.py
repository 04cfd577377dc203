"""Stretched rotary positions: the angles are those of the papers, and everything that reads them agrees."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from compiled_home import compiled_home
from llama_layers import error, model_of, packed_positions, step
from numpy.typing import NDArray
from prefix_models import decoder
from saved_models import save, tokenizer_of
from transformers import AutoModelForCausalLM

from workbench.errors import ModelError
from workbench.exporting.merge import merged
from workbench.inference.engine.paged_runner import PagedRunner
from workbench.inference.loading.load import load_for_inference
from workbench.inference.server.opening import choose_runner
from workbench.models.context import context_of, context_of_config
from workbench.models.fused_layers import fuse_layers
from workbench.models.load import load_model
from workbench.models.rope_scaling import extend, extension_of, hold_still, in_words, parameters_of, recorded
from workbench.models.rope_scaling_dynamic import use_exact_dynamic
from workbench.models.shared_prompt.support import share_prompts
from workbench.prediction.opening import open_model
from workbench.recipe import ModelSection, Recipe
from workbench.rope_extension import METHODS, RopeExtension, RopeMethod
from workbench.training.announce_positions import position_lines
from workbench.training.checkpoint import save_model
from workbench.training.ppo.answers import Manner
from workbench.training.ppo.writing import writer_of
from workbench.training.starting_model import other_model, purpose_of, row_length, starting_model

TRAINED, FACTOR = 32, 4.0
Floats = NDArray[np.float64]


@pytest.fixture(autouse=True)
def compiled(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Compiled code is shared by all tests."""
    monkeypatch.setenv("WORKBENCH_HOME", str(compiled_home(tmp_path_factory)))


def plain_frequencies(size: int, base: float) -> Floats:
    """Su et al. 2021, section 3.2.2."""
    return base ** (-np.arange(0, size, 2) / size)


def frequencies(method: str, size: int, base: float, factor: float, trained: int, length: int) -> Floats:
    """As in the papers and their authors' code, in fp64."""
    plain = plain_frequencies(size, base)
    if method == "linear":
        return plain / factor
    if method == "ntk":
        return plain_frequencies(size, base * factor ** (size / (size - 2)))
    if method == "dynamic":
        scale = max(1.0, factor * length / trained - (factor - 1))
        return plain_frequencies(size, base * scale ** (size / (size - 2)))
    # jquesnelle/yarn, LlamaYaRNScaledRotaryEmbedding: dimensions at which a pair turns 32 times and once.
    at = [size * math.log(trained / (turns * 2 * math.pi)) / (2 * math.log(base)) for turns in (32, 1)]
    low, high = max(math.floor(at[0]), 0), min(math.ceil(at[1]), size - 1)
    ramp = np.clip((np.arange(size // 2) - low) / max(high - low, 1e-3), 0, 1)
    return plain / factor * ramp + plain * (1 - ramp)


def angles(model: Any, length: int, layer: str | None = None) -> tuple[Floats, float]:
    """The frequencies [d / 2] of a model in a text of `length` tokens, and its scale of attention."""
    rotary = next(part for part in model.modules() if hasattr(part, "rope_type"))
    given = {} if layer is None else {"layer_type": layer}
    cos, sin = rotary(torch.zeros(1, dtype=torch.float64), torch.arange(length)[None], **given)
    half = cos.shape[-1] // 2
    angle = torch.atan2(sin[0, 1, :half], cos[0, 1, :half])
    return angle.numpy(), float((cos[0, 0] ** 2 + sin[0, 0] ** 2).sqrt().max())


@pytest.mark.parametrize("method", METHODS)
def test_angles_are_those_of_the_papers(method: RopeMethod) -> None:
    for family, size in (("Llama", 16), ("Qwen3", 32), ("Phi", 8), ("Gemma3", 32)):
        for factor in (1.5, FACTOR):
            kinds = {"layer_types": ["sliding_attention", "full_attention"]} if family == "Gemma3" else {}
            model = decoder(family, **kinds)
            extend(model.config, RopeExtension(method, factor, TRAINED))
            made = type(model)(model.config)
            layer = "full_attention" if family == "Gemma3" else None
            rope = list(parameters_of(model.config))[-1 if layer else 0]
            base = 1e6 if layer else 1e4
            length = int(TRAINED * factor)
            found, scale = angles(made, length, layer)
            expected = frequencies(method, size, base, factor, TRAINED, length)
            # fp32 powers of the base, and an angle taken back from cosine and sine.
            np.testing.assert_allclose(found, expected, rtol=3e-6, atol=1e-7)
            attention = 0.1 * math.log(factor) + 1 if method == "yarn" else 1.0
            assert scale == pytest.approx(attention, rel=1e-6)
            assert context_of_config(model.config) == length
            if layer:
                # Layers with a window never see a distance that is new.
                local, _ = angles(made, length, "sliding_attention")
                np.testing.assert_allclose(local, plain_frequencies(size, 1e4), rtol=3e-6, atol=1e-7)
            else:
                assert rope["rope_type"] == ("default" if method == "ntk" else method)


def test_a_factor_of_one_changes_nothing_and_yarn_takes_its_own_parameters() -> None:
    for method in METHODS:
        config = decoder().config
        before = config.to_dict()
        extend(config, RopeExtension(method, 1.0))
        assert config.to_dict() == before
    config = decoder().config
    extend(config, RopeExtension("yarn", 8.0, 32, beta_fast=16.0, beta_slow=2.0, attention_factor=1.5))
    (rope,) = parameters_of(config)
    assert (rope["beta_fast"], rope["beta_slow"], rope["attention_factor"]) == (16.0, 2.0, 1.5)
    assert angles(type(decoder())(config), 8)[1] == pytest.approx(1.5, rel=1e-6)


def test_what_cannot_be_stretched_is_refused_with_what_is_there_instead() -> None:
    yarn = RopeExtension("yarn", 2.0)
    no_rotary = {
        "learned table": transformers.GPT2Config(),
        "biases by distance": transformers.T5Config(),
        "ALiBi": transformers.FalconConfig(alibi=True),
        "two streams": transformers.XLNetConfig(),
        "none at all": transformers.MambaConfig(),
    }
    for words, config in no_rotary.items():
        with pytest.raises(ModelError, match=words):
            extend(config, yarn)
    config = decoder().config
    with pytest.raises(ModelError, match="shorten the context; 1 leaves it, 2 lengthens"):
        extend(config, RopeExtension("linear", 0.5))
    with pytest.raises(ModelError, match="65 is more than the model's context of 64"):
        extend(config, RopeExtension("linear", 2.0, 65))
    narrow = decoder(num_attention_heads=32, num_key_value_heads=2).config
    with pytest.raises(ModelError, match="turn only 2 numbers"):
        extend(narrow, RopeExtension("ntk", 2.0))
    proportional = {"rope_type": "proportional", "rope_theta": 1e4, "partial_rotary_factor": 0.5}
    with pytest.raises(ModelError, match="a kind of their own .proportional"):
        extend(decoder(rope_parameters=proportional).config, yarn)
    # A window of what is known sees no distance that is new; one that is longer does.
    windows = {"max_position_embeddings": 64, "sliding_window": 32}
    for config in (transformers.MistralConfig(**windows), transformers.MinistralConfig(**windows)):
        with pytest.raises(ModelError, match="sees a window only"):
            extend(config, yarn)
    extend(transformers.MistralConfig(**{**windows, "sliding_window": 128}), yarn)
    # What stands there of something else is no record of an extension.
    config = decoder().config
    config.rope_extension = {"method": "yarn"}
    assert extension_of(config) is None and recorded(config) is None
    for method in METHODS:
        done = decoder().config
        extend(done, RopeExtension(method, FACTOR))
        with pytest.raises(ModelError, match="stretched already: .*×4 from 64 tokens"):
            extend(done, yarn)
    llama3 = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0}
    llama3 |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 32}
    with pytest.raises(ModelError, match="stretched already: llama3 ×8 from 32 tokens"):
        extend(decoder(rope_parameters=llama3).config, yarn)


def extended_pair(folder: Path, method: RopeMethod) -> tuple[Any, Any]:
    """What the workbench loads with an extension, and what transformers loads of what that saves."""
    save(folder, "Llama", num_key_value_heads=2, max_position_embeddings=TRAINED)
    section = ModelSection(model_name_or_path=str(folder), rope_scaling=method, rope_factor=FACTOR)
    assert context_of(section) == TRAINED * FACTOR
    mine: Any = load_model(section).eval()
    mine.save_pretrained(folder / "saved")
    return mine, AutoModelForCausalLM.from_pretrained(folder / "saved").eval()


@pytest.mark.parametrize("method", METHODS)
def test_saved_it_is_the_same_to_transformers_and_to_the_engine(tmp_path: Path, method: RopeMethod) -> None:
    mine, theirs = extended_pair(tmp_path, method)
    ids = torch.randint(3, 100, (1, int(TRAINED * FACTOR)), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole = mine(ids, use_cache=False).logits
        assert torch.equal(whole, theirs(ids, use_cache=False).logits)
        plain = AutoModelForCausalLM.from_pretrained(tmp_path)(ids, use_cache=False).logits
        assert not torch.allclose(whole, plain, atol=1e-2)
    assert in_words(extension_of(theirs.config) or {}).endswith("×4 from 32 tokens")
    # From the folder as it was, by the options of an engine, and from what was saved.
    extension = RopeExtension(method, FACTOR)
    (tmp_path / "saved" / "tokenizer.json").write_text((tmp_path / "tokenizer.json").read_text())
    (tmp_path / "saved" / "tokenizer_config.json").write_text(
        (tmp_path / "tokenizer_config.json").read_text()
    )
    for folder, rope in ((tmp_path, extension), (tmp_path / "saved", None)):
        loaded = load_for_inference(str(folder), device="cpu", dtype="float32", rope=rope)
        assert loaded.max_length == TRAINED * FACTOR
        assert any("stretched" in note and "×4" in note for note in loaded.notes)
        assert any("held at" in note for note in loaded.notes) == (method == "dynamic")
        for choose in (lambda one: one.make_runner(), lambda one: choose_runner(one, None)):
            runner = choose(loaded)
            assert runner.max_length == TRAINED * FACTOR
            with torch.inference_mode():
                torch.testing.assert_close(decoded(runner, ids[0].tolist()), whole[0], atol=1e-4, rtol=1e-4)
        assert isinstance(runner, PagedRunner)


def decoded(runner: Any, ids: list[int], read: int = 20) -> torch.Tensor:
    """Logits [n, V] of a text of which the beginning is read and the rest decoded with the cache."""
    prefill = runner.begin(ids[:read], all_logits=True)
    found = [logits for logits in iter(lambda: runner.advance(prefill) if prefill.remaining else None, None)]
    row = runner.open(prefill, len(ids) - read)
    found += [runner.decode([row], [token]).clone() for token in ids[read:]]
    return torch.cat(found)


def test_dynamic_angles_follow_from_the_text_alone() -> None:
    model = decoder(max_position_embeddings=TRAINED)
    config = copy.deepcopy(model.config)
    extend(config, RopeExtension("dynamic", FACTOR))
    dynamic, fresh = (type(model)(config).eval() for _ in range(2))
    for each in (dynamic, fresh):
        each.load_state_dict(model.state_dict())
    assert use_exact_dynamic(dynamic) == 1 and use_exact_dynamic(dynamic) == 0
    ids = torch.randint(3, 97, (2, 100), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        long = dynamic(ids, use_cache=False).logits
        assert torch.equal(long, fresh(ids, use_cache=False).logits)
        short = dynamic(ids[:, :TRAINED], use_cache=False).logits
        assert torch.equal(short, model(ids[:, :TRAINED], use_cache=False).logits)
        middle = dynamic(ids[:, :60], use_cache=False).logits
        # What transformers gives depends on what it was asked before.
        assert not torch.allclose(middle, fresh(ids[:, :60], use_cache=False).logits, atol=1e-3)
        positions = torch.cat([torch.arange(60), torch.arange(40)]).expand(2, -1)
        packed = dynamic(ids, position_ids=positions, use_cache=False).logits
        rest = dynamic(ids[:, 60:], use_cache=False).logits
        torch.testing.assert_close(packed, torch.cat([middle, rest], 1), atol=1e-5, rtol=1e-5)
        # Rows that are padded have the angles of their own text, with or without a mask.
        padded, place = ids.clone(), torch.arange(100).expand(2, -1)
        padded[0, 60:] = 0
        alone = dynamic(ids[:1, :60], use_cache=False).logits
        mask = (place < torch.tensor([[60], [100]])).long()
        masked = dynamic(padded, attention_mask=mask, use_cache=False).logits
        assert use_exact_dynamic(dynamic, 0) == 0
        bare = dynamic(padded, position_ids=place, use_cache=False).logits
        for found in (masked, bare, copy.deepcopy(dynamic)(padded, position_ids=place).logits):
            torch.testing.assert_close(found[:1, :60], alone, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(found[1], long[1], atol=1e-5, rtol=1e-5)
    assert share_prompts(dynamic, 100) is not None
    assert hold_still(model.config, 100) is None


def test_fused_layers_are_trained_with_stretched_angles() -> None:
    for method in ("yarn", "dynamic"):
        rope = RopeExtension(method, FACTOR, 8)
        config = model_of().config
        extend(config, rope)
        plain = type(model_of())(config).train()
        plain.load_state_dict(model_of().state_dict())
        use_exact_dynamic(plain)
        fused = copy.deepcopy(plain)
        use_exact_dynamic(fused)
        assert fuse_layers(fused) == 2
        bound = 20 * 208**0.5 * 2.0**-24
        assert max(error(step(fused, packed_positions()), step(plain, packed_positions()))) < bound


def recipe_of(folder: Path, rope: RopeMethod = "yarn", **tuning: Any) -> Recipe:
    model = {"model_name_or_path": str(folder), "rope_scaling": rope, "rope_factor": FACTOR}
    data = {"packing": "num_virtual_tokens" not in tuning}
    return Recipe.model_validate({"model": model, "tuning": tuning, "data": data})


def test_a_run_goes_on_from_its_checkpoint_without_stretching_it_again(tmp_path: Path) -> None:
    save(tmp_path / "base", "Llama", max_position_embeddings=TRAINED)
    recipe, tokenizer = recipe_of(tmp_path / "base"), tokenizer_of()
    assert row_length(recipe, context_of(recipe.model)) == TRAINED * FACTOR
    begun: Any = starting_model(recipe, tokenizer, purpose_of(recipe), None)
    save_model(tmp_path / "checkpoint", begun, tokenizer)
    resumed: Any = starting_model(recipe, tokenizer, purpose_of(recipe), tmp_path / "checkpoint")
    assert resumed.config.rope_parameters == begun.config.rope_parameters
    assert context_of_config(resumed.config) == TRAINED * FACTOR
    # A reference or a reward model is another model, and taken as it is.
    other: Any = other_model(recipe, str(tmp_path / "base"), purpose_of(recipe))
    assert extension_of(other.config) is None


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
def test_adapters_bring_the_positions_that_they_were_trained_with(tmp_path: Path) -> None:
    save(tmp_path / "base", "Llama", max_position_embeddings=TRAINED)
    recipe, tokenizer = recipe_of(tmp_path / "base", method="lora"), tokenizer_of()
    recipe.model.rope_beta_fast = 16.0
    model: Any = starting_model(recipe, tokenizer, purpose_of(recipe), None)
    save_model(tmp_path / "adapters", model, tokenizer)
    wanted = model.get_base_model().config.rope_parameters
    served = load_for_inference(str(tmp_path / "adapters"), device="cpu", dtype="float32")
    opened = open_model(str(tmp_path / "adapters"), torch.device("cpu"))
    merged_model, _ = merged(tmp_path / "adapters")
    for config in (served.model.config, opened.model.get_base_model().config, merged_model.config):
        assert config.rope_parameters == wanted and wanted["beta_fast"] == 16.0
        assert context_of_config(config) == TRAINED * FACTOR


def test_what_needs_angles_that_stay_refuses_dynamic_ones(tmp_path: Path) -> None:
    save(tmp_path, "Llama", max_position_embeddings=TRAINED)
    recipe = recipe_of(tmp_path, "dynamic", method="prefix", num_virtual_tokens=2)
    with pytest.raises(ModelError, match="with dynamic NTK the angles of every length are others"):
        starting_model(recipe, tokenizer_of(), purpose_of(recipe), None)
    model = starting_model(recipe_of(tmp_path, "dynamic"), tokenizer_of(), purpose_of(recipe), None)
    with pytest.raises(ModelError, match="change with every token"):
        writer_of(model, recipe_of(tmp_path, "dynamic"), Manner(4, frozenset({2}), 1.0, 4), 64)


def test_a_run_says_how_many_of_its_tokens_are_where_positions_are_new(tmp_path: Path) -> None:
    save(tmp_path, "Llama", max_position_embeddings=TRAINED)
    recipe = recipe_of(tmp_path)

    class Rows:
        """Every row one document of so many tokens."""

        def __init__(self, length: int) -> None:
            self.length = length

        def batch(self, start: int, count: int) -> Any:
            arrays = {"position_ids": np.tile(np.arange(self.length), (count, 1))}
            return type("Batch", (), {"arrays": arrays})

    assert position_lines(recipe, Rows(2 * TRAINED)) == [
        "positions  YaRN ×4 from 32 tokens; 50% of the tokens stand behind them"
    ]
    assert "no token stands behind them" in position_lines(recipe, Rows(TRAINED))[0]
    assert position_lines(Recipe(), Rows(TRAINED)) == []
