"""Checkpoints: exact, atomic, checked, pruned."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from workbench.errors import CheckpointError, StorageError
from workbench.recipe import TrainingSection
from workbench.training import checkpoint, random_state
from workbench.training.optimizer import build_optimizer
from workbench.training.state import TrainState


class NoTokenizer:
    """Stands in for a tokenizer: these tests are about folders."""

    def save_pretrained(self, folder: Path) -> None:
        (Path(folder) / "tokenizer.json").write_text("{}")


def tiny() -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
        )
    )
    return model


def step(model: PreTrainedModel, optimizer: torch.optim.Optimizer) -> float:
    ids = torch.randint(0, 64, (2, 8))
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return float(loss.item())


def save(folder: Path, number: int, model: PreTrainedModel, optimizer: torch.optim.Optimizer) -> Path:
    target = folder / f"checkpoint-{number}"
    checkpoint.save(
        target,
        model=model,
        tokenizer=NoTokenizer(),
        optimizer=optimizer,
        state=TrainState(step=number, rows=number * 4, data_key="k"),
        random_states=[random_state.capture()],
        extra={"scaler": {"scale": 2.0}},
    )
    return target


@pytest.fixture
def saved(tmp_path: Path) -> Iterator[tuple[Path, PreTrainedModel, torch.optim.Optimizer]]:
    model = tiny()
    optimizer = build_optimizer(model, TrainingSection())
    step(model, optimizer)
    yield save(tmp_path, 1, model, optimizer), model, optimizer


def test_a_restored_run_goes_on_bit_for_bit(
    saved: tuple[Path, PreTrainedModel, torch.optim.Optimizer],
) -> None:
    folder, model, optimizer = saved
    expected = [step(model, optimizer) for _ in range(3)] + [random.random(), float(np.random.rand())]
    found = checkpoint.read(folder)
    again = LlamaForCausalLM.from_pretrained(folder, use_safetensors=True)
    new_optimizer = build_optimizer(again, TrainingSection())
    checkpoint.restore_optimizer(new_optimizer, found.optimizer_state())
    restored = found.random_state(0)
    assert restored is not None and found.random_state(1) is None
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    random_state.restore(restored)
    assert [step(again, new_optimizer) for _ in range(3)] + [
        random.random(),
        float(np.random.rand()),
    ] == expected
    assert (found.state.rows, found.extra) == (4, {"scaler": {"scale": 2.0}})


def test_nothing_in_a_checkpoint_is_pickled(
    saved: tuple[Path, PreTrainedModel, torch.optim.Optimizer],
) -> None:
    assert {path.suffix for path in saved[0].iterdir()} <= {".safetensors", ".json"}


@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.safetensors", "random-0.safetensors", "config.json"]
)
@pytest.mark.parametrize("damage", ["cut", "remove"])
def test_damage_is_named(
    saved: tuple[Path, PreTrainedModel, torch.optim.Optimizer], name: str, damage: str
) -> None:
    file = saved[0] / name
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-7])
    else:
        file.unlink()
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        checkpoint.read(saved[0])


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"files": {}, "state": {}, "extra": {}}'])
def test_a_broken_state_file_is_named(
    saved: tuple[Path, PreTrainedModel, torch.optim.Optimizer], content: str
) -> None:
    (saved[0] / checkpoint.STATE_FILE).write_text(content)
    with pytest.raises(CheckpointError, match="trainer_state.json"):
        checkpoint.read(saved[0])


def test_a_damaged_newest_falls_back_and_all_damaged_is_an_error(
    saved: tuple[Path, PreTrainedModel, torch.optim.Optimizer], tmp_path: Path
) -> None:
    first, model, optimizer = saved
    second = save(tmp_path, 2, model, optimizer)
    (second / "model.safetensors").write_bytes(b"short")
    warnings: list[str] = []
    found = checkpoint.newest([first, second], warnings.append)
    assert found is not None and found.step == 1 and "checkpoint-2 is damaged" in warnings[0]
    (first / checkpoint.STATE_FILE).unlink()
    with pytest.raises(CheckpointError, match="no older one to resume from") as caught:
        checkpoint.newest([first, second], warnings.append)
    assert "delete it" in caught.value.hint
    assert checkpoint.newest([], warnings.append) is None


def test_a_failed_write_leaves_the_older_one_and_no_rest(
    saved: tuple[Path, PreTrainedModel, torch.optim.Optimizer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, model, optimizer = saved

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(StorageError, match="the disk is full"):
        save(tmp_path, 2, model, optimizer)
    assert [path.name for path in tmp_path.iterdir() if "checkpoint" in path.name] == ["checkpoint-1"]
    assert checkpoint.read(first).step == 1


def test_pruning_keeps_the_newest_and_the_best(tmp_path: Path) -> None:
    folders = [tmp_path / f"checkpoint-{number}" for number in (1, 2, 3, 4, 5)]
    for folder in folders:
        folder.mkdir()
    checkpoint.prune(folders, 3, keep={folders[0], folders[4]})
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == [
        "checkpoint-1",
        "checkpoint-4",
        "checkpoint-5",
    ]
    checkpoint.prune([folders[0], folders[3], folders[4]], 1, keep={folders[0], folders[4]})
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-1", "checkpoint-5"]
    checkpoint.prune([folders[0], folders[4]], None, keep=set())
    assert len(list(tmp_path.glob("checkpoint-*"))) == 2


def test_cleaning_removes_half_written_folders(tmp_path: Path) -> None:
    (tmp_path / f"{checkpoint.TEMPORARY}checkpoint-9").mkdir()
    (tmp_path / "checkpoint-1").mkdir()
    checkpoint.clean(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == ["checkpoint-1"]


def test_a_model_folder_is_made_without_training_state(
    saved: tuple[Path, PreTrainedModel, torch.optim.Optimizer], tmp_path: Path
) -> None:
    checkpoint.copy_model(saved[0], tmp_path / "final")
    names = {path.name for path in (tmp_path / "final").iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= names
    assert not names & {"optimizer.safetensors", "random-0.safetensors", "trainer_state.json"}


def test_norms_are_not_decayed() -> None:
    model = tiny()
    decayed, plain = build_optimizer(model, TrainingSection(weight_decay=0.3)).param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.3, 0.0)
    assert all(p.ndim >= 2 for p in decayed["params"]) and all(p.ndim == 1 for p in plain["params"])
    assert len(decayed["params"]) + len(plain["params"]) == len(list(model.parameters()))
