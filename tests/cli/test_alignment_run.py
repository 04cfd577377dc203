"""The small path from end to end, smaller still: every worker, engine and session is real."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from workbench.cli.alignment import folder, path
from workbench.cli.alignment.command import align
from workbench.cli.alignment.functions import Function
from workbench.store.runs import find_run

STEPS = {"training.max_steps": 2, "launch.num_threads": 1, "data.max_length": 96}
NAMES = ("Get", "Set", "Open", "Close", "Read", "Write")


def functions() -> list[Function]:
    return [
        Function(f"def {verb.lower()}_{noun}({noun}):", f"{verb} the {noun} of this and that.")
        for verb in NAMES
        for noun in ("file", "value", "socket", "thread", "queue")
    ]


@pytest.mark.slow
def test_the_path_is_walked_to_its_end_and_not_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(one.prompt + one.sentence for one in functions()))
    monkeypatch.setattr(folder, "documented_functions", functions)
    monkeypatch.setattr(folder, "HELD_OUT", 4)
    monkeypatch.setattr(folder, "ASKED", 4)
    small = {"model.hidden_size": 32, "model.num_hidden_layers": 1, "model.vocab_size": 300}
    monkeypatch.setattr(path, "BASE", {**STEPS, **small, "data.sources": [str(text)]})
    for step in ("SFT", "REWARD", "DPO"):
        monkeypatch.setattr(path, step, STEPS | {"data.eval_fraction": 0.2})
    monkeypatch.setattr(path, "PPO", STEPS | {"ppo.response_length": 4, "training.max_eval_batches": 1})
    assert align(as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert {row["model"] for row in told["models"]} == {"align-1-sft", "align-1-ppo", "align-1-dpo"}
    assert {row["prompts"] for row in told["models"]} == {4}
    ended = {
        step: find_run(f"align-1-{step}").status().ended for step in ("base", "sft", "reward", "ppo", "dpo")
    }
    rankings = (tmp_path / "alignment" / "align-1" / "rankings.jsonl").read_bytes()
    assert len(rankings.splitlines()) == 4

    # Cut off before the end was noted: nothing is made again.
    (tmp_path / "alignment" / "align-1" / "result.json").unlink()
    assert align(as_json=True) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["models"] == told["models"]
    assert {step: find_run(f"align-1-{step}").status().ended for step in ended} == ended
    assert (tmp_path / "alignment" / "align-1" / "rankings.jsonl").read_bytes() == rankings
