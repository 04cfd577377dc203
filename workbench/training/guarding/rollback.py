"""Going back in the middle of a run: to the last good checkpoint, without the rows that went wrong.

Weights, optimiser, loss scale, random numbers, counters and the place in the data become what they were, in
this process and in all others; what was logged since stays in the files, behind a mark that it was overtaken.
The checkpoint that was gone back to learns of the alarm, so that a run killed now goes on the same way.
"""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch

from workbench.errors import CheckpointError, TrainingError
from workbench.store.files import replace_file
from workbench.training import checkpoint, random_state
from workbench.training.agreement import from_main, together
from workbench.training.guarding import leaving, words
from workbench.training.guarding.ledger import RECENT_STEPS, REPEAT_STEPS
from workbench.training.guarding.origins import origins
from workbench.training.optimizer import groups_of
from workbench.training.parallel import sharded_checkpoint
from workbench.training.parallel.parts import Source, send_weights
from workbench.training.parallel.stepper import persistent_buffers
from workbench.training.samples import drop_later
from workbench.training.state import TrainState

if TYPE_CHECKING:
    from workbench.training.guarding.alarm import Alarm
    from workbench.training.guarding.ledger import Ledger
    from workbench.training.loop import Trainer

REACH = 12
"""Steps after which trouble has shown itself: what was good then, and is older, is good."""
BEGINNING = 0


def answer(trainer: Trainer, alarm: Alarm) -> None:
    """Do what the recipe says about an alarm: go back. Raises `TrainingError` where the run is to end."""
    guard = trainer.guard
    trainer.optimizer.zero_grad()
    if not guard.goes_back:
        guard.record.ended(alarm, guard.ledger)
        raise _end(trainer, alarm, "stability.guard is stop.")
    recent = guard.ledger.num_recent(alarm.step)
    if recent >= trainer.recipe.stability.max_rollbacks:
        again = (
            f"It had been rolled back {recent} times (stability.max_rollbacks) within {RECENT_STEPS} steps."
        )
        guard.record.ended(alarm, guard.ledger, f"The run was ended. {again}")
        raise _end(trainer, alarm, again)
    if not alarm.skips and trainer.recipe.stability.rollback_lr_factor == 1:
        same = "With stability.rollback_lr_factor 1 the same steps would be made again."
        guard.record.ended(alarm, guard.ledger, f"The run was ended. {same}")
        raise _end(trainer, alarm, same)
    target = trainer.agreed(_choose(trainer, alarm) if trainer.accelerator.is_main_process else None)
    ledger = guard.ledger
    ledger.alarm(alarm.step)
    found, reached = None, TrainState(data_key=trainer.state.data_key)
    if target != BEGINNING:
        found = checkpoint.read(trainer.run.path / f"checkpoint-{target}")
        reached = found.state
    first, end = _rows(trainer, alarm, reached, ledger)
    ledger.skip(first, end)
    leaving.note(trainer.rows, ledger, first, end, trainer.state.rows + trainer.rows_per_step)
    slower = (ledger.streak > 0 or not alarm.skips) and trainer.recipe.stability.rollback_lr_factor < 1
    if slower:
        ledger.lr_scale *= trainer.recipe.stability.rollback_lr_factor
    ledger.last_target = target
    told = _told(trainer, first, end) if trainer.accelerator.is_main_process else None
    tokens = trainer.state.num_tokens
    _restore(trainer, found, reached)
    guard.load_state_dict(reached.guard)
    guard.ledger = ledger
    trainer.watch.leave_out()
    _prepare_rows(trainer)
    # Before files change, all processes have read them.
    trainer.accelerator.wait_for_everyone()
    if trainer.accelerator.is_main_process:
        done = _done(trainer, target, first, end, slower)
        guard.record.rolled_back(alarm, ledger, target, told, done, num_tokens=tokens)
        _write_down(trainer, target)
    state = trainer.state
    trainer.reporter.update(
        now=True,
        state="running",
        step=target,
        eval_loss=state.eval_loss,
        best_eval_loss=state.best_eval_loss,
        best_step=state.best_step,
    )
    trainer.accelerator.wait_for_everyone()


def protected(trainer: Trainer) -> set[Any]:
    """Checkpoints that must not be rotated away: the newest good one, the newest that has proved good, the
    one that will prove so next, and the best ones as of then: who goes back may end with them."""
    guard, run, step = trainer.guard, trainer.run, trainer.state.step
    if guard.section.guard not in ("rollback", "stop"):
        return set()
    good = [path for path in run.checkpoints() if is_good(path)]
    proved = [path for path in good if _step_of(path) <= step - REACH]
    kept = {*proved[-1:], *good[len(proved) : len(proved) + 1], *good[-1:]}
    if trainer.recipe.training.load_best_model_at_end:
        kept |= {best for best in map(_best_of, kept) if best.is_dir()}
    return kept


