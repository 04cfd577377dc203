"""An opened checkpoint as a tree: sizes, weights by layer, tokenizer, chat template, files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.text import Text
from textual.widgets import Tree
from textual.widgets.tree import TreeNode

from workbench.tui.commands import Command, bindings
from workbench.tui.text import reveal_control, short_bytes, short_number

Entry = tuple[str, str]
"""A name and what is said of it."""
Branch = list[Entry]
"""The lines below a node, made when it is first opened."""


class CheckpointTree(Tree[Branch]):
    """Shows the answer of the inspector's request `model`; all text in it is literal."""

    HELP_TITLE = "Checkpoint"
    DEFAULT_CSS = """
    CheckpointTree { height: 1fr; background: $background; padding: 0 1; scrollbar-size-vertical: 1; }
    CheckpointTree:ansi > .tree--cursor,
    CheckpointTree:ansi:focus > .tree--cursor { background: ansi_default; text-style: reverse; }
    CheckpointTree:nocolor > .tree--cursor,
    CheckpointTree:nocolor:focus > .tree--cursor { text-style: reverse; }
    CheckpointTree:focus { background: $background; background-tint: transparent; }
    """
    BINDINGS = bindings(
        Command("tree.down", "j", "cursor_down", "down", "Go to the next line.", footer=False),
        Command("tree.up", "k", "cursor_up", "up", "Go to the line before.", footer=False),
        Command("tree.toggle", "enter", "select_cursor", "open", "Open or close the line.", footer=False),
        Command("tree.right", "right", "unfold(True)", "open", "Open the line.", footer=False),
        Command("tree.left", "left", "unfold(False)", "close", "Close the line, or go up.", footer=False),
    )

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(Text("o opens a checkpoint: a folder, a run, a hub name, a GGUF file"), id=id)
        self.guide_depth = 3

    def draw_with(self, symbols: str) -> None:
        """Use the marks of a set of symbols."""
        plain = symbols == "ascii"
        self.ICON_NODE, self.ICON_NODE_EXPANDED = ("+ ", "- ") if plain else ("▸ ", "▾ ")
        self.show_guides = not plain
        self.refresh()

    def show(self, answer: dict[str, Any]) -> None:
        """Show an opened checkpoint instead of the one before."""
        self.clear()
        self.root.set_label(
            _line(str(answer["name"]), str(answer["architecture"] or answer["format"]), "bold")
        )
        for problem in answer["problems"]:
            self.root.add_leaf(Text(f"! {reveal_control(problem['message'])}", "bold red"))
        types = ", ".join(f"{name} {short_number(count)}" for name, count in answer["dtypes"].items())
        self._leaf("parameters", f"{answer['parameters']:,}  {types}")
        on_disk = sum(file["bytes"] for file in answer["files"])
        self._leaf("on disk", f"{short_bytes(on_disk)}, weights {short_bytes(answer['bytes'])}")
        self._leaf("folder", answer["folder"])
        if answer["base_model"]:
            self._leaf("adapter of", answer["base_model"])
        weights = self.root.add(_line("weights", _count(len(answer["groups"]), "group")), expand=True)
        for group in answer["groups"]:
            words = f"{short_number(group['parameters'])}  {short_bytes(group['bytes'])}"
            self._branch(weights, str(group["name"]), words, list(_tensors(group)))
        self._tokenizer(answer["tokenizer"])
        self._chat(answer["chat"])
        config = [(str(key), str(value)) for key, value in answer["config"].items()]
        self._branch(self.root, "configuration", _count(len(config), "key"), config)
        files = [(str(file["path"]), short_bytes(file["bytes"])) for file in answer["files"]]
        self._branch(self.root, "files", _count(len(files), "file"), files)
        self.root.expand()
        self.cursor_line = 0

    def _tokenizer(self, found: dict[str, Any] | None) -> None:
        if found is None:
            self._leaf("tokenizer", "none found")
            return
        entries: Branch = [("class", str(found["class"])), ("longest text", str(found["max_length"] or "–"))]
        entries += [(str(item["role"]), f"{item['token']}  {item['id']}") for item in found["special"]]
        sample = found["sample"]
        entries.append(("sample", str(sample["text"])))
        pieces = " | ".join(str(token["piece"]) for token in sample["tokens"])
        entries.append(("its tokens", pieces))
        self._branch(self.root, "tokenizer", f"{found['kind']}, {found['vocab_size']:,} entries", entries)

    def _chat(self, found: dict[str, Any] | None) -> None:
        if found is None:
            self._leaf("chat template", "none")
            return
        lines = str(found["template"]).splitlines()
        self._branch(self.root, "chat template", _count(len(lines), "line"), [("", line) for line in lines])
        if found["rendered"]:
            shown = [("", line) for line in str(found["rendered"]).splitlines()]
            self._branch(self.root, "a chat as the model sees it", _count(len(shown), "line"), shown)

    def _leaf(self, name: str, words: object) -> None:
        self.root.add_leaf(_line(name, str(words)))

    @staticmethod
    def _branch(parent: TreeNode[Branch], name: str, words: str, entries: Branch) -> None:
        parent.add(_line(name, words), data=entries)

    def on_tree_node_expanded(self, message: Tree.NodeExpanded[Branch]) -> None:
        message.stop()
        node = message.node
        if node.data and not node.children:
            for name, words in node.data:
                node.add_leaf(_line(name, words))

    def action_unfold(self, wanted: bool) -> None:
        """Open the line under the cursor; close it, or go to what it belongs to."""
        node = self.cursor_node
        if node is None:
            return
        if wanted:
            node.expand()
        elif node.is_expanded and node.allow_expand:
            node.collapse()
        elif node.parent is not None:
            self.move_cursor(node.parent)


def _tensors(group: dict[str, Any]) -> Iterator[Entry]:
    prefix = f"{group['name']}."
    for tensor in group["tensors"]:
        shape = " × ".join(f"{size:,}" for size in tensor["shape"]) or "scalar"
        yield (
            str(tensor["name"]).removeprefix(prefix),
            f"{shape}  {tensor['dtype']}  {tensor['parameters']:,}",
        )


def _line(name: str, words: str, style: str = "") -> Text:
    text = Text(no_wrap=True)
    if name:
        text.append(reveal_control(name), style)
        text.append("  ")
    text.append(reveal_control(words), "dim" if name else "")
    return text


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
