"""A folder with a policy, a reward model and prompts, made once, and runs on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from compiled_home import compiled_home
from ppo_setting import recipe_of, save_policy, save_prompts, save_reward_model

from workbench.recipe import Recipe, validate
from workbench.store.runs import Run, create_run


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices of sixteen numbers gain nothing from a second thread, and lose where cores are shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def compiled(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Compiled code of this run, shared by its processes; all else of a home is the test's own."""
    shared = compiled_home(tmp_path_factory) / "cache" / "native"
    shared.mkdir(parents=True, exist_ok=True)
    (home / "cache").mkdir(parents=True, exist_ok=True)
    (home / "cache" / "native").symlink_to(shared)


@pytest.fixture(scope="session")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`policy/`, `reward/`, `other/` (another tokenizer) and `prompts.jsonl`."""
    folder = tmp_path_factory.mktemp("ppo")
    save_policy(folder / "policy")
    save_reward_model(folder / "reward")
    save_prompts(folder / "prompts.jsonl")
    return folder


@pytest.fixture
def make_recipe(setting: Path) -> Callable[..., Recipe]:
    """A checked recipe, changed by keys."""

    def make(**changes: Any) -> Recipe:
        return validate(recipe_of(setting, **changes), "test")

    return make


@pytest.fixture
def make_ppo_run(make_recipe: Callable[..., Recipe]) -> Callable[..., Run]:
    """A run of such a recipe, not started."""

    def make(**changes: Any) -> Run:
        return create_run(make_recipe(**changes), "ppo")

    return make
