"""What must hold exactly before the first step, and what steps add up to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from ppo_setting import letter_tokenizer, save_reward_model
from ranked_answers import chat_tokenizer, scorer

from workbench.objectives.ppo.baselines import leave_one_out
from workbench.objectives.reward.scoring import RewardScorer
from workbench.recipe import Recipe
from workbench.training.ppo.answers import Manner
from workbench.training.ppo.drawing import uniforms
from workbench.training.ppo.experience import Experience, experience_of
from workbench.training.ppo.learner import Learner, Stats
from workbench.training.ppo.models import fingerprint, models_of
from workbench.training.ppo.reward_model import RewardModel
from workbench.training.ppo.rewarding import Rewarder
from workbench.training.ppo.roller import Roller
from workbench.training.ppo.session import build_optimizer
from workbench.training.ppo.writing import writer_of

PEFT = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
CPU = torch.device("cpu")
MakeRecipe = Callable[..., Recipe]


class Setting:
    """All that an iteration needs, on twelve answers."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, tokenizer = recipe, letter_tokenizer()
        torch.manual_seed(0)
        rewarder = Rewarder(recipe, tokenizer, CPU)
        self.models = models_of(recipe, tokenizer, rewarder.model, None, CPU)
        self.learner = Learner(recipe, self.models, build_optimizer(self.models, recipe))
        section = recipe.ppo
        manner = Manner(section.response_length, frozenset({0}), section.temperature, 4)
        writer = writer_of(self.models.policy, recipe, manner, 64)
        self.roller = Roller(self.models.policy, writer, rewarder, frozenset({0}))
        prompts = [[4, 5, 6], [7], [8, 9, 10, 11, 12]] * (4 // section.num_generations)
        records = [{"prompt": "p", "columns": {}}] * len(prompts)
        chances = uniforms(12, section.response_length, 1)
        self.rollout = self.roller.roll(records, prompts, section.num_generations, chances, lambda *_: None)
        self.order = self.learner.order(0, 0, 12)

    def experience(self) -> Experience:
        judged = self.learner.judge(self.rollout, self.order)
        return experience_of(self.rollout, judged, self.recipe.ppo, self.recipe.ppo.kl_coef)

    def minibatch(self, experience: Experience, order: np.ndarray) -> dict[str, float]:
        stats = Stats()
        self.learner._minibatch(self.rollout, experience, order, stats)
        return stats.means()


@PEFT
@pytest.mark.parametrize("method", ["full", "lora"])
def test_first_minibatch_has_ratio_one_and_an_unmoved_policy_no_kl(
    make_recipe: MakeRecipe, method: str
) -> None:
    changes = {"tuning__method": method} | ({"tuning__r": 2} if method == "lora" else {})
    here = Setting(make_recipe(ppo__temperature=0.8, **changes))
    experience = here.experience()
    assert not experience.kl.any() and experience.summary()["objective/kl"] == 0
    found = here.minibatch(experience, here.order[:4])
    for name in ("policy/approxkl_avg", "policy/clipfrac_avg"):
        assert found[name] == 0
    assert found["val/ratio"] == pytest.approx(1, abs=1e-7)
    changed = here.experience()
    assert changed.kl.any() and (here.models.reference is None) == (method == "lora")


def test_parts_of_a_minibatch_add_up_to_it(make_recipe: MakeRecipe) -> None:
    gradients = []
    for size in (12, 2):
        here = Setting(
            make_recipe(
                training__per_device_train_batch_size=size,
                training__gradient_accumulation_steps=12 // size,
                training__max_grad_norm=0.0,
                ppo__num_mini_batches=1,
            )
        )
        assert len({len(answer.ids) for answer in here.rollout.answers}) > 1
        experience = here.experience()
        here.learner.optimizer.zero_grad = lambda: None  # type: ignore[method-assign,misc,assignment]
        here.minibatch(experience, here.order)
        learning = [*here.models.policy.parameters(), *here.models.critic.parameters()]  # type: ignore[union-attr]
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in learning]))
    scale = float(gradients[0].abs().max())
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-5 * scale, rtol=1e-4)


