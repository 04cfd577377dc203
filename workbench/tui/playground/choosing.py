"""Choosing models, techniques and sampling in the Playground."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from workbench.store import history
from workbench.tui.playground.arranging import Arranging
from workbench.tui.playground.catalog import Listed, choice_of
from workbench.tui.playground.column import Column
from workbench.tui.playground.history_screen import columns_of
from workbench.tui.playground.model_picker import ModelPicker
from workbench.tui.playground.setup import ModelChoice, Specification
from workbench.tui.playground.soft_prompt_picker import SoftPromptPicker

R = TypeVar("R")


class Choosing(Arranging):
    """What is chosen for the active column."""

    def in_thread(self, work: Callable[[], R], then: Callable[[R], None]) -> None:
        """Do what imports or reads much on another thread, and take its result here; errors are shown."""
        self.behind(self.backstage.run(asyncio.to_thread(work)), then)

    # The beginning.

    def begin(self) -> None:
        """Choose the model that was used last, or one that is at hand."""

        async def find() -> tuple[list[str], ModelChoice | None]:
            latest = await asyncio.to_thread(lambda: list(history.entries(limit=50)))
            sent = [entry.question for entry in reversed(latest)]
            used = [column.setup.model for entry in latest[:1] for column in columns_of(entry)]
            if used and used[0] is not None and is_there(used[0]):
                return sent, used[0]
            local: list[Listed] = await self.backstage.catalog.local()
            return sent, local[0].choice if local else None

        def take(found: tuple[list[str], ModelChoice | None]) -> None:
            sent, choice = found
            self.sent[:0] = sent
            column = self.columns[0]
            if choice is not None and column.setup.model is None and column.state == "empty":
                column.setup = replace(column.setup, model=choice)
                column.revision += 1
                self.redraw()

        self.behind(self.backstage.run(find()), take)

    # Models.

    def action_model(self) -> None:
        """Choose the model of the active column."""
        self.choose_model(self.warm)

    def choose_model(self, then: Callable[[Column], object]) -> None:
        """Have a model chosen for the active column, and go on with that."""
        column = self.column

        def take(choice: ModelChoice) -> None:
            # A soft prompt is for one model alone.
            soft_prompt = column.setup.soft_prompt if choice == column.setup.model else ""
            column.setup = replace(column.setup, model=choice, soft_prompt=soft_prompt)
            then(column)

        picker = ModelPicker(self.backstage, column.setup.model)

        def understood(choice: ModelChoice) -> None:
            if picker.with_options and choice.kind == "local":
                self._choose_options(choice, take)
            else:
                take(choice)

        def chosen(choice: ModelChoice | str | None) -> None:
            if isinstance(choice, str):
                typed = choice
                self.in_thread(lambda: choice_of(typed), understood)
            elif choice is not None:
                understood(choice)

        self.app.push_screen(picker, chosen)

    def _choose_options(self, choice: ModelChoice, then: Callable[[ModelChoice], None]) -> None:
        """Have it chosen, in a form, how the engine of a model is started, and go on with that."""

        def show(_: None) -> None:
            from workbench.tui.playground.engine_draft import EngineDraft
            from workbench.tui.playground.settings_screen import SettingsScreen

            draft = EngineDraft(choice.options)

            def take(used: bool | None) -> None:
                if used:
                    then(replace(choice, options=draft.options))

            self.app.push_screen(SettingsScreen(f"Engine for {choice.label}", draft), take)

        self.in_thread(_import_forms, show)

    def action_soft_prompt(self) -> None:
        """Choose what learnt vectors stand before the prompts of the active column."""
        column = self.column
        if column.setup.model is None:
            self.choose_model(lambda _: self.action_soft_prompt())
            return
        picker = SoftPromptPicker(self.backstage, column.setup)

        def chosen(name: str | None) -> None:
            if name is not None:
                column.setup = replace(column.setup, soft_prompt=name, keeps_system=picker.keeps_system)
                column.revision += 1
                self.redraw()

        self.app.push_screen(picker, chosen)

    # Techniques and sampling.

    def action_technique(self) -> None:
        """Choose the techniques of the active column, in a form."""

        def make() -> tuple[object, ...]:
            from workbench.prompting.retrieval.folders import collection_names
            from workbench.tui.playground.settings_draft import TechniqueDraft

            column = self.column
            return column, TechniqueDraft(self._usual_technique, column.setup.technique, collection_names())

        def show(made: tuple[object, ...]) -> None:
            from workbench.tui.playground.settings_draft import TechniqueDraft
            from workbench.tui.playground.settings_screen import SettingsScreen

            column, draft = made
            assert isinstance(column, Column) and isinstance(draft, TechniqueDraft)

            def take(used: bool | None) -> None:
                if used:
                    chosen = draft.specification() if draft.changes else None
                    column.setup = replace(column.setup, technique=chosen)
                    self.redraw()

            of_prompt = f", beside what “{self.writing.name}” says" if self.writing.prompt else ""
            self.app.push_screen(SettingsScreen(f"Techniques{of_prompt}", draft), take)

        self.in_thread(make, show)

    @property
    def _usual_technique(self) -> Specification:
        return list(self.writing.prompt.technique) if self.writing.prompt is not None else []

    def action_sampling(self) -> None:
        """Set how tokens are drawn in the active column, in a form."""
        column = self.column
        usual = dict(self.writing.prompt.sampling) if self.writing.prompt is not None else {}

        def show(_: None) -> None:
            from workbench.tui.playground.settings_draft import SamplingDraft
            from workbench.tui.playground.settings_screen import SettingsScreen

            draft = SamplingDraft(usual, column.setup)

            def take(used: bool | None) -> None:
                if used:
                    column.setup = draft.applied(column.setup)
                    self.redraw()

            self.app.push_screen(SettingsScreen("Sampling", draft), take)

        self.in_thread(_import_forms, show)


def is_there(choice: ModelChoice) -> bool:
    """Whether a model that was used before can still be: of a folder that is gone it cannot."""
    is_path = choice.kind == "local" and choice.model.startswith("/")
    return not is_path or Path(choice.model).exists()


def _import_forms() -> None:
    """What the forms need, imported where it keeps nobody waiting."""
    import workbench.tui.playground.engine_draft  # noqa: F401
