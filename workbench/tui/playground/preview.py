"""What the model will see: the first request of the technique, in the very tokens of the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from textual import on
from textual.app import ComposeResult
from textual.containers import Container
from textual.widgets import Static

from workbench.errors import ServerError
from workbench.tui.playground.job import embedder_for
from workbench.tui.playground.odds import OddsFlow, prompt_cells, shown_token
from workbench.tui.playground.stream_lines import lines_of
from workbench.tui.widgets.text_lines import Line, TextLines, plain
from workbench.tui.widgets.token_flow import TokenFlow

if TYPE_CHECKING:
    from workbench.inference.generation import OnDelta, PromptToken, Request
    from workbench.tui.playground.backstage import Backstage
    from workbench.tui.playground.outgoing import Outgoing


@dataclass
class Preview:
    """The first request: its messages, and its tokens, or why its server cannot tell them."""

    technique: str
    messages: list[dict[str, Any]] = field(default_factory=list)
    num_tools: int = 0
    tokens: tuple[PromptToken, ...] = ()
    notes: tuple[str, ...] = ()
    problem: str = ""


class _Seen(Exception):
    """A request was about to be sent."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self.request = request


class _Onlooker:
    """In the place of a model: takes the first request and ends the technique there."""

    name = "preview"

    async def generate(self, request: Request, on_delta: OnDelta | None = None) -> NoReturn:
        """See `Model.generate`."""
        raise _Seen(request)


async def look(outgoing: Outgoing, backstage: Backstage) -> Preview:
    """Run the technique up to its first request, and have the model's server cut it into tokens.

    Raises `WorkbenchError` where the technique fails before it asks anything.
    """
    from workbench.prompting.technique import Session

    prompt = outgoing.prompt()
    task, technique = outgoing.task(prompt), outgoing.technique(prompt)
    session = Session(_Onlooker(), embedder=await embedder_for(technique, backstage))
    try:
        await technique.run(task, session, outgoing.setup.samples)
    except _Seen as seen:
        request = seen.request
    else:
        return Preview(technique.name, problem="the technique asks the model nothing")
    finally:
        await technique.aclose()
    preview = Preview(technique.name, [dict(message) for message in request.messages], len(request.tools))
    choice = outgoing.setup.model
    if choice is None:
        preview.problem = "no model is chosen, so its tokens are not known (m)"
        return preview
    try:
        model = await backstage.catalog.open(choice, lambda words: None)
        model = await backstage.catalog.behind(model, outgoing.setup.soft_prompt)
        told = await backstage.catalog.tokens(model, request)
        preview.tokens, preview.notes = told.tokens, told.notes
    except ServerError as error:
        preview.problem = f"the server cannot tell the tokens: {error.message}"
    return preview


class PreviewPane(Container):
    """The tokens of the prompt; where they are not known, its messages."""

    HELP_TITLE = "Preview"
    DEFAULT_CSS = """
    PreviewPane { height: 1fr; display: none; }
    PreviewPane.-shown { display: block; }
    PreviewPane Static { height: auto; max-height: 3; background: $surface; padding: 0 1; }
    PreviewPane OddsFlow, PreviewPane .preview-text { padding: 0 1; height: 1fr; }
    PreviewPane .preview-token { height: 1; background: $surface; padding: 0 1; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.preview: Preview | None = None

    def compose(self) -> ComposeResult:
        yield Static("", markup=False)
        yield OddsFlow()
        yield TextLines().add_class("preview-text")
        yield TextLines().add_class("preview-token")

    @property
    def place(self) -> OddsFlow | TextLines:
        """What has the keys."""
        flow = self.query_one(OddsFlow)
        return flow if flow.display else self.query_one(".preview-text", TextLines)

    def say(self, words: str) -> None:
        """A word in place of the title."""
        self.query_one(Static).update(words)

    def take(self, preview: Preview) -> None:
        """Show a preview."""
        self.preview = preview
        known = bool(preview.tokens)
        tools = f" · {preview.num_tools} tools offered" if preview.num_tools else ""
        title = f"{preview.technique}{tools} · "
        words = f"{len(preview.tokens):,} tokens" if known else preview.problem
        self.say(title + " · ".join((words, *preview.notes)))
        flow, text = self.query_one(OddsFlow), self.query_one(".preview-text", TextLines)
        flow.display, text.display = known, not known
        self.query_one(".preview-token").display = known
        flow.show(prompt_cells(preview.tokens))
        text.set_lines(_message_lines(preview.messages) if not known else [])
        self._about()

    @on(TokenFlow.Moved)
    def _moved(self, message: TokenFlow.Moved) -> None:
        message.stop()
        self._about()

    def _about(self) -> None:
        index = self.query_one(OddsFlow).cursor
        tokens = self.preview.tokens if self.preview is not None else ()
        if index < len(tokens):
            token = tokens[index]
            special = ", special" if token.special else ""
            words: Line = (
                (f"token {index + 1} of {len(tokens)}  ", "key"),
                (f"“{shown_token(token.text)}”", "title"),
                (f"  id {token.id}{special}", ""),
            )
            self.query_one(".preview-token", TextLines).set_lines([words])


def _message_lines(messages: list[dict[str, Any]]) -> list[Line]:
    lines: list[Line] = []
    for message in messages:
        lines.append(plain(str(message.get("role")), "title"))
        lines += [*lines_of([(str(message.get("content") or ""), "")]), ()]
    return lines
