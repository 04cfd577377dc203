"""Documents in the Playground: a folder made searchable, for the column to answer from."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from workbench.errors import ServerError
from workbench.tui.notices import notify
from workbench.tui.playground.catalog import choice_of
from workbench.tui.playground.prompt_files import PromptFiles
from workbench.tui.text import reveal_control


class Documents(PromptFiles):
    """Ingests folders beside the conversations."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.working = ""
        self._folder = ""
        self._ingesting: Future[tuple[str, str]] | None = None

    def note(self) -> str:
        """What goes on beside the conversations."""
        return reveal_control(self.working)

    def action_ingest(self) -> None:
        self._ask("ingest", "")

    def _answer_ingest(self, folder: str) -> None:
        self._folder = folder
        self._ask("embed", "")

    def _answer_embed(self, model: str) -> None:
        path = Path(self._folder).expanduser().absolute()
        column = self.column

        def progress(what: str, done: int, total: int) -> None:
            self.call_later(self.work_on, f"{what} {done:,} of {total:,}")

        async def make() -> tuple[str, str]:
            from workbench.prompting.retrieval.ingest import ingest

            name = path.name.lstrip(".") or "documents"
            embedder: Any = None
            if model:
                choice = await asyncio.to_thread(choice_of, model)
                opened = await self.backstage.catalog.open(choice, lambda words: None)
                if not hasattr(opened, "embed"):
                    raise ServerError("it gives no embeddings", where=choice.label)
                embedder = opened
            report = await ingest(path, name, embedder, progress=progress)
            skipped = f", {len(report.skipped)} files skipped" if report.skipped else ""
            return report.name, f"{report.documents:,} documents, {report.chunks:,} passages{skipped}"

        def take(made: tuple[str, str]) -> None:
            name, words = made
            self.work_on("")
            kept = [part for part in column.setup.technique or self._usual_technique if "rag" not in part]
            column.setup = replace(column.setup, technique=[*kept, {"rag": {"collection": name}}])
            notify(self.app, f"{name}: {words}. The column answers from it now.")
            self.redraw()

        self.work_on(f"reading {path.name}")
        self._ingesting = self.backstage.run(make())
        self.behind(self._ingesting, take, lambda: self.work_on(""))

    def stop_ingesting(self) -> None:
        """Give up; what was read is kept for the next time."""
        if self._ingesting is not None:
            self._ingesting.cancel()
            self.work_on("")

    def work_on(self, words: str) -> None:
        """Say what goes on beside the conversations."""
        self.working = words
        self.redraw()
