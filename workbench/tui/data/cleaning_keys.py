"""The keys of the cleaning view."""

from workbench.tui.commands import Command, bindings

KEYS = bindings(
    Command("cleaning.switch", "space", "switch", "on/off", "Switch the step on or off."),
    Command("cleaning.set", "e", "ask('set')", "set", "Change a setting of the step, as key=value."),
    Command("cleaning.try", "x", "try", "try", "Try the rules on some records, and see what would go."),
    Command("cleaning.go", "g", "go", "start", "Start the cleaning, or go on with it."),
    Command("cleaning.stop", "S", "stop", "stop", "Stop it; what is finished stays.", footer=False),
    Command("cleaning.examples", "enter", "examples", "examples", "Browse what it dropped and changed."),
    Command(
        "cleaning.next",
        "right_square_bracket,right",
        "example(1)",
        "next",
        "The next example.",
        footer=False,
    ),
    Command(
        "cleaning.before",
        "left_square_bracket,left",
        "example(-1)",
        "before",
        "The example before.",
        footer=False,
    ),
    Command("cleaning.reason", "f", "reason", "by reason", "Examples of the next reason only.", footer=False),
    Command("cleaning.report", "m", "view('report')", "report", "Mixture, diversity and bias."),
    Command("cleaning.card", "v", "view('card')", "card", "The data card.", footer=False),
    Command("cleaning.preset", "p", "ask('preset')", "preset", "Another preset, file or cleaning."),
    Command("cleaning.use", "plus,A", "use", "use result", "Take the result as a source of the recipe."),
    Command("cleaning.back", "escape", "back", "back", "Back to the settings.", footer=False),
)
