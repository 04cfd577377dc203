"""Opening a checkpoint in the Build tab, through the process that inspects it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from workbench.tui.app import WorkbenchApp
from workbench.tui.build.checkpoint import CheckpointTree
from workbench.tui.tabs.build import BuildTab

TEMPLATE = "{% for message in messages %}[b]{{ message.role }}[/b]\n{{ message.content }}\n{% endfor %}"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A llama of two layers, as transformers lays it out, with a tokenizer of words and a chat template."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8}
    config |= {"num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 6, "intermediate_size": 16}
    (folder / "config.json").write_text(json.dumps(config))
    weights = {"model.embed_tokens.weight": np.zeros((6, 8), np.float32)}
    for layer in range(2):
        weights[f"model.layers.{layer}.self_attn.q_proj.weight"] = np.zeros((8, 8), np.float16)
        weights[f"model.layers.{layer}.mlp.[red]odd[/red].weight"] = np.zeros((16, 8), np.float16)
    save_file(weights, folder / "model.safetensors")
    words = {"<unk>": 0, "<s>": 1, "</s>": 2, "the": 3, "quick": 4, "fox": 5}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": number, "content": token, "single_word": False, "lstrip": False, "rstrip": False}
            | {"normalized": False, "special": True}
            for number, token in enumerate(("<unk>", "<s>", "</s>"))
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "<unk>"},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "bos_token": "<s>"}
    settings |= {"eos_token": "</s>", "chat_template": TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def labels(tree: CheckpointTree) -> list[str]:
    """Every line of the tree that can be seen by scrolling."""
    found, waiting = [], [tree.root]
    while waiting:
        node = waiting.pop(0)
        found.append(str(node.label))
        waiting = [*(node.children if node.is_expanded else ()), *waiting]
    return found


async def unfold(pilot: Any, until: Any, tree: CheckpointTree, begins: str) -> None:
    """Go to a line by its first words and open it."""
    node = next(node for node in tree._tree_nodes.values() if str(node.label).startswith(begins))
    tree.move_cursor(node)
    await pilot.press("right")
    await until(pilot, lambda: node.is_expanded and node.children)


@pytest.mark.slow
async def test_open_a_checkpoint(
    checkpoint: Path, until: Any, text_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The child imports transformers first.
    monkeypatch.setenv("TUI_TEST_SECONDS", "90")
    app = WorkbenchApp()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("1")
        await until(pilot, lambda: app.query_one(BuildTab).design is not None)
        tab = app.query_one(BuildTab)
        await pilot.press("o", *"no/such/folder", "enter")
        await until(pilot, lambda: "no/such/folder" in text_of(app) and not tab.asking_inspector)
        assert tab.pane == "drawing"
        await pilot.press("o")
        tab.prompt.value = str(checkpoint)
        await pilot.press("enter")
        await until(pilot, lambda: tab.pane == "checkpoint" and app.focused is tab.area.opened)
        tree = tab.area.opened
        seen = "\n".join(labels(tree))
        # 6 × 8 embeddings and, in each of two layers, 8 × 8 and 16 × 8.
        assert "LlamaForCausalLM" in seen and "432" in seen and "6 entries" in seen
        await until(pilot, lambda: "weights" in text_of(app) and "chat template" in text_of(app))
        await unfold(pilot, until, tree, "model.layers.1")
        assert "self_attn.q_proj.weight  8 × 8  F16  64" in labels(tree)
        assert "mlp.[red]odd[/red].weight  16 × 8  F16  128" in labels(tree)
        await until(pilot, lambda: "[red]odd[/red]" in text_of(app))
        await unfold(pilot, until, tree, "tokenizer")
        assert any("</s>" in label for label in labels(tree))
        await unfold(pilot, until, tree, "chat template")
        assert any("[b]{{ message.role }}[/b]" in label for label in labels(tree))
        await pilot.resize_terminal(200, 60)
        await until(pilot, lambda: "a chat as the model sees it" in text_of(app))
        assert "Estimates" not in text_of(app)
        await pilot.press("escape")
        await until(pilot, lambda: tab.pane == "drawing" and tab.chooser.has_focus)


async def test_a_request_is_cancelled(checkpoint: Path, until: Any, text_of: Any) -> None:
    app = WorkbenchApp()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("1")
        await until(pilot, lambda: app.query_one(BuildTab).design is not None)
        tab = app.query_one(BuildTab)
        await pilot.press("o")
        tab.prompt.value = str(checkpoint)
        await pilot.press("enter")
        await until(pilot, lambda: tab.asking_inspector and "esc" in text_of(app))
        await pilot.press("escape")
        await until(pilot, lambda: not tab.asking_inspector)
        assert tab.pane == "drawing"
