"""The commands of the Build tab, and its panes."""

from __future__ import annotations

from workbench.tui.commands import Command
from workbench.tui.pane import Pane

PANES = (
    Pane("drawing", "d", "drawing", "Show the drawing of the layers."),
    Pane("attention", "a", "attention", "Show who attends to whom."),
    Pane("estimates", "e", "estimates", "Show weights, memory, operations and time."),
    Pane("checks", "c", "checks", "Show what is wrong, and how to mend it."),
    Pane("checkpoint", "t", "opened", "Show the checkpoint that was opened."),
)

COMMANDS = (
    Command("build.mend", "m", "mend(0)", "mend", "Apply the first repair that the checks suggest."),
    Command("build.mend_other", "M", "mend(1)", "mend", "Apply the second repair.", footer=False),
    Command(
        "build.new_run",
        "n",
        "new_run",
        "train",
        "Start a run of this model: opens the form for runs.",
    ),
    Command("build.save", "w", "save", "save", "Save the shape as a preset of yours."),
    Command("build.open", "o", "open", "open", "Open a checkpoint: folder, run, hub name or GGUF."),
    Command("build.find", "slash", "find", "find", "Find a preset by words of its name or description."),
    Command("build.layout", "p", "layout", "layouts", "Plan how to split it over GPUs, and see each way."),
    Command(
        "build.scaling", "s", "scaling", "scaling laws", "Plan, run and fit studies of scaling; predict."
    ),
    Command("build.device", "g", "device", "GPU", "Reckon with the next GPU's memory and speed."),
    Command(
        "build.length",
        "l",
        "length",
        "by length",
        "Show what it takes by the length of the text, beside full attention, or all estimates again.",
        footer=False,
    ),
    Command("build.order", "v", "order", "order", "Draw another order (XLNet).", footer=False),
    Command("build.back", "escape", "back", "back", "Go back a step: to the form, to the presets."),
    *(
        Command(f"build.{pane.id}", pane.key, f"pane('{pane.id}')", pane.label, pane.help, footer=False)
        for pane in PANES
    ),
)