def is_good(path: Any) -> bool:
    """Whether a checkpoint was written while nothing was suspected."""
    try:
        state = json.loads((path / checkpoint.STATE_FILE).read_bytes())["state"]
        return not state.get("guard", {}).get("suspicious", False)
    except (OSError, ValueError, KeyError, AttributeError):
        return False


def _best_of(path: Any) -> Any:
    """The checkpoint that was the best when a good one was written."""
    state = json.loads((path / checkpoint.STATE_FILE).read_bytes())["state"]
    return path.with_name(f"checkpoint-{state.get('best_step')}")


def _step_of(path: Any) -> int:
    return int(path.name.rpartition("-")[2])


def _choose(trainer: Trainer, alarm: Alarm) -> int:
    """The step of the newest complete checkpoint that is good and older than what is suspected; where the
    same trouble came back, an older one than last time, if there is one. Where all that is left is younger,
    as after a rise so slow that nothing was suspected, the oldest; only without any the beginning."""
    ledger = trainer.guard.ledger
    steps = []
    for path in trainer.run.checkpoints():
        if _step_of(path) < alarm.step and is_good(path):
            try:
                steps.append(checkpoint.read(path).step)
            except CheckpointError as error:
                print(f"warning: {error.message}; it is passed over", file=sys.stderr)
    wanted = [step for step in steps if step < alarm.first_bad] or steps[:1]
    if ledger.last_alarm is not None and alarm.step <= ledger.last_alarm + REPEAT_STEPS:
        last = BEGINNING if ledger.last_target is None else ledger.last_target
        wanted = [step for step in wanted if step < last] or wanted
    return max(wanted, default=BEGINNING)


def _rows(trainer: Trainer, alarm: Alarm, reached: TrainState, ledger: Ledger) -> tuple[int, int]:
    """The rows to leave out, [first, behind the last); more of them each time that it did not help."""
    if not alarm.skips:
        return 0, 0
    known = [entry for entry in alarm.trace if entry.step >= alarm.first_bad]
    first = max(known[0].rows, reached.rows)
    end = known[-1].rows + trainer.rows_per_step
    return first, end + (end - first) * (2**ledger.streak - 1)


def _told(trainer: Trainer, first: int, end: int) -> dict[str, Any] | None:
    """What the event says of the rows that are left out."""
    if first >= end:
        return None
    sources = [source.path for source in trainer.recipe.data.sources]
    try:
        rows = origins(trainer.rows, first, end, trainer.tokenizer, sources)
    except Exception as error:
        # Rows that cannot even be read may be what is wrong with them; the run goes on without.
        return {"first": first, "end": end, "rows": [], "unreadable": f"{type(error).__name__}: {error}"}
    return {"first": first, "end": end, "rows": rows}


def _restore(trainer: Trainer, found: checkpoint.Checkpoint | None, reached: TrainState) -> None:
    """Make this process what it was when the checkpoint was written; None is the beginning of the run."""
    seed, layout = trainer.recipe.training.seed, trainer.layout
    _restore_weights(trainer, found)
    own = None
    if found is None:
        random_state.seed_everything(seed + layout.seed_offset)
    else:
        same = found.extra.get("layout", layout.as_dict()) == layout.as_dict()
        own = found.random_state(layout.rank) if same else None
        random_state.seed_everything(found.step * 1000 + layout.seed_offset)
    if own is not None:
        random_state.restore(own)
    _restore_scaler(trainer, found)
    for item in fields(TrainState):
        setattr(trainer.state, item.name, getattr(reached, item.name))
    trainer.start_window()
    trainer.stepper.module.train()


def _restore_weights(trainer: Trainer, found: checkpoint.Checkpoint | None) -> None:
    """Weights and optimiser, in place."""
    stepper, optimizer = trainer.stepper, trainer.raw_optimizer
    optimizer.state.clear()
    if found is not None and sharded_checkpoint.is_sharded(found.path):
        sharded_checkpoint.load(found.path, {**stepper.weights, **stepper.buffers()}, optimizer)
        return
    # New weights are drawn as they were when the run began.
    random_state.seed_everything(trainer.recipe.training.seed)
    if not trainer.layout.is_plain:
        _restore_split(trainer, found)
        return
    assert trainer.whole_model is not None
    trainer.model.load_state_dict(trainer.whole_model(None if found is None else found.path).state_dict())
    if found is not None:
        checkpoint.restore_optimizer(optimizer, found.optimizer_state())