def test_the_critic_begins_as_the_reward_model(make_recipe: MakeRecipe, setting: Path) -> None:
    recipe = make_recipe(ppo__reward_model_path=str(setting / "reward"), ppo__reward_pattern=None)
    here = Setting(recipe)
    critic, reward = here.models.critic, here.roller.rewarder.model
    assert critic is not None and reward is not None and reward.reads_tokens
    # The value before the token behind an answer's last is the score of that answer.
    rows = here.learner._rows(here.rollout, range(4))
    states = reward.model.model(input_ids=rows.ids, use_cache=False)[0]
    expected = reward.model.score(states).flatten(0, 1)[rows.places, 0]
    with torch.no_grad():
        torch.testing.assert_close(critic(rows), expected.detach())


def test_scores_and_values_are_not_rounded_to_bf16(make_recipe: MakeRecipe, setting: Path) -> None:
    recipe = make_recipe(
        ppo__reward_model_path=str(setting / "reward"), ppo__reward_pattern=None, training__bf16=True
    )
    here = Setting(recipe)
    critic, reward = here.models.critic, here.roller.rewarder.model
    assert critic is not None and reward is not None
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        values = critic(here.learner._rows(here.rollout, range(4)))
    scores = reward([""] * 4, [""] * 4, [[6, 7]] * 4, [[4, 5, 0], [6], [7, 8, 9, 10], [5]])
    for found in (values, scores):
        assert not torch.equal(found, found.bfloat16().float())


def test_scores_of_a_model_that_reads_tokens_and_of_one_that_reads_text(
    make_recipe: MakeRecipe, setting: Path, tmp_path: Path
) -> None:
    recipe = make_recipe(ppo__reward_model_path=str(setting / "reward"), ppo__reward_batch_size=2)
    reward = RewardModel(recipe, letter_tokenizer(), CPU)
    prompts, answers = [[6, 7], [8], [9, 9, 9]], [[4, 5, 0], [6], [7, 8, 9, 10]]
    said = reward(["", "", ""], ["", "", ""], prompts, answers)
    for number in range(3):
        ids = torch.tensor([[*prompts[number], *answers[number]]])
        states = reward.model.model(input_ids=ids, use_cache=False)[0]
        assert float(said[number]) == pytest.approx(float(reward.model.score(states[:, -1])[0, 0]), abs=1e-5)
    assert not reward.cut
    other = save_reward_model(tmp_path / "other", letters="zyxwvutsrqponmlkjihgfedcba .", labels=3)
    recipe = make_recipe(ppo__reward_model_path=str(other), ppo__reward_label="LABEL_2")
    reward = RewardModel(recipe, letter_tokenizer(), CPU)
    assert not reward.reads_tokens
    ids = torch.tensor([reward.tokenizer("the cat")["input_ids"]])
    chances = torch.softmax(reward.model(input_ids=ids).logits[0], -1)
    expected = torch.log(chances[2] / (1 - chances[2]))
    assert float(reward(["the "], ["cat"], [[1]], [[1]])[0]) == pytest.approx(float(expected), abs=1e-4)


