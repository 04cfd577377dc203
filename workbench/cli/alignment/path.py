"""The steps of the small path, each a run or a session; what is there already is not made again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench import paths
from workbench.cli import render
from workbench.cli.alignment import ranking
from workbench.cli.alignment.folder import Folder
from workbench.cli.follow import failure
from workbench.cli.train import attend, make, start
from workbench.store.preferences.database import Database
from workbench.store.runs import Run, find_run

STEM = "align"
ANSWERS = 4
"""Answers to each prompt that the judge ranks."""

LENGTH = 128
ONCE = {"training.save_steps": 1000, "training.gradient_accumulation_steps": 1, "data.max_length": LENGTH}
"""Of steps that take a minute: no checkpoints on the way but the best."""
BASE = {"training.max_steps": 500, "training.save_steps": 500, "training.eval_steps": 250}
SFT = ONCE | {
    "data.eval_fraction": 0.05,
    "training.num_train_epochs": 3,
    "training.per_device_train_batch_size": 16,
    "training.learning_rate": 1e-3,
    "training.eval_steps": 50,
}
REWARD = ONCE | {
    "training.num_train_epochs": 3,
    "training.per_device_train_batch_size": 8,
    "training.per_device_eval_batch_size": 32,
    "training.learning_rate": 5e-4,
    "training.eval_steps": 20,
    "training.metric_for_best_model": "accuracy",
}
PPO = ONCE | {
    "ppo.response_length": 32,
    "ppo.local_rollout_forward_batch_size": 128,
    "ppo.kl_target": 4.0,
    # As many answers as the controller sees in a few iterations: the default is for runs of thousands.
    "ppo.kl_horizon": 500,
    "training.max_steps": 30,
    "training.per_device_train_batch_size": 32,
    "training.learning_rate": 1e-4,
    "training.eval_steps": 15,
}
DPO = ONCE | {
    "training.num_train_epochs": 2,
    "training.per_device_train_batch_size": 8,
    "training.per_device_eval_batch_size": 32,
    "training.learning_rate": 1e-4,
    "training.eval_steps": 20,
}


@dataclass
class AlignmentPath:
    """One path, named `align-1` and so on: its runs and sessions begin with that name."""

    name: str
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder = Folder(self.name)

    def run(self) -> dict[str, Any]:
        """Walk to the end; what came out, by step. Raises what the steps raise, with all before them kept."""
        self._step("examples", "functions of this Python, and what their authors say of them", self.examples)
        base = self._train("base", "a small decoder learns Python's own library", "quickstart", BASE)
        sft = self._train("sft", "it learns to say what a function does", "sft", self._sft(base))
        self._step("answers", f"it answers {ANSWERS} times to each prompt, and a rule ranks", self._rank(sft))
        reward = self._train("reward", "a reward model learns the rankings", "reward", self._reward(sft))
        ppo = self._train(
            "ppo", "PPO makes what the reward model likes likelier", "ppo", self._ppo(sft, reward)
        )
        dpo = self._train("dpo", "DPO learns from the rankings at once", "dpo", self._dpo(sft))
        self._step("result", "all three answer prompts that none has seen", self._compare([sft, ppo, dpo]))
        return self.result()

    def result(self) -> dict[str, Any]:
        """The win rates of the finished path, and where everything is."""
        with Database() as database:
            session = ranking.session_of(database, f"{self.name}-result", self.folder.held_out, [], 1)
            fared = ranking.fared(database, session, self.folder.judge(), f"{self.name}-sft")
        return {
            "name": self.name,
            "models": fared,
            "session": session.name,
            "rankings": str(self.folder.rankings),
            "seconds": {step: round(seconds, 1) for step, seconds in self.seconds.items()},
        }

    def examples(self) -> None:
        """The files of prompts and completions."""
        render.talk(f"  {self.folder.write():,} of them in {self.folder.path}")

    def _sft(self, base: Path) -> dict[str, Any]:
        return {"model.model_name_or_path": str(base), "data.sources": [str(self.folder.examples)], **SFT}

    def _reward(self, sft: Path) -> dict[str, Any]:
        return {"model.model_name_or_path": str(sft), "data.sources": [str(self.folder.rankings)], **REWARD}

    def _ppo(self, sft: Path, reward: Path) -> dict[str, Any]:
        start = {"model.model_name_or_path": str(sft), "ppo.reward_model_path": str(reward)}
        return {**start, "data.sources": [str(self.folder.prompts)], **PPO}

    def _dpo(self, sft: Path) -> dict[str, Any]:
        return {"model.model_name_or_path": str(sft), "data.sources": [str(self.folder.rankings)], **DPO}

    def _rank(self, sft: Path) -> Callable[[], None]:
        def work() -> None:
            with Database() as database:
                name = f"{self.name}-answers"
                session = ranking.session_of(database, name, self.folder.asked, [sft], ANSWERS)
                ranking.answer_all(session)
                ranking.judge_all(database, session, self.folder.judge())
                ranking.export(database, session, self.folder.rankings)

        return work

    def _compare(self, models: Sequence[Path]) -> Callable[[], None]:
        def work() -> None:
            with Database() as database:
                name = f"{self.name}-result"
                session = ranking.session_of(database, name, self.folder.held_out, models, 1)
                ranking.answer_all(session)
                ranking.judge_all(database, session, self.folder.judge())

        return work

    def _train(self, step: str, words: str, preset: str, changes: dict[str, Any]) -> Path:
        """A run to its end, and the folder of its model; one that was cut off goes on."""
        name = f"{self.name}-{step}"

        def work() -> None:
            overrides = [f"{key}={json.dumps(value)}" for key, value in changes.items()]
            existing = (paths.runs_dir() / name).is_dir()
            run = find_run(name) if existing else make(preset, overrides, stem=name, name=name)
            if run.status().state != "finished":
                status = attend(start(run))
                if status.state != "finished":
                    raise failure(run, status)
            else:
                render.talk("  it is there already")

        self._step(step, words, work)
        return Run(paths.runs_dir() / name).final_path

    def _step(self, step: str, words: str, work: Callable[[], None]) -> None:
        began = time.monotonic()
        render.talk(f"{render.style(step, 'bold')}: {words}")
        work()
        self.seconds[step] = time.monotonic() - began
