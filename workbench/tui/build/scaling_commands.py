"""The keys of the view of scaling laws, and its panes."""

from __future__ import annotations

from workbench.tui.commands import Command
from workbench.tui.pane import Pane

PANES = (
    Pane("runs", "r", "runs", "Show the study's runs, and how far they are."),
    Pane("law", "l", "law", "Show the coefficients with their intervals, and published ones."),
    Pane("loss", "c", "curves", "Show loss against compute, with the frontier."),
    Pane("isoflop", "i", "isoflop", "Show the IsoFLOP parabolas."),
    Pane("residuals", "d", "deviations", "Show how far each run is from the law."),
    Pane("predict", "o", "outlook", "Show the last prediction, and what came of earlier ones."),
    Pane("sums", "m", "sums", "Show exact match and likelihood of sums, by compute."),
)
CHARTS = ("loss", "isoflop", "residuals")
"""Panes that are charts where there is room for one thing."""

COMMANDS = (
    Command("scaling.new", "n", "new", "new", "Plan a new study, from a preset, in $EDITOR."),
    Command("scaling.edit", "e", "edit", "edit", "Change the study in $EDITOR, and plan it again."),
    Command("scaling.run", "R", "run_queue(1)", "run", "Start the queue, or go on with it."),
    Command(
        "scaling.run_two", "W", "run_queue(2)", "two", "Start the queue, two runs at a time.", footer=False
    ),
    Command("scaling.stop", "S", "stop_queue", "stop", "Stop the queue; its runs write a checkpoint."),
    Command("scaling.fit", "f", "fit", "fit", "Fit the law to the runs that have finished."),
    Command("scaling.predict", "p", "predict", "predict", "Predict the loss of a size that you type."),
    Command("scaling.start", "P", "start_predicted", "start it", "Start the run that was predicted."),
    Command("scaling.ask", "E", "ask_sums", "ask sums", "Ask the models sums that were kept apart."),
    Command("scaling.delete", "D", "delete", "delete", "Remove the study, after asking; its runs stay."),
    Command(
        "scaling.into", "enter,tab", "into", "into", "Into the lines or the chart, and out.", footer=False
    ),
    Command("scaling.down", "j", "turn(1)", "down", "Go to the next study.", footer=False),
    Command("scaling.up", "k", "turn(-1)", "up", "Go to the study before.", footer=False),
    Command("scaling.back", "escape,s", "back", "back", "Back to where one was."),
    Command("scaling.help", "question_mark,f1", "app.help", "help", "Show every key."),
    *(
        Command(f"scaling.{pane.id}", pane.key, f"pane('{pane.id}')", pane.label, pane.help, footer=False)
        for pane in PANES
    ),
)
