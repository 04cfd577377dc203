"""The commands of the Playground, and its views."""

from __future__ import annotations

from workbench.tui.commands import Command
from workbench.tui.pane import Pane

VIEWS = (
    Pane("answer", "a", "answer", "Show the answers."),
    Pane("tokens", "i", "tokens", "Show the answer's tokens with their odds."),
    Pane("votes", "v", "votes", "Show the vote of the chains."),
    Pane("passages", "d", "passages", "Show passages, and which of them are cited."),
    Pane("steps", "s", "steps", "Show every request, call and result."),
    Pane("preview", "p", "preview", "Show the exact tokens of the next prompt."),
)

COMMANDS = (
    # At once, so that what is typed behind it is written too.
    Command("play.write", "enter", "write", "write", "Write a prompt.", priority=True),
    Command("play.send", "ctrl+j,f5", "send", "send", "Send what is written, to every column."),
    Command("play.model", "m", "model", "model", "Choose the model of the column."),
    Command("play.technique", "t", "technique", "technique", "Choose techniques and their settings."),
    Command("play.soft_prompt", "P", "soft_prompt", "soft prompt", "Choose a soft prompt of the model."),
    Command(
        "play.markdown",
        "M",
        "markdown",
        "Markdown",
        "Lay answers out as Markdown, or show them as they came.",
    ),
    Command("play.sampling", "r", "sampling", "sampling", "Set temperature, length, samples and so on."),
    Command("play.open", "o", "open", "prompts", "Open a prompt, or write free text again."),
    Command("play.add", "plus", "add", "column", "Add a column, to compare answers."),
    Command("play.remove", "minus", "remove", "remove", "Remove the column."),
    Command("play.next", "tab", "turn(1)", "next", "Go to the next column."),
    Command("play.before", "shift+tab", "turn(-1)", "before", "Go to the column before.", footer=False),
    Command("play.large", "z", "large", "large", "Show the column alone, or all again."),
    Command("play.resend", "R", "resend", "again", "Send the last prompt again."),
    Command("play.new", "n", "new", "new", "Begin a new conversation."),
    Command("play.judge", "J", "judge", "score", "Have a reward model score the answers.", footer=False),
    Command("play.history", "h,ctrl+r", "history", "history", "Search and open what was sent before."),
    Command(
        "play.evaluations",
        "E",
        "evaluations",
        "evaluations",
        "Browse what was evaluated, item by item.",
        False,
    ),
    Command("play.mode", "c", "mode", "go on", "Go on with the talk, or ask anew each time.", False),
    Command("play.edit", "e", "edit", "edit", "Edit the prompt as YAML in $EDITOR.", footer=False),
    Command("play.save", "w", "save", "save", "Save the prompt in your folder of prompts.", footer=False),
    Command("play.copy", "y", "copy", "copy", "Copy the answer.", footer=False),
    Command("play.start", "g", "start", "start engine", "Start the engine of the column's model."),
    Command("play.ingest", "I", "ingest", "documents", "Make a folder of documents searchable.", False),
    Command("play.next_chain", "right_square_bracket", "chain(1)", "next chain", "Show the next chain."),
    Command(
        "play.chain_before", "left_square_bracket", "chain(-1)", "before", "Show the chain before.", False
    ),
    Command("play.back", "escape", "back", "back", "Cancel what goes on, or go back a step.", footer=False),
    *(
        Command(f"play.{view.id}", view.key, f"view('{view.id}')", view.label, view.help, footer=False)
        for view in VIEWS
    ),
)
