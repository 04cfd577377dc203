"""A DPO run in the Train tab: charts of its rewards, and a falling one explained in the info pane."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from workbench.recipe import Recipe
from workbench.store.runs import create_run
from workbench.tui.train.default_charts import DEFAULT_METRICS, metrics_for
from workbench.tui.train.info_pane import InfoSource
from workbench.tui.train.rows import Row


def test_rewards_have_charts_while_nobody_chose_any() -> None:
    assert metrics_for([]) == metrics_for(["clm", "sft"]) == DEFAULT_METRICS
    names = metrics_for(["clm", "dpo"])
    assert names[0] == "loss" and names[1:5] == (
        *("rewards/margins", "rewards/accuracies"),
        *("rewards/chosen", "rewards/rejected"),
    )
    assert set(DEFAULT_METRICS) < set(names)
    assert metrics_for(["reward"])[1:3] == ("accuracy", "margin")


def test_ppo_has_no_chart_of_a_loss_that_it_lacks() -> None:
    assert "eval_loss" not in metrics_for(["ppo"])
    assert {"objective/scores", "objective/kl"} < set(metrics_for(["ppo"]))
    assert "eval_loss" in metrics_for(["ppo", "sft"])


def test_a_falling_reward_is_explained_as_it_falls(home: Path) -> None:
    recipe = Recipe(objective={"name": "dpo"}, model={"model_name_or_path": "m"})
    run = create_run(recipe, "dpo")
    status = run.status()
    source = InfoSource(lambda: Row(run, status, status.state, status.created), "braille")
    words = {" ".join(text for text, _ in line) for line in source.poll() or []}
    assert not any("rewards/chosen" in line for line in words)
    with run.metrics_path.open("w") as file:
        for step in range(1, 21):
            record = {"step": step, "time": step, "rewards/chosen": -step / 9, "rewards/rejected": -step / 3}
            file.write(json.dumps(record) + "\n")
    status = replace(status, step=20)
    told = ["".join(text for text, _ in line) for line in source.poll() or []]
    assert any("rewards/chosen has fallen to -2" in line and "no fault" in line for line in told)
