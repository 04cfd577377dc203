"""Model folders to export, made once, and exports of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from exported_models import corpus, decoder, ours

from workbench.data.chat_templates import chat_template
from workbench.exporting.export import export

Export = Callable[..., dict[str, Any]]
TURNS = ("<|im_start|>", "<|im_end|>")


def nothing(what: str, done: int, total: int | None) -> None:
    """Progress that nobody watches."""


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One of the workbench's own, taught to converse by ChatML."""
    made = ours(tmp_path_factory.mktemp("tokenizer"), corpus(40_000), size=400)
    made.add_special_tokens({"additional_special_tokens": list(TURNS)})
    made.chat_template = chat_template("chatml")
    return made


@pytest.fixture(scope="session")
def llama(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A Llama in fp32, and its folder."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    model = decoder("Llama", tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model, folder


@pytest.fixture(scope="session")
def save(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`save(model, tokenizer)` into a folder of its own."""

    def write(*parts: Any) -> Path:
        folder = tmp_path_factory.mktemp("saved") / "model"
        for part in parts:
            part.save_pretrained(folder)
        return folder

    return write


@pytest.fixture
def exported(tmp_path: Path) -> Export:
    """`exported(folder, "gguf", dtype=…)` into `tmp_path / "out"`."""

    def run(folder: Path | str, format: str, to: Path | None = None, **options: Any) -> dict[str, Any]:
        target = to or tmp_path / "out"
        return export(name=str(folder), format=format, to=str(target), progress=nothing, **options)

    return run
