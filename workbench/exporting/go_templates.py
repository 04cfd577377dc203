"""The chat templates that the workbench ships, in the language of Ollama's (Go's `text/template`).

`.Messages` are those of the conversation, each with its `.Role` and `.Content`; Ollama puts what a Modelfile
says as SYSTEM before them where the conversation has no system of its own. Behind them the assistant begins
to speak, unless it has begun already.
"""

from __future__ import annotations

from typing import Any

from workbench.data.chat_templates import chat_template, known_templates
from workbench.exporting.conversation import does_the_same
from workbench.paths import resources

SAME = {"smollm2": "chatml"}
"""What its template adds to another's is said as SYSTEM."""


def go_template(tokenizer: Any, template: str, *, bos: str, eos: str) -> str | None:
    """Ollama's form of a template that writes what one of ours does, whatever its own text; None where there
    is none. `bos` and `eos` are the tokens that it writes itself, or nothing."""
    for name in known_templates():
        if does_the_same(tokenizer, template, chat_template(name)):
            return of_ours(name).replace("$BOS", literal(bos)).replace("$EOS", literal(eos))
    return None


def of_ours(name: str) -> str:
    """Ollama's form of a template that we ship, with `$BOS` and `$EOS` in it."""
    path = resources("presets") / "templates" / "ollama" / f"{SAME.get(name, name)}.gotmpl"
    return path.read_text(encoding="utf-8").removesuffix("\n")


def literal(text: str) -> str:
    """A text in Go's template language, where `{{` would open an action."""
    return text.replace("{{", '{{ "{{" }}')
