"""Setting a run of PPO up: data, models, rewards, optimiser, and the place it goes on from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.data.artifact import key_of
from workbench.data.records import ExampleStore, TaskRows
from workbench.data.turn_ends import ends_of_model
from workbench.errors import RecipeError
from workbench.models.context import context_of
from workbench.objectives import OBJECTIVES
from workbench.objectives.ppo.kl_controller import AdaptiveKL, FixedKL, KLController
from workbench.training import checkpoint, random_state
from workbench.training.gradient_checkpointing import enable_checkpointing
from workbench.training.optimizer import adamw, groups_of
from workbench.training.ppo import announce, saving
from workbench.training.ppo.answers import Manner
from workbench.training.ppo.held_out import HeldOut
from workbench.training.ppo.learner import Learner, Models
from workbench.training.ppo.models import fingerprint, models_of
from workbench.training.ppo.rewarding import Rewarder
from workbench.training.ppo.roller import Roller
from workbench.training.ppo.rollout_log import RolloutLog
from workbench.training.ppo.trainer import PPOTrainer
from workbench.training.ppo.watch import Watch
from workbench.training.ppo.writing import writer_of
from workbench.training.prepare import prepare_data
from workbench.training.resume import resume
from workbench.training.samples import SampleWriter
from workbench.training.session import describe_device, warn
from workbench.training.starting_model import row_length
from workbench.training.state import TrainState

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

    from workbench.recipe import Recipe
    from workbench.recipe.ppo_section import PPOSection
    from workbench.store.runs import Run
    from workbench.training.reporter import Reporter
    from workbench.training.stop import StopRequest


def set_up(
    run: Run, recipe: Recipe, reporter: Reporter, stop: StopRequest, accelerator: Accelerator
) -> PPOTrainer:
    """Everything of a run, made or resumed, ready for the first iteration."""
    checkpoint.clean(run.path)
    device = accelerator.device
    reporter.update(now=True, state="preparing", device=describe_device(accelerator))
    found = checkpoint.newest(run.checkpoints(), warn=warn)
    length = row_length(recipe, context_of(recipe.model))
    prepared = prepare_data(recipe, length, reporter, stop)
    assert isinstance(prepared.train, ExampleStore) and isinstance(prepared.eval, ExampleStore)
    stop.raise_if_set()
    key = key_of([prepared.key, fingerprint(recipe)])
    random_state.seed_everything(recipe.training.seed)
    rewarder = Rewarder(recipe, prepared.tokenizer, device)
    models = models_of(
        recipe, prepared.tokenizer, rewarder.model, None if found is None else found.path, device
    )
    if recipe.training.gradient_checkpointing:
        _checkpoint_activations(models)
    ends = ends_of_model(models.policy, prepared.tokenizer)
    if not ends and recipe.ppo.missing_eos_penalty:
        raise RecipeError(
            "the model has no token that ends an answer, so every answer would pay for a missing end",
            where="ppo.missing_eos_penalty",
            hint="leave it empty",
        )
    section = recipe.ppo
    rows = section.local_rollout_forward_batch_size
    manner = Manner(section.response_length, ends, section.temperature, rows)
    writer = writer_of(models.policy, recipe, manner, length)
    learner = Learner(recipe, models, build_optimizer(models, recipe))
    controller, watch, state = controller_of(section), Watch(section), TrainState(data_key=key)
    if found is not None:
        needs = "the prompts, or the models beside the policy, are"
        state = resume(found, learner.optimizer, key, reporter, needs=needs)
        own = saving.own_state(found)
        controller.load_state_dict(own["controller"])
        watch.load_state_dict(own["watch"])
    roller = Roller(models.policy, writer, rewarder, ends)
    objective = OBJECTIVES["ppo"](recipe, prepared.tokenizer)
    trainer = PPOTrainer(
        run=run,
        recipe=recipe,
        accelerator=accelerator,
        tokenizer=prepared.tokenizer,
        rows=TaskRows(
            prepared.train, seed=recipe.training.seed, shuffle=recipe.data.shuffle, batch_bucketing=0
        ),
        roller=roller,
        learner=learner,
        held_out=HeldOut(recipe, prepared.eval, roller, learner),
        controller=controller,
        watch=watch,
        log_of_rollouts=RolloutLog(
            run.rollouts_path, prepared.tokenizer, section.logged_rollouts, has_critic=section.has_critic
        ),
        samples=SampleWriter(
            run.samples_path,
            recipe.training.sample_prompts,
            objective,
            seed=recipe.training.seed,
            enabled=True,
        ),
        state=state,
        reporter=reporter,
        stop=stop,
    )
    print("\n".join(announce.lines(trainer, prepared.report)), flush=True)
    parameters = sum(parameter.numel() for parameter in models.policy.parameters())
    reporter.update(now=True, num_parameters=parameters, max_steps=trainer.max_steps, progress=None)
    return trainer


def controller_of(section: PPOSection) -> KLController:
    """What moves β, by the recipe."""
    if section.kl_controller == "fixed":
        return FixedKL(section.kl_coef)
    assert section.kl_target is not None
    return AdaptiveKL(section.kl_coef, section.kl_target, section.kl_horizon)


def build_optimizer(models: Models, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW over policy and critic, each in groups of its own."""
    section = recipe.training
    groups = groups_of(models.policy, section)
    if models.critic is not None:
        groups += [{**group, "is_critic": True} for group in groups_of(models.critic, section)]
    return adamw(groups, section)


def _checkpoint_activations(models: Models) -> None:
    enable_checkpointing(models.policy)
    models.policy.train()
    if models.critic is not None:
        enable_checkpointing(models.critic.body)
        models.critic.train()
