"""The tokenizer: what becomes of a text that one types, and the vocabulary behind it."""

from __future__ import annotations

from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.containers import Container
from textual.message import Message
from textual.widgets import Input, Static

from workbench.tui.commands import Command, bindings
from workbench.tui.text import reveal_control
from workbench.tui.widgets.prompt import Prompt
from workbench.tui.widgets.text_lines import Line, TextLines
from workbench.tui.widgets.token_flow import Cell, TokenFlow

FIRST = "The quick brown fox jumps over the lazy dog. def f(x): return x + 1"


class TokenizerPane(Container):
    """A text in tokens, the one under the cursor in words, and the totals."""

    HELP_TITLE = "Tokenizer"
    DEFAULT_CSS = """
    TokenizerPane { height: 1fr; }
    TokenizerPane #tokenizer-title { height: 1; background: $surface; padding: 0 1; }
    TokenizerPane TokenFlow { padding: 0 1; }
    TokenizerPane TextLines { height: 3; background: $surface; padding: 0 1; }
    """
    BINDINGS = bindings(
        Command("tokenizer.type", "enter", "type", "type a text", "Type a text to see its tokens."),
        Command("tokenizer.train", "T", "train", "train one", "Train a new tokenizer on the sources."),
    )

    class Wanted(Message):
        """Tokens of the text are wanted."""

    class TrainWanted(Message):
        """A new tokenizer is wanted."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.text = FIRST
        self.tokens: list[dict[str, Any]] = []

    def compose(self) -> ComposeResult:
        yield Static("", id="tokenizer-title", markup=False)
        yield Prompt("a text", id="tokenizer-text")
        yield TokenFlow()
        yield TextLines()

    def say(self, text: str) -> None:
        """A word about what is going on, in place of the title."""
        self.query_one("#tokenizer-title", Static).update(text)

    def take(self, result: dict[str, Any]) -> None:
        """Show the tokens of the text."""
        self.tokens = list(result["tokens"])
        flow = self.query_one(TokenFlow)
        # Neighbours in two colours, so that one sees where a token ends.
        flow.show(
            [
                Cell(
                    reveal_control(token["text"]) or "␀",
                    "special" if token.get("special") else ("context", "supervised")[number % 2],
                )
                for number, token in enumerate(self.tokens)
            ]
        )
        per_token = result["bytes_per_token"]
        self.say(
            f"{reveal_control(str(result['tokenizer']))} · {result['num_tokens']} tokens"
            f" · {f'{per_token:.2f}' if per_token else '–'} bytes a token"
            f" · vocabulary {result['vocab_size']:,}"
        )
        self._about()

    @on(TokenFlow.Moved)
    def _moved(self, message: TokenFlow.Moved) -> None:
        message.stop()
        self._about()

    def _about(self) -> None:
        index = self.query_one(TokenFlow).cursor
        if index >= len(self.tokens):
            return
        token = self.tokens[index]
        special = ", special" if token.get("special") else ""
        head = f"“{reveal_control(token['text'])}”"
        line: Line = ((f"token {index} ", "key"), (head, "title"), (f"  id {token['id']}{special}", ""))
        piece = f"piece {reveal_control(str(token['piece']))} · bytes {token['hex'] or '–'}"
        self.query_one(TextLines).set_lines([line, ((piece, ""),)])

    def action_type(self) -> None:
        self.query_one(Prompt).ask("")

    @on(Input.Submitted, "#tokenizer-text")
    def _typed(self, message: Input.Submitted) -> None:
        message.stop()
        self.text = message.value or self.text
        self.query_one(Prompt).put_away()
        self.query_one(TokenFlow).focus()
        self.post_message(self.Wanted())

    def action_train(self) -> None:
        self.post_message(self.TrainWanted())
