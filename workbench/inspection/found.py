"""What is found in a checkpoint, piece by piece, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from workbench.errors import ModelError
from workbench.inspection.chat import about_chat, about_tokenizer
from workbench.inspection.weights import TensorInfo


@dataclass
class Found:
    """What is known of a checkpoint so far."""

    config: dict[str, Any] = field(default_factory=dict)
    tensors: list[TensorInfo] = field(default_factory=list)
    tokenizer: dict[str, Any] | None = None
    chat: dict[str, Any] | None = None
    problems: list[dict[str, str]] = field(default_factory=list)

    def complain(self, message: str, where: str = "", hint: str = "") -> None:
        """Note what is wrong, and go on with the rest."""
        self.problems.append(ModelError(message, where=where, hint=hint).as_dict())

    def add_tokenizer(self, tokenizer: Any, where: str) -> None:
        """What a loaded tokenizer tells."""
        self.tokenizer = about_tokenizer(tokenizer)
        self.chat, problem = about_chat(tokenizer)
        if problem:
            self.complain(f"the chat template cannot be rendered: {problem}", where)
