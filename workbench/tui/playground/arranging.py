"""Columns in the Playground: begun anew, added, taken away, gone through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from workbench.tui.notices import notify
from workbench.tui.playground.column import Column
from workbench.tui.playground.conversing import Conversing
from workbench.tui.playground.setup import ModelChoice

MOST_COLUMNS = 4


class Arranging(Conversing):
    """What is done with columns, and with the slots of what is written."""

    def can(self, action: str) -> bool:
        """Whether a command does something now."""
        column = self.column
        return {
            "copy": column.shown is not None,
            "markdown": column.state != "empty",
            "new": column.state != "empty",
            "judge": any(one.state == "done" for one in self.columns),
            "resend": column.outgoing is not None and not self.busy,
            "remove": len(self.columns) > 1,
            "turn": len(self.columns) > 1,
            "large": len(self.columns) > 1,
            "chain": len(column.chains) > 1,
            "start": bool(column.gone),
        }.get(action, True)

    def action_new(self) -> None:
        """Begin anew in every column."""
        if self.busy:
            notify(self.app, "an answer is still on its way; esc cancels it")
            return
        for column in self.columns:
            column.clear()
        self.redraw()

    def activate(self, column: Column) -> None:
        """Make a column the active one."""
        self.active = self.columns.index(column)
        if not self.editor.active:
            self.take_keys()
        self.redraw()

    def action_turn(self, by: int) -> None:
        """The next column."""
        self.activate(self.columns[(self.active + by) % len(self.columns)])

    async def action_add(self) -> None:
        """A further column, as the active one is."""
        if len(self.columns) == MOST_COLUMNS:
            notify(self.app, f"{MOST_COLUMNS} columns are the most")
            return
        column = Column(self.column.setup)
        column.messages, column.outgoing = self.column.messages, self.column.outgoing
        column.usual_technique = self.column.usual_technique
        self.columns.insert(self.active + 1, column)
        self.active += 1
        await self.fit_panes()

    async def compare(self, choices: Sequence[ModelChoice]) -> None:
        """A column for each of some models in the place of those there are, which differ in nothing else."""
        if self.busy:
            notify(self.app, "an answer is still on its way; esc cancels it")
            return
        usual, setup = self.column.usual_technique, self.column.setup
        self.columns = [Column(replace(setup, model=choice, soft_prompt="")) for choice in choices]
        for column in self.columns:
            column.usual_technique = usual
        self.active = 0
        await self.fit_panes()
        self.redraw()

    async def action_remove(self) -> None:
        """Take the active column away."""
        if len(self.columns) == 1:
            return
        column = self.columns.pop(self.active)
        if column.job is not None:
            column.job.cancel()
        self.active = min(self.active, len(self.columns) - 1)
        await self.fit_panes()

    def action_chain(self, by: int) -> None:
        """Show another chain of the active column."""
        self.column.turn_chain(by)
        self.redraw()

    def turn_slot(self, by: int) -> None:
        """Write in the next slot."""
        self.writing.turn(by)
        self.editor.show()

    def recall(self) -> None:
        """Put what was sent before back to where it was written; again for what was sent before that."""
        if self._recalled < len(self.sent):
            self._recalled += 1
            self.writing.slot.text = self.editor.area.recalled = self.sent[-self._recalled]
            self.editor.show()

    def action_write(self) -> None:
        """Write."""
        self.editor.write()
