"""The commands of the Train tab: for each its key, footer word, help sentence and palette entry."""

from __future__ import annotations

from workbench.tui.commands import Command
from workbench.tui.train.panes import PANES

RUN_COMMANDS = (
    Command("train.new", "n", "new", "new", "Start a new run from a preset."),
    Command("train.open", "enter", "open", "open", "Go into the charts; there, make one large."),
    Command("train.back", "escape", "back", "back", "Go back to where you came from."),
    Command("train.resume", "R", "resume", "resume", "Go on from the last checkpoint."),
    Command("train.stop", "S", "stop", "stop", "Stop the run after a checkpoint."),
    Command("train.overlay", "space", "overlay", "overlay", "Keep the run in the charts beside others."),
    Command("train.baseline", "p", "baseline", "pin", "Pin the run as the baseline, or unpin it."),
    Command("train.filter", "slash", "filter", "filter", "Show the runs that hold some words."),
    Command("train.sort", "o", "sort", "sort", "Sort by the next column."),
    Command("train.reverse", "O", "reverse", "reverse", "Turn the order of the rows round.", footer=False),
    Command("train.edit", "e", "edit", "edit", "Start a run from this recipe, in $EDITOR."),
    Command("train.export", "E", "export", "export", "Write the model for other programs."),
    Command("train.ask_both", "a", "ask_both", "ask both", "Ask it, and what it began with."),
    Command("train.rank_both", "b", "rank_both", "rank both", "Rank it blind against what it began with."),
    Command("train.curves", "T", "context_curves", "long context", "Curves of how far it reads.", False),
    Command("train.delete", "D", "delete", "delete", "Delete the run and its checkpoints."),
    Command("train.clear", "U", "clear", "clear", "Take all runs out of the overlay.", footer=False),
)
CHART_COMMANDS = (
    Command("train.log_axis", "y", "log_axis", "log", "Draw the y axes by logarithm, or not."),
    Command("train.smoothing", "s", "smoothing", "smooth", "Smooth the curves more, or not."),
    Command("train.x_axis", "x", "x_axis", "x axis", "Draw by step, by tokens, by time."),
    Command("train.next_chart", "right_square_bracket", "page(1)", "next chart", "Show the next metric."),
    Command(
        "train.previous_chart",
        "left_square_bracket",
        "page(-1)",
        "chart before",
        "Show the metric before.",
        False,
    ),
    Command("train.metrics", "v", "metrics", "metrics", "Choose which metrics have a chart."),
)
PANE_COMMANDS = (
    Command("train.charts", "c", "charts", "charts", "Show the charts again in the pane's place.", False),
) + tuple(
    Command(f"train.{pane.id}", pane.key, f"pane('{pane.id}')", pane.label, pane.help, footer=False)
    for pane in PANES
)
