"""A reward model that reads along: it scores answers nobody ranked yet, so that what it is least sure of
comes first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from textual.message import Message

from workbench.errors import ModelError, ServerError, WorkbenchError
from workbench.store.preferences.contents import Item, Prompt, read_answers, read_items, read_prompt
from workbench.store.preferences.database import Database
from workbench.store.preferences.sessions import find_session
from workbench.tui.playground.backstage import Backstage
from workbench.tui.playground.catalog import Catalog
from workbench.tui.playground.setup import ModelChoice
from workbench.tui.rank.desk import Desk
from workbench.tui.rank.words import text_of

AT_ONCE = 16
"""Items that are read at once: whoever ranks meanwhile waits a few milliseconds for it."""

MOST_REFUSED = 10
"""Items in a row without scores after which it is the model's fault, or the way to it is gone."""


@dataclass(frozen=True)
class ToScore:
    """An item as a reward model is asked about it."""

    item: int
    prompt: str | list[dict[str, Any]]
    answers: tuple[int, ...]
    texts: tuple[str, ...]


class Scored(Message):
    """The scores of answers by their numbers, none where the model refuses them; or, at the end, why there
    are no more."""

    def __init__(
        self, session: str, item: int, scores: Mapping[int, float], error: WorkbenchError | None = None
    ) -> None:
        super().__init__()
        self.session, self.item, self.scores, self.error = session, item, scores, error


class ScoringSays(Message):
    """How far the engine is that starts."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self.words = words


class Scorer:
    """Scores the items of one session after the other, in a thread of its own; `tell` gets what it found."""

    def __init__(
        self, desk: Desk, tell: Callable[[Message], object], make_catalog: Callable[[], Catalog] = Catalog
    ) -> None:
        self._desk, self._tell = desk, tell
        self._backstage = Backstage(make_catalog)
        self._job: Future[None] | None = None

    def start(self, choice: ModelChoice, session: str) -> None:
        """Score all items of a session with a model; what was being scored is left."""
        self.stop()
        self._job = self._backstage.run(self._score(choice, session))

    def stop(self) -> None:
        """Score no more."""
        if self._job is not None:
            self._job.cancel()

    def close(self) -> None:
        """End the thread."""
        self._backstage.close()

    async def _score(self, choice: ModelChoice, session: str) -> None:
        def say(words: str) -> None:
            self._tell(ScoringSays(words))

        try:
            model = await self._backstage.catalog.open(choice, say)
            score = getattr(model, "score", None)
            if score is None:
                raise ModelError(f"{choice.label} gives no scores", hint="choose a reward model")
            after, refused = -1, 0
            while items := await self._read(session, after):
                for position, one in items:
                    after = position
                    try:
                        scores = dict(zip(one.answers, await score(one.prompt, one.texts), strict=True))
                        refused = 0
                    except ServerError:
                        # An answer is blank, or too long for the model: others may well be scored.
                        scores, refused = {}, refused + 1
                        if refused == MOST_REFUSED:
                            raise
                    self._tell(Scored(session, one.item, scores))
        except WorkbenchError as error:
            self._tell(Scored(session, 0, {}, error))

    async def _read(self, session: str, after: int) -> list[tuple[int, ToScore]]:
        return await asyncio.wrap_future(self._desk.submit(lambda database: _items(database, session, after)))


def _items(database: Database, name: str, after: int) -> list[tuple[int, ToScore]]:
    session = find_session(database, name)
    found = read_items(database, session.id, after)[:AT_ONCE]
    return [(item.position, _to_score(database, item)) for item in found]


def _to_score(database: Database, item: Item) -> ToScore:
    answers = read_answers(database, item.answers)
    texts = tuple(text_of(answers[number].content) for number in item.answers)
    return ToScore(item.id, asked(read_prompt(database, item.prompt)), item.answers, texts)


def asked(prompt: Prompt) -> str | list[dict[str, Any]]:
    """A prompt as a text, or as messages where it has any, or a system message."""
    if isinstance(prompt.content, str) and prompt.system is None:
        return prompt.content
    system = [] if prompt.system is None else [{"role": "system", "content": prompt.system}]
    said: Sequence[dict[str, Any]] = (
        [{"role": "user", "content": prompt.content}] if isinstance(prompt.content, str) else prompt.content
    )
    return [*system, *said]
