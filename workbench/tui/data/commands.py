"""The commands of the Data tab: what each key does, in one place."""

from __future__ import annotations

from workbench.tui.commands import Command
from workbench.tui.pane import Pane

PANES = (
    Pane("sources", "s", "sources", "Show the sources and the kinds of their records."),
    Pane("records", "r", "records", "Browse and search the records."),
    Pane("tokenizer", "t", "tokenizer", "See what the tokenizer makes of a text; train one."),
    Pane("labels", "i", "labels", "Inspect rows as the objective sees them, token by token."),
    Pane("cleaning", "C", "cleaning", "Clean the sources: rules, personal data, copies, reports."),
)

COMMANDS = (
    *(
        Command(f"data.{pane.id}", pane.key, f"pane('{pane.id}')", pane.label, pane.help, footer=False)
        for pane in PANES
    ),
    Command("data.open", "o", "open", "open", "Open a preset, a recipe file or a run's recipe."),
    Command("data.add", "plus,A", "add", "add source", "Add a file, folder, glob or data set."),
    Command("data.new_run", "n", "new_run", "new run", "Start a run on this data, in the form."),
    Command("data.reload", "ctrl+r", "reload", "reload", "Read everything again.", footer=False),
    Command(
        "data.back", "escape", "back", "back", "Put a question away; give up what takes long.", footer=False
    ),
)
