"""The five tabs: what each is called, and where its widget is found when it is first opened."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from textual.widget import Widget


@dataclass(frozen=True)
class Tab:
    """One entry of the tab bar; `widget` is the class in `workbench.tui.tabs.<id>`."""

    id: str
    title: str
    widget: str

    def open(self) -> Widget:
        """Make the tab's widget, importing its module now."""
        made = getattr(import_module(f"workbench.tui.tabs.{self.id}"), self.widget)(id=f"tab-{self.id}")
        assert isinstance(made, Widget)
        return made


TABS = (
    Tab("build", "Build", "BuildTab"),
    Tab("data", "Data", "DataTab"),
    Tab("train", "Train", "TrainTab"),
    Tab("playground", "Playground", "PlaygroundTab"),
    Tab("rank", "Rank", "RankTab"),
)

WITH_COMMANDS = (
    "workbench.tui.tabs.build",
    "workbench.tui.tabs.data",
    "workbench.tui.tabs.train",
    "workbench.tui.tabs.playground",
    "workbench.tui.tabs.rank",
    "workbench.tui.rank.ranking_view",
    "workbench.tui.rank.session_table",
    "workbench.tui.rank.figures_screen",
    "workbench.tui.rank.choice_screen",
    "workbench.tui.rank.new_session",
    "workbench.tui.playground.editor",
    "workbench.tui.playground.picker",
    "workbench.tui.playground.tool_question",
    "workbench.tui.playground.transcript_list",
    "workbench.tui.playground.transcripts_screen",
    "workbench.tui.playground.settings_screen",
    "workbench.tui.playground.history_screen",
    "workbench.tui.train.new_run",
    "workbench.tui.widgets.chart",
    "workbench.tui.widgets.help_screen",
    "workbench.tui.widgets.confirm",
)
"""Modules that define commands; imported only to check the names in a `keys.yaml`."""


def find(tab: str) -> Tab:
    """The tab with this id."""
    return next(entry for entry in TABS if entry.id == tab)
