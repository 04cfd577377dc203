"""The loop of PPO: write answers, judge them, learn from them; one iteration is one step of the run."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workbench.data.records import TaskRows
from workbench.errors import TrainingError
from workbench.objectives.ppo.kl_controller import KLController
from workbench.recipe.ppo_section import answers_of
from workbench.store.metrics import MetricsWriter
from workbench.training.guarding.record import Record
from workbench.training.pace import SaveTimes, steps_between_evaluations
from workbench.training.ppo import events, saving
from workbench.training.ppo.drawing import ROLLOUT, uniforms
from workbench.training.ppo.experience import Experience, Rollout, experience_of
from workbench.training.ppo.held_out import HeldOut, ids_of
from workbench.training.ppo.learner import Learner
from workbench.training.ppo.rollout_log import RolloutLog
from workbench.training.ppo.watch import Watch, collapsed
from workbench.training.ppo.window import Window
from workbench.training.saving import write_final
from workbench.training.schedule import learning_rate
from workbench.training.stop import Stopped
from workbench.training.telemetry import memory

if TYPE_CHECKING:
    from accelerate import Accelerator

    from workbench.objectives.ppo.guards import Alarm
    from workbench.recipe import Recipe
    from workbench.store.runs import Run
    from workbench.training.ppo.roller import Roller
    from workbench.training.reporter import Reporter
    from workbench.training.samples import SampleWriter
    from workbench.training.state import TrainState
    from workbench.training.stop import StopRequest


@dataclass
class PPOTrainer:
    """A run. An iteration follows from the weights, the state and the seed: one that was broken off is done
    again from the last checkpoint, and comes out the same."""

    run: Run
    recipe: Recipe
    accelerator: Accelerator
    tokenizer: Any
    rows: TaskRows
    roller: Roller
    learner: Learner
    held_out: HeldOut
    controller: KLController
    watch: Watch
    log_of_rollouts: RolloutLog
    samples: SampleWriter
    state: TrainState
    reporter: Reporter
    stop: StopRequest
    metrics: MetricsWriter | None = field(default=None, init=False)
    seconds: dict[str, float] = field(default_factory=dict, init=False)
    written: tuple[int, float] = field(default=(0, 0.0), init=False)
    step_seconds: float = field(default=0.0, init=False)
    steps_here: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        section, training = self.recipe.ppo, self.recipe.training
        self.answers = answers_of(self.recipe)
        self.prompts = self.answers // section.num_generations
        self.prompts_per_epoch = self.rows.rows_per_epoch(0)
        wanted = section.total_episodes or math.ceil(
            self.prompts_per_epoch * training.num_train_epochs * section.num_generations
        )
        self.max_steps = training.max_steps or math.ceil(wanted / self.answers)
        # An iteration is many steps.
        self.eval_steps = steps_between_evaluations(training, self.max_steps, least=1)
        self.save_times = SaveTimes(training, self.max_steps)
        self.sample_steps = training.sample_steps or self.eval_steps
        self.window = Window(self.state.window)
        self.record = Record(self.run, self.recipe.stability, enabled=True)
        self.watch.on_warning = self._warned
        self.found: dict[str, float] = {}

    def train(self) -> bool:
        """Go on to the last step. Returns False when asked to stop, with a checkpoint written."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.closing(self.record))
            self.metrics = stack.enter_context(MetricsWriter(self.run.metrics_path))
            if self.run.metrics_path.stat().st_size > 0:
                self.metrics.resume(self.state.step)
            self.samples.resume(self.state.step)
            self.log_of_rollouts.resume(self.state.step)
            self.reporter.update(now=True, state="running", step=self.state.step)
            try:
                return self._train()
            except Stopped:
                # In the middle of a rollout nothing has been learned: the last step is where the run is.
                self.save()
                return False

    def _train(self) -> bool:
        training = self.recipe.training
        if training.eval_on_start and self.state.step == 0 and self.held_out.count:
            self.write(self.held_out.evaluate(self._told("evaluating")))
        while self.state.step < self.max_steps:
            self.iterate()
            step, last = self.state.step, self.state.step == self.max_steps
            stopping = bool(self.stop)
            if stopping:
                self.reporter.update(state="stopping")
            improved = False
            if step % training.logging_steps == 0 or last:
                self.log()
            if self.held_out.count and (step % self.eval_steps == 0 or last) and not (stopping and not last):
                improved = self.evaluate()
            if step % self.sample_steps == 0 or last:
                self.samples.write(self.learner.models.policy, step)
            keep_best = improved and training.load_best_model_at_end
            if last or stopping or keep_best or self.save_times.due(step):
                self.save()
            if stopping and not last:
                return False
        return True

    def iterate(self) -> None:
        """One iteration: rollout, judgement, epochs of minibatches, the KL coefficient."""
        began = time.perf_counter()
        state, section = self.state, self.recipe.ppo
        rollout = self.rollout()
        phases = {"rollout": rollout.seconds, "scoring": self.roller.scoring_seconds}
        mark = time.perf_counter()
        self.reporter.update(progress={"what": "judging the answers", "done": 0, "total": None})
        order = self.learner.order(state.step, 0, self.answers)
        judged = self.learner.judge(rollout, order)
        coefficient = self.controller.coefficient
        experience = experience_of(rollout, judged, section, coefficient)
        phases["judging"] = time.perf_counter() - mark
        found = experience.summary() | self._told_of(rollout, experience)
        found["objective/kl_coef"] = coefficient
        self.log_of_rollouts.write(state.step + 1, rollout, experience)
        self.guard(found)
        mark = time.perf_counter()
        rate = learning_rate(self.recipe.training, state.step, self.max_steps)
        self.learner.kl_coef = coefficient
        try:
            found |= self.learner.learn(rollout, experience, state.step, rate, self._told("learning"))
        except TrainingError as error:
            self.record.add(events.of_error(error, state.step + 1, state.num_tokens))
            raise
        phases["learning"] = time.perf_counter() - mark
        self.controller.update(found["objective/kl"], self.answers)
        self.rate = rate
        state.step += 1
        state.rows += self.prompts
        state.num_tokens += rollout.tokens
        self.window.add(found)
        self.took(time.perf_counter() - began, phases, rollout)

    def rollout(self) -> Rollout:
        """The answers of the next iteration. Raises `Stopped` when the run is asked to stop meanwhile."""
        state, section = self.state, self.recipe.ppo
        numbers = self.rows.indices(state.rows, self.prompts).tolist()
        store = self.rows.store
        records = [store.records[store.examples[number]] for number in numbers]
        prompts = [ids_of(store, number) for number in numbers]
        chances = uniforms(
            self.answers, section.response_length, self.recipe.training.seed, ROLLOUT, state.step
        )
        return self.roller.roll(records, prompts, section.num_generations, chances, self._writing)

    def _writing(self, done: int, total: int) -> None:
        self.stop.raise_if_set()
        self.reporter.progress("writing answers", done, total + 1)

    def _told(self, what: str) -> Any:
        return lambda done, total: self.reporter.progress(what, done, total + 1)

    def _told_of(self, rollout: Rollout, experience: Experience) -> dict[str, float]:
        """Length and ends of the answers, and each part of the reward."""
        found = {
            "rollout/length": float(experience.judged.mask.sum(1).mean()),
            "rollout/ended": float(rollout.ended.float().mean()),
        }
        unscored = float(experience.scores.isnan().float().mean())
        if unscored:
            found["rollout/unscored"] = unscored
        if len(rollout.scores.parts) > 1:
            for name, values in rollout.scores.parts.items():
                found[f"rewards/{name}"] = float(values[~values.isnan()].mean())
        return found

    def guard(self, found: dict[str, float]) -> None:
        """Ask the guards. Raises `TrainingError`, with a checkpoint written, where the policy collapsed."""
        self.found = found
        alarm = self.watch.observe(
            kl=found["objective/kl"],
            entropy=found["objective/entropy"],
            length=found["rollout/length"],
            ended=found["rollout/ended"],
            step=self.state.step + 1,
        )
        if alarm is None:
            return
        self.write(found, step=self.state.step + 1)
        kept = self.save(prune=False)
        self.record.add(events.of_guard(alarm, self.state.step + 1, found, self.state.num_tokens, kept))
        raise collapsed(alarm, self.state.step + 1, kept)

    def _warned(self, alarm: Alarm, step: int) -> None:
        self.record.add(events.of_guard(alarm, step, self.found, self.state.num_tokens))

    def took(self, seconds: float, phases: dict[str, float], rollout: Rollout) -> None:
        """Account for the time of an iteration; evaluation, samples and checkpoints are not in it."""
        for name, value in phases.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + value
        tokens, writing = self.written
        self.written = tokens + rollout.tokens, writing + rollout.seconds
        self.steps_here += 1
        self.step_seconds += (seconds - self.step_seconds) / min(self.steps_here, 50)

    def log(self) -> None:
        """One line of metrics for the iterations since the last."""
        state, means = self.state, self.window.means()
        epoch = state.rows / self.prompts_per_epoch
        tokens, writing = self.written
        speed = tokens / max(writing, 1e-9)
        self.write(
            {
                **means,
                "learning_rate": self.rate,
                "epoch": epoch,
                "episode": state.step * self.answers,
                "rollout/tokens_per_second": speed,
                **{f"seconds/{name}": value for name, value in self.seconds.items()},
                **memory(self.accelerator.device),
            }
        )
        self.reporter.update(
            step=state.step,
            loss=means.get("loss"),
            epoch=epoch,
            num_tokens=state.num_tokens,
            tokens_per_second=speed,
            eta_seconds=(self.max_steps - state.step) * self.step_seconds,
            progress=None,
        )
        self.window.clear()
        self.seconds, self.written = {}, (0, 0.0)

    def write(self, values: dict[str, Any], step: int | None = None) -> None:
        """A record of metrics, to the run folder and to the trackers."""
        step = self.state.step if step is None else step
        if self.metrics is not None:
            record = {"step": step, "time": time.time(), "num_tokens": self.state.num_tokens, **values}
            self.metrics.write(record)
        if self.recipe.run.report_to:
            self.accelerator.log(values, step=step)

    def evaluate(self) -> bool:
        """Evaluate; returns whether the policy is the best so far."""
        values = self.held_out.evaluate(self._told("evaluating"))
        self.write(values)
        score, state = saving.score_of(values, self.recipe), self.state
        improved = math.isfinite(score) and (state.best_score is None or score > state.best_score)
        if improved:
            state.best_score, state.best_step = score, state.step
        self.reporter.update(best_step=state.best_step, progress=None)
        return improved

    def save(self, *, prune: bool = True) -> str:
        """Write a checkpoint, delete those that are too many; the name of the new one."""
        self.state.window = self.window.values
        self.save_times.wrote()
        doing = self.reporter.status.state
        self.reporter.update(state="saving")
        if self.metrics is not None:
            # What was logged up to here must be on disk before the step it will be resumed from.
            self.metrics.sync()
        name = saving.save(self, prune=prune)
        self.reporter.update(state=doing)
        return name

    def close(self, phase: str) -> None:
        """Nothing is told of the ranks of a run of one process."""

    def write_final(self) -> None:
        """Write `final/`: the best checkpoint's policy, or the last one's."""
        self.reporter.update(now=True, state="saving")
        write_final(self.run, self.state, self.recipe)
