"""The training loop."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import broadcast_object_list

from workbench.store.metrics import MetricsWriter
from workbench.training import best, saving
from workbench.training.guarding import ending, rollback
from workbench.training.guarding.alarm import Alarmed
from workbench.training.guarding.watch import StepWatch
from workbench.training.pace import SaveTimes, steps_between_evaluations
from workbench.training.samples import drop_later
from workbench.training.schedule import learning_rate
from workbench.training.tally import Tally, over_processes
from workbench.training.telemetry import memory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from accelerate import Accelerator
    from accelerate.optimizer import AcceleratedOptimizer
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from workbench.objectives import Batch, Objective, Rows
    from workbench.recipe import Recipe
    from workbench.store.runs import Run
    from workbench.training.announce import About
    from workbench.training.evaluate import Evaluator
    from workbench.training.parallel.layout import Layout
    from workbench.training.parallel.stepper import Stepper
    from workbench.training.rank_watch import RankWatch
    from workbench.training.reporter import Reporter
    from workbench.training.samples import SampleWriter
    from workbench.training.state import TrainState
    from workbench.training.stop import StopRequest


@dataclass
class Trainer:
    """One process of a run. `stepper` has its part of the model, and does what is done otherwise in each
    layout."""

    run: Run
    recipe: Recipe
    accelerator: Accelerator
    objective: Objective
    model: PreTrainedModel
    about: About
    layout: Layout
    stepper: Stepper
    ranks: RankWatch
    tokenizer: PreTrainedTokenizerBase
    raw_optimizer: torch.optim.Optimizer
    optimizer: AcceleratedOptimizer | torch.optim.Optimizer
    rows: Rows
    evaluator: Evaluator | None
    samples: SampleWriter
    state: TrainState
    reporter: Reporter
    stop: StopRequest
    flops_per_token: float
    peak_flops: float
    whole_model: Callable[[Path | None], nn.Module] | None = field(default=None, init=False)
    """Makes the model, whole, as it began or as in the folder of a checkpoint: to put a split one together
    in, and to go back."""
    begin_again: Callable[[], None] | None = field(default=None, init=False)
    """Has the objective prepare once more for the rows that it will meet, which are others after a
    rollback."""
    metrics: MetricsWriter | None = field(default=None, init=False)
    window_seconds: float = field(default=0.0, init=False)
    window_tokens: int = field(default=0, init=False)
    step_seconds: float = field(default=0.0, init=False)
    steps_here: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        section = self.recipe.training
        self.micro_rows = section.per_device_train_batch_size
        self.rows_per_step = self.micro_rows * section.gradient_accumulation_steps * self.layout.data_size
        self.rows_per_epoch = self.rows.rows_per_epoch(0)
        self.max_steps = section.max_steps or math.ceil(
            self.rows_per_epoch * section.num_train_epochs / self.rows_per_step
        )
        self.eval_steps = steps_between_evaluations(section, self.max_steps)
        self.save_times = SaveTimes(section, self.max_steps)
        self.sample_steps = section.sample_steps or self.eval_steps
        self.start_window()
        self.watch = StepWatch(self)
        self.guard = self.watch.guard

    def start_window(self) -> None:
        """Go on from the state with what was added up since the last line of metrics, over all processes."""
        self.window = Tally(self.objective, self.state.window)
        self.window_seconds, self.window_tokens = 0.0, 0

    def train(self) -> bool:
        """Go on to the last step. Returns False when asked to stop, with a checkpoint written."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.closing(self.watch.record))
            if self.accelerator.is_main_process:
                self.metrics = stack.enter_context(MetricsWriter(self.run.metrics_path))
                if self.run.metrics_path.stat().st_size > 0:
                    self.metrics.resume(self.state.step)
                self.samples.resume(self.state.step)
                drop_later(self.run.evaluations_path, self.state.step)
            self.reporter.update(now=True, state="running", step=self.state.step)
            self.stepper.module.train()
            if self.evaluator and self.recipe.training.eval_on_start and self.state.step == 0:
                # The first weights are no checkpoint: what is best is chosen among those that were trained.
                values = self.evaluator.evaluate(self.stepper)
                self.write(values)
                self.reporter.update(eval_loss=values["eval_loss"])
            while self.state.step < self.max_steps:
                try:
                    stopping = self.train_step()
                except Alarmed as alarmed:
                    rollback.answer(self, alarmed.alarm)
                    continue
                if stopping:
                    self.reporter.update(state="stopping")
                step, last = self.state.step, self.state.step == self.max_steps
                improved = False
                if step % self.recipe.training.logging_steps == 0 or last:
                    self.log()
                if self.evaluator and (step % self.eval_steps == 0 or last):
                    improved = self.evaluate(self.evaluator)
                if step % self.sample_steps == 0 or last:
                    self.sample()
                keep_best = improved and self.recipe.training.load_best_model_at_end
                if last or stopping or keep_best or self.is_save_due():
                    self.save()
                if stopping and not last:
                    return False
            ending.tell(self)
        return True

    def train_step(self) -> bool:
        """One optimiser step on the next rows. Returns whether any process was asked to stop.

        The gradient is that of the mean over all targets of all micro-batches and processes: each
        micro-batch's sum is divided by the count of the whole step, so that rows with few targets
        weigh no more than their targets do. Each term of the loss has its own count.
        """
        began = time.perf_counter()
        self.ranks.begin()
        self.watch.begin()
        section, state, objective = self.recipe.training, self.state, self.objective
        batches = [self.next_batch(number) for number in range(section.gradient_accumulation_steps)]
        counts = [sum(batch.counts[term] for batch in batches) for term in range(len(objective.terms))]
        filled = sum(batch.num_tokens for batch in batches)
        self.ranks.loaded()
        share = float(self.layout.counts_rows)
        known = torch.tensor(
            [*(share * count for count in counts), share * filled, float(bool(self.stop))],
            dtype=torch.float64,
        )
        *counts, tokens, stopping = map(int, over_processes(known, self.accelerator).tolist())
        self.ranks.counted()
        # Gradients are averaged over processes; the counts are over all of them.
        scale = torch.tensor(
            [
                weight * self.layout.grad_size / max(count, 1)
                for weight, count in zip(objective.weights, counts, strict=True)
            ],
            device=self.accelerator.device,
        )
        tally = self.stepper.backward(batches, scale)
        self.watch.loss(tally.reduce(self.accelerator).loss())
        rate = self.guard.rate(learning_rate(section, state.step, self.max_steps))
        for group in self.raw_optimizer.param_groups:
            group["lr"] = rate
        self.grad_norm = self.clip_gradients()
        self.optimizer.step()
        self.watch.stepped()
        self.optimizer.zero_grad()
        state.step += 1
        state.rows += self.rows_per_step
        state.num_tokens += tokens
        self.window.merge(tally)
        seconds = time.perf_counter() - began
        self.took(seconds, tokens)
        self.ranks.ended(state.step, seconds, filled)
        self.rate = rate
        return stopping > 0

    def next_batch(self, number: int) -> Batch:
        """This process's rows of micro-batch `number`: the order of rows is the same in any layout."""
        place = number * self.layout.data_size + self.layout.data_rank
        start = self.state.rows + place * self.micro_rows
        return self.rows.batch(start, self.micro_rows)

    def clip_gradients(self) -> float:
        """Clip if the recipe says so; the norm before clipping, either way."""
        limit = self.recipe.training.max_grad_norm or math.inf
        value = self.stepper.clip(limit)
        self.watch.gradient(value, limit)
        return value

    def took(self, seconds: float, tokens: int) -> None:
        """Account for the time of a step; evaluation, samples and checkpoints are not in it."""
        self.window_seconds += seconds
        self.window_tokens += tokens
        # The mean at first, then a slow moving average: an estimate that jumps is no estimate.
        self.steps_here += 1
        self.step_seconds += (seconds - self.step_seconds) / min(self.steps_here, 50)

    def log(self) -> None:
        """One line of metrics for the steps since the last."""
        state = self.state
        totals = self.window.totals()
        loss = self.objective.loss_of(totals)
        speed = self.window_tokens / self.window_seconds
        self.write(
            {
                "loss": loss,
                "grad_norm": self.grad_norm,
                "learning_rate": self.rate,
                "epoch": state.rows / self.rows_per_epoch,
                **self.objective.metrics(totals, training=True),
                **self.watch.metrics(totals),
                "tokens_per_second": speed,
                "mfu": speed * self.flops_per_token / self.peak_flops,
                **memory(self.accelerator.device),
            }
        )
        remaining = (self.max_steps - state.step) * self.step_seconds
        self.reporter.update(
            step=state.step,
            loss=loss,
            epoch=state.rows / self.rows_per_epoch,
            num_tokens=state.num_tokens,
            tokens_per_second=speed,
            eta_seconds=remaining,
        )
        self.window.clear()
        self.window_seconds, self.window_tokens = 0.0, 0

    def write(self, values: dict[str, Any]) -> None:
        """A record of metrics, to the run folder and to the trackers."""
        if self.metrics is not None:
            state = self.state
            known = {"step": state.step, "time": time.time(), "num_tokens": state.num_tokens}
            self.metrics.write(known | values)
        if self.recipe.run.report_to:
            self.accelerator.log(values, step=self.state.step)

    def evaluate(self, evaluator: Evaluator) -> bool:
        """Evaluate; returns whether the model is the best so far."""
        self.ranks.phase("evaluating")
        values, state = evaluator.evaluate(self.stepper), self.state
        self.write(values)
        best.write_report(self, evaluator.predictions)
        state.eval_loss = loss = values["eval_loss"]
        improved = best.improves(self, values)
        self.reporter.update(eval_loss=loss, best_eval_loss=state.best_eval_loss, best_step=state.best_step)
        return improved

    def is_save_due(self) -> bool:
        """See `SaveTimes`; processes have clocks of their own."""
        step, times = self.state.step, self.save_times
        return step % times.steps == 0 and bool(self.agreed(times.due(step)))

    def agreed(self, value: Any) -> Any:
        """What the main process says, on all of them."""
        return broadcast_object_list([value])[0]

    def sample(self) -> None:
        """What the model makes of the fixed prompts: on the main process, or where a model is split on
        all."""
        self.ranks.phase("sampling")
        if self.accelerator.is_main_process or not self.layout.is_plain:
            with self.stepper.whole() as model:
                self.samples.write(model, self.state.step)
        self.accelerator.wait_for_everyone()

    def save(self) -> None:
        """Write a checkpoint and delete the ones that are too many."""
        self.ranks.phase("saving")
        self.save_times.wrote()
        saving.save(self)

    def write_final(self) -> None:
        """Write `final/`, on the main process."""
        if self.accelerator.is_main_process:
            self.reporter.update(now=True, state="saving")
            kept = ending.instead(self)
            saving.write_final(self.run, self.state, self.recipe, self.tokenizer, self.whole_model, kept)

    def close(self, phase: str) -> None:
        """This process's last word, `ended` or `failed`."""
        self.ranks.close(phase)