def test_of_a_conversation_a_reward_model_of_ours_reads_the_end_of_the_turn(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    tokenizer = chat_tokenizer()
    scorer(tokenizer).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    reward = RewardModel(make_recipe(ppo__reward_model_path=str(tmp_path)), letter_tokenizer(), CPU)
    assert not reward.reads_tokens
    prompt = [{"role": "user", "content": "say one"}]
    # As it was taught, and not to the new line that the template writes behind a turn.
    record = {"prompt": prompt, "tools": [], "completions": [[{"role": "assistant", "content": "nine"}]]}
    expected = RewardScorer(reward.model, tokenizer, 160).score(record)[0]
    assert float(reward([prompt], ["nine"], [[1]], [[1]])[0]) == pytest.approx(expected, abs=1e-5)
    assert reward._encoded(prompt, "nine")[-1] == tokenizer.eos_token_id
    assert reward._encoded(prompt, "")[-1] != tokenizer.eos_token_id


def test_an_encoder_scores_the_response_alone_by_the_probability_of_a_label(
    make_recipe: MakeRecipe, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=32,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=4,
        initializer_range=1.0,
        id2label={0: "bad", 1: "good"},
    )
    torch.manual_seed(2)
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    letter_tokenizer().save_pretrained(tmp_path)
    recipe = make_recipe(
        ppo__reward_model_path=str(tmp_path),
        ppo__reward_label="good",
        ppo__reward_of_label="probability",
        ppo__reward_input="response",
    )
    reward = RewardModel(recipe, letter_tokenizer(), CPU)
    said = reward(["the "] * 3, ["cat", "a", "abcdef"], [[1]] * 3, [[1]] * 3)
    # The longest has no room: its beginning goes, behind its first token, and the log says so.
    for number, text in enumerate(("cat", "a", "adef")):
        logits = reward.model(input_ids=torch.tensor([reward.tokenizer(text)["input_ids"]])).logits
        expected = torch.softmax(logits, -1)[0, 1]
        assert float(said[number]) == pytest.approx(float(expected), abs=1e-5)
    assert reward.cut == 1 and "1 of 3 answers are" in capfd.readouterr().err


@PEFT
def test_a_reward_model_of_adapters_is_whole_and_its_critic_learns(
    make_recipe: MakeRecipe, setting: Path, tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(5)
    base = AutoModelForSequenceClassification.from_pretrained(setting / "reward")
    config = LoraConfig(r=2, target_modules=["q_proj"], task_type="SEQ_CLS", init_lora_weights=False)
    adapted = get_peft_model(base, config).eval()
    adapted.save_pretrained(str(tmp_path))
    base.config.reward_shift = 3.0
    base.config.save_pretrained(tmp_path)
    letter_tokenizer().save_pretrained(tmp_path)
    recipe = make_recipe(ppo__reward_model_path=str(tmp_path), ppo__reward_pattern=None)
    here = Setting(recipe)
    reward, critic = here.roller.rewarder.model, here.models.critic
    assert reward is not None and critic is not None
    said = reward([""], [""], [[6, 7]], [[4, 5, 8]])
    # Padding is no token of the row, so transformers reads the score at its end.
    expected = adapted(input_ids=torch.tensor([[6, 7, 4, 5, 8]])).logits[0, 0].detach()
    assert float(said[0]) == pytest.approx(float(expected) + 3.0, abs=1e-5)
    assert all(parameter.requires_grad for parameter in critic.parameters())
    assert not any(parameter.requires_grad for parameter in reward.model.parameters())
    assert critic.head.bias.tolist() == [3.0]


@pytest.mark.parametrize("advantage", ["rloo", "grpo"])
def test_without_a_critic_answers_are_compared_with_each_other(
    make_recipe: MakeRecipe, advantage: str
) -> None:
    recipe = make_recipe(ppo__advantage=advantage, ppo__num_generations=4, ppo__kl_coef=0.5)
    here = Setting(recipe)
    assert here.models.critic is None
    here.learner.kl_coef = 0.5
    experience = here.experience()
    scores = experience.scores.view(3, 4)
    if advantage == "rloo":
        expected = leave_one_out(scores)
    else:
        spread = scores.std(1, keepdim=True) + 1e-4
        expected = (scores - scores.mean(1, keepdim=True)) / spread
    torch.testing.assert_close(experience.advantages[:, 0], expected.flatten())
    found = here.minibatch(experience, here.order[:4])
    assert ("loss/kl_avg" in found) == (advantage == "grpo")
    assert "loss/value_avg" not in found


def test_answers_without_a_score_are_not_learned_from(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    (tmp_path / "choosy.py").write_text(
        "def score(prompts, completions, wanted=None):\n"
        "    return [None if n % 3 else float(len(text)) for n, text in enumerate(completions)]\n"
    )
    recipe = make_recipe(
        ppo__reward_pattern=None, ppo__reward_function="choosy:score", ppo__reward_path=str(tmp_path)
    )
    here = Setting(recipe)
    experience = here.experience()
    scored = [number % 3 == 0 for number in range(12)]
    assert (~experience.scores.isnan()).tolist() == scored
    assert experience.learns.any(1).tolist() == scored
    for table in (experience.advantages, experience.returns):
        assert not table[~torch.tensor(scored)].any() and not table.isnan().any()


def test_sums_of_rewards_and_a_penalty_for_what_never_ends(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe(ppo__missing_eos_penalty=2.0, ppo__reward_weights={"pattern": 3.0})
    here = Setting(recipe)
    experience, rollout = here.experience(), here.rollout
    found = rollout.scores.parts["pattern"]
    assert set(found.tolist()) <= {0.0, 1.0} and not rollout.ended.all() and rollout.ended.any()
    torch.testing.assert_close(experience.scores, 3 * found - 2.0 * (~rollout.ended).float())


def test_another_reward_model_of_the_same_size_is_another(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_recipe(ppo__reward_model_path=str(tmp_path / "reward"))
    found = []
    for seed in (1, 1, 2):
        save_reward_model(tmp_path / "reward", seed=seed)
        found.append(fingerprint(recipe))
    assert found[0] == found[1] != found[2]
