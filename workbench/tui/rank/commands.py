"""The commands of the Rank tab: of the list of sessions, of ranking, of both."""

from __future__ import annotations

from workbench.store.preferences.ranks import MOST_ANSWERS
from workbench.tui.commands import Command

TABLE_COMMANDS = (
    Command("sessions.down", "down,j", "move(1)", "down", "Go to the next session.", footer=False),
    Command("sessions.up", "up,k", "move(-1)", "up", "Go to the session before.", footer=False),
    Command("sessions.page_down", "pagedown", "page(1)", "page", "Go a page down.", footer=False),
    Command("sessions.page_up", "pageup", "page(-1)", "page", "Go a page up.", footer=False),
    Command("sessions.first", "home", "move(-1000000)", "first", "Go to the first session.", footer=False),
    Command("sessions.last", "end", "move(1000000)", "last", "Go to the last session.", footer=False),
)

TAB_COMMANDS = (
    Command("rank.open", "enter", "open", "rank", "Rank the answers of the session."),
    Command("rank.new", "n", "new", "new", "Make a session of prompts and models."),
    Command("rank.import", "o", "import", "import", "Read rankings or answers from a file."),
    Command("rank.statistics", "i", "figures('agreement')", "statistics", "Agreement, bias, speed."),
    Command("rank.leaderboard", "v", "figures('leaderboard')", "leaderboard", "How strong each model is."),
    Command("rank.train", "t", "train", "train", "Train a reward model, or DPO, on what was ranked."),
    Command("rank.export", "w", "export", "export", "Write what was ranked into a file."),
    Command("rank.generate", "g", "generate", "generate", "Have missing answers made, or stop that."),
    Command("rank.score", "r", "score", "reward model", "Have a reward model say what to rank first.", False),
    Command("rank.annotator", "a", "annotator", "annotator", "Say under whose name you rank."),
    Command("rank.delete", "D", "delete", "delete", "Delete the session, after asking."),
    Command("rank.complete", "tab", "complete", "complete", "Complete the path that is typed.", False),
    Command("rank.cancel", "escape", "cancel", "back", "Leave the question."),
)

RANKING_COMMANDS = (
    Command("ranking.put_1", "1", "put('1')", "to 9 rank", "Put answer 1 (2 … 9) at the next rank."),
    # One line in the help says it for all of them.
    *(
        Command(f"ranking.put_{n}", str(n), f"put('{n}')", "", f"Put answer {n} at the next rank.", False)
        for n in range(2, MOST_ANSWERS + 1)
    ),
    Command("ranking.tie", "equals_sign", "put('=')", "tie", "Tie the next with the last; first: tie all."),
    Command("ranking.commit", "enter", "do('commit')", "commit", "Write the ranking down, and go on."),
    Command("ranking.more", "greater_than_sign", "more", "more", "Lay out more of a long answer."),
    Command("ranking.undo", "u", "do('undo')", "undo", "Undo a key, then what was written down."),
    Command("ranking.skip", "s", "do('skip')", "skip", "Skip these answers."),
    Command("ranking.best", "b", "put('b')", "best only", "Only the best counts, the others are tied."),
    Command("ranking.bad", "x", "put('x')", "all bad", "All of them are bad."),
    Command("ranking.flag", "f", "do('flag')", "flag", "Flag it for others to see, or no longer."),
    Command("ranking.note", "e", "note", "note", "Write a note about it."),
    Command(
        "ranking.back", "left_square_bracket", "do('back')", "before", "Look at what was decided before."
    ),
    Command(
        "ranking.next", "right_square_bracket", "do('forward')", "go on", "Go on with what is to be ranked."
    ),
    Command("ranking.redo", "U,ctrl+r", "do('redo')", "redo", "Take the last undo back.", footer=False),
    Command(
        "ranking.differ",
        "d",
        "differences",
        "differences",
        "Mark what differs from the answer in focus.",
    ),
    Command("ranking.turn", "tab,right", "turn(1)", "next answer", "Go to the next answer."),
    Command("ranking.turn_back", "shift+tab,left", "turn(-1)", "before", "Go to the answer before.", False),
    Command("ranking.large", "z", "large", "large", "Show the answer alone, or all again."),
    Command("ranking.markdown", "m", "markdown", "raw", "Show answers as they came, or as Markdown."),
    Command("ranking.layout", "l", "layout", "layout", "Answers beside each other, or beneath.", False),
    Command("ranking.together", "c", "together", "together", "Scroll all together, or one alone.", False),
    Command("ranking.prompt", "p", "prompt", "prompt", "Show more of the prompt, a line, or some.", False),
    Command("ranking.prompt_down", "J", "scroll_prompt(1)", "prompt down", "Scroll the prompt down.", False),
    Command("ranking.prompt_up", "K", "scroll_prompt(-1)", "prompt up", "Scroll the prompt up.", False),
    Command("ranking.down", "down,j", "scroll(1)", "down", "Scroll the answer down.", footer=False),
    Command("ranking.up", "up,k", "scroll(-1)", "up", "Scroll the answer up.", footer=False),
    Command("ranking.page_down", "pagedown,space", "page(1)", "page", "Scroll a page down.", footer=False),
    Command("ranking.page_up", "pageup", "page(-1)", "page", "Scroll a page up.", footer=False),
    Command("ranking.home", "home", "end(False)", "start", "Go to the start of the answer.", footer=False),
    Command("ranking.end", "end", "end(True)", "end", "Go to the end of the answer.", footer=False),
    Command("ranking.leave", "escape", "leave", "back", "Back to the sessions; what is typed stays.", False),
)
