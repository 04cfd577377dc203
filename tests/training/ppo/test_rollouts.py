"""Answers come from the very distribution that learning divides by, whoever writes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ppo_setting import letter_tokenizer
from transformers import AutoModelForCausalLM

from workbench.recipe import Recipe
from workbench.training.ppo.answers import Manner
from workbench.training.ppo.cached_writer import CachedWriter
from workbench.training.ppo.drawing import draw, uniforms
from workbench.training.ppo.native_writer import NativeWriter
from workbench.training.ppo.rows import rows_of
from workbench.training.ppo.token_logprobs import TokenLogprobs
from workbench.training.ppo.writing import writer_of

PROMPTS = [[4, 5, 6], [7], [8, 9, 10, 11, 12, 13, 14], [4, 4]]
SAMPLES, LENGTH = 3, 12


def told(done: int, total: int) -> None:
    assert 0 <= done <= total


@pytest.fixture(scope="module")
def policy(setting: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(setting / "policy").eval()


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_both_writers_draw_the_same_and_say_how_likely_it_was(policy: Any, temperature: float) -> None:
    # Two ends, as models of conversations have them; five rows, so that answers wait for others to end.
    manner = Manner(LENGTH, frozenset({0, 9}), temperature, rows=5)
    chances = uniforms(len(PROMPTS) * SAMPLES, LENGTH, 7)
    native = NativeWriter(policy, manner, 64, torch.float32).write(PROMPTS, SAMPLES, chances, told)
    cached = CachedWriter(policy, manner, False, "").write(PROMPTS, SAMPLES, chances, told)
    assert [answer.ids for answer in native] == [answer.ids for answer in cached]
    repeated = [prompt for prompt in PROMPTS for _ in range(SAMPLES)]
    rows = rows_of(repeated, [answer.ids for answer in native], LENGTH, torch.device("cpu"))
    with torch.no_grad():
        found, entropy = TokenLogprobs(policy, temperature)(rows)
    for answers in (native, cached):
        said = torch.tensor([value for answer in answers for value in answer.logprobs])
        torch.testing.assert_close(said, found, atol=2e-5, rtol=0)
    lengths = [len(answer.ids) for answer in native]
    assert min(lengths) < LENGTH and max(lengths) == LENGTH
    for answer in native:
        assert not any(token in manner.ends for token in answer.ids[:-1])
        assert answer.ids[-1] in manner.ends or len(answer.ids) == LENGTH
    # The definition, in one piece and in fp64.
    wide = policy.double()
    logits = wide(input_ids=rows.ids).logits.flatten(0, 1)[rows.places].detach() / temperature
    policy.float()
    logprobs = logits.log_softmax(-1)
    torch.testing.assert_close(
        found.double(), logprobs.gather(1, rows.targets[:, None])[:, 0], atol=2e-5, rtol=0
    )
    torch.testing.assert_close(entropy.double(), -(logprobs.exp() * logprobs).sum(-1), atol=2e-5, rtol=0)


def test_what_is_drawn_does_not_depend_on_the_company(policy: Any) -> None:
    chances = uniforms(len(PROMPTS) * SAMPLES, LENGTH, 7)
    both = []
    for rows in (2, 64):
        writer = NativeWriter(policy, Manner(LENGTH, frozenset({0}), 1.0, rows), 64, torch.float32)
        both.append(writer.write(PROMPTS, SAMPLES, chances, told))
    assert both[0] == both[1]


def test_a_decoder_sees_the_weights_as_they_are_now(setting: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(setting / "policy").eval()
    writer = NativeWriter(model, Manner(LENGTH, frozenset({0}), 1.0, 4), 64, torch.float32)
    chances = uniforms(len(PROMPTS), LENGTH, 3)
    before = writer.write(PROMPTS, 1, chances, told)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    after = writer.write(PROMPTS, 1, chances, told)
    assert before != after
    cached = CachedWriter(model, writer.manner, False, "").write(PROMPTS, 1, chances, told)
    assert [answer.ids for answer in after] == [answer.ids for answer in cached]


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
def test_adapters_are_in_what_is_written(setting: Path) -> None:
    from peft import LoraConfig, get_peft_model

    base = AutoModelForCausalLM.from_pretrained(setting / "policy")
    config = LoraConfig(
        r=2, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM", init_lora_weights=False
    )
    torch.manual_seed(3)
    model = get_peft_model(base, config).eval()
    manner = Manner(LENGTH, frozenset({0}), 1.0, 4)
    chances = uniforms(len(PROMPTS), LENGTH, 3)
    native = NativeWriter(model, manner, 64, torch.float32).write(PROMPTS, 1, chances, told)
    cached = CachedWriter(model, manner, False, "").write(PROMPTS, 1, chances, told)
    assert [answer.ids for answer in native] == [answer.ids for answer in cached]


def test_draws_follow_the_distribution() -> None:
    logits = torch.tensor([[2.0, -torch.inf, 0.0, 1.0, -torch.inf]])
    shares = torch.softmax(logits / 0.5, -1)[0].double()
    # Evenly spread numbers give each token its share, but for one at each of its two edges.
    count = 4000
    chances = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    tokens, logprobs = draw(logits.expand(count, -1), 0.5, chances)
    found = torch.bincount(tokens, minlength=5).double()
    assert ((found - count * shares).abs() <= 2).all() and not found[1] and not found[4]
    torch.testing.assert_close(logprobs.double().exp(), shares[tokens])
    edges, _ = draw(logits.expand(2, -1), 1.0, torch.tensor([0.0, 1 - 2.0**-53], dtype=torch.float64))
    assert edges.tolist() == [0, 3]


def test_the_writer_is_the_one_that_can(policy: Any, make_recipe: Callable[..., Recipe]) -> None:
    manner = Manner(LENGTH, frozenset({0}), 1.0, 4)
    assert isinstance(writer_of(policy, make_recipe(), manner, 64), NativeWriter)
    other = make_recipe(ppo__rollout_engine="transformers")
    assert isinstance(writer_of(policy, other, manner, 64), CachedWriter)
    assert letter_tokenizer().eos_token_id == 0
