"""The Playground's models without any server: scripted ones, opened in an instant or after some words."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from scripted_model import ScriptedModel, tokens

from workbench.errors import ServerError, WorkbenchError
from workbench.inference.generation import Model, PromptToken, PromptTokens, Request
from workbench.tui.playground.catalog import Catalog, Listed, Say, Tell
from workbench.tui.playground.setup import ModelChoice


class ScriptedCatalog(Catalog):
    """Lists and opens scripted models by name; `loading` is what an engine says before it serves, and
    `dead` names models whose engine has gone, until they are opened again."""

    def __init__(
        self, models: Mapping[str, Model], *, loading: Sequence[str] = (), tells_tokens: bool = True
    ) -> None:
        super().__init__()
        self.scripted, self.loading, self.tells_tokens = dict(models), loading, tells_tokens
        self.dead: dict[str, WorkbenchError] = {}
        self.opened: list[str] = []

    async def local(self) -> list[Listed]:
        return [Listed(choice(name), "scripted") for name in self.scripted]

    async def listing(self, tell: Tell) -> None:
        tell(await self.local())
        gone = ModelChoice("server", "", "box")
        tell([Listed(gone, "box", "http://box:8000/v1", "the server cannot be reached")])

    async def open(self, choice: ModelChoice, say: Say) -> Model:
        self.opened.append(choice.model)
        self.dead.pop(choice.model, None)
        for words in self.loading:
            say(words)
            await asyncio.sleep(0.15)
        if choice.model not in self.scripted:
            raise ServerError("there is no such model", where=choice.model, hint="name another")
        self._engines[choice] = choice.model
        return self.scripted[choice.model]

    def trouble(self, choice: ModelChoice) -> WorkbenchError | None:
        error = self.dead.get(choice.model)
        if error is not None:
            self._engines.pop(choice, None)
        return error

    async def tokens(self, model: Model, request: Request) -> PromptTokens:
        if not self.tells_tokens:
            raise ServerError("it has no /tokenize", where=model.name)
        told = []
        for message in request.messages:
            told += ["<|im_start|>", str(message["role"]), "\n", *tokens(str(message["content"]))]
            told += ["<|im_end|>", "\n"]
        return PromptTokens(tuple(PromptToken(number, text) for number, text in enumerate(told)))


def choice(name: str) -> ModelChoice:
    """The choice of a scripted model."""
    return ModelChoice("local", name)


def saying(*answers: str) -> ScriptedModel:
    """A model that gives these answers one after the other."""
    return ScriptedModel(list(answers))