def _restore_split(trainer: Trainer, found: checkpoint.Checkpoint | None) -> None:
    """The weights and the optimiser of a split model as one process finds them whole, and sends them."""
    stepper, layout, accelerator = trainer.stepper, trainer.layout, trainer.accelerator
    usual = timedelta(seconds=trainer.recipe.launch.ddp_timeout)
    is_main = accelerator.is_main_process
    read = together(lambda: _whole(trainer, found) if is_main else None, accelerator, usual=usual)
    tensors, order, states = read or (None, None, None)
    places: dict[str, torch.Tensor] = {**stepper.weights, **stepper.buffers()}
    send_weights(None if tensors is None else Source.of(tensors), places, layout)
    if found is not None:
        flat = None if states is None else Source.of(states)
        order = from_main(order, accelerator)
        sharded_checkpoint.from_plain(trainer.raw_optimizer, stepper.weights, order, flat, layout)


def _whole(
    trainer: Trainer, found: checkpoint.Checkpoint | None
) -> tuple[dict[str, torch.Tensor], list[str], dict[str, torch.Tensor] | None]:
    """Weights and buffers of the model of a checkpoint, or as it began; the names of the weights as its
    optimiser counts them, and its states."""
    assert trainer.whole_model is not None
    fresh: Any = trainer.whole_model(None if found is None else found.path)
    names = {id(weight): name for name, weight in fresh.named_parameters()}
    groups = groups_of(fresh, trainer.recipe.training)
    order = [names[id(weight)] for group in groups for weight in group["params"]]
    tensors = {name: weight.data for name, weight in fresh.named_parameters()} | persistent_buffers(fresh)
    return tensors, order, None if found is None else found.optimizer_state()


def _prepare_rows(trainer: Trainer) -> None:
    """Where the reference's log-probabilities were computed beforehand, have those of rows that will be met
    in the place of the ones left out."""
    section = trainer.recipe.objective
    if section.name == "dpo" and section.precompute_ref_log_probs and trainer.begin_again is not None:
        before = random_state.capture()
        trainer.begin_again()
        random_state.restore(before)
        trainer.reporter.update(progress=None)


def _restore_scaler(trainer: Trainer, found: checkpoint.Checkpoint | None) -> None:
    scaler = trainer.accelerator.scaler
    if scaler is None:
        return
    # What it noted of the step that is not made.
    scaler._per_optimizer_states.clear()
    if found is not None and "scaler" in found.extra:
        scaler.load_state_dict(found.extra["scaler"])


def _write_down(trainer: Trainer, target: int) -> None:
    """Bring the files of the run in line; the log of metrics keeps what was overtaken."""
    run = trainer.run
    if trainer.metrics is not None:
        trainer.metrics.roll_back(target)
    trainer.samples.resume(target)
    drop_later(run.evaluations_path, target)
    later = [path for path in run.checkpoints() if _step_of(path) > target]
    checkpoint.prune(later, 0, set())
    if target == BEGINNING:
        return
    path = run.path / f"checkpoint-{target}" / checkpoint.STATE_FILE
    content = json.loads(path.read_bytes())
    content["state"].setdefault("guard", {})["ledger"] = trainer.guard.ledger.as_dict()
    replace_file(path, json.dumps(content, indent=1).encode(), durable=True)


def _done(trainer: Trainer, target: int, first: int, end: int, slower: bool) -> str:
    """What was done, in words."""
    back = "Back to the weights that the run began with"
    if target != BEGINNING:
        back = f"Back to checkpoint-{target}"
    text = f"{back}; what was logged since is overtaken."
    if end > first:
        text += f" Rows {first:,} to {end - 1:,} are left out."
    ledger = trainer.guard.ledger
    if slower:
        text += f" The learning rate is {ledger.lr_scale:.3g} of the recipe's from now on."
    limit = trainer.recipe.stability.max_rollbacks
    recent = ledger.num_recent(ledger.alarms[-1])
    return f"{text} This was rollback {recent} of at most {limit} within {RECENT_STEPS} steps."


def _end(trainer: Trainer, alarm: Alarm, reason: str) -> TrainingError:
    before = [path for path in trainer.run.checkpoints() if _step_of(path) < alarm.first_bad]
    good = [path.name for path in before if is_good(path)]
    kept = f"The last good checkpoint is {good[-1]}. " if good else "There is no checkpoint from before. "
    return TrainingError(
        f"stopped at step {alarm.step}. {words.happened(alarm)} {reason}",
        where=str(trainer.run.path),
        hint=kept + words.advice(alarm),
    )
