"""Prompt files in the Playground: opened, edited, saved, and looked at as the model will see them."""

from __future__ import annotations

from dataclasses import replace

from workbench.errors import WorkbenchError
from workbench.tui.editor import edit
from workbench.tui.notices import notify, notify_error
from workbench.tui.playground.choosing import Choosing
from workbench.tui.playground.picker import Entry, Picker
from workbench.tui.playground.preview import Preview, PreviewPane, look
from workbench.tui.playground.setup import technique_name
from workbench.tui.playground.writing import OpenedPrompt, as_yaml, opened

QUESTIONS = {
    "save": "name of the prompt",
    "ingest": "a folder of text, Markdown, PDF or HTML files",
    "embed": "a model that embeds them, as one names it for m; empty: words alone",
    "judge": "a reward model, as one names it for m",
}
FREE_TEXT = "free text"


class PromptFiles(Choosing):
    """What is done with the prompt that is written in."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._asking = ""
        self._edited = ""

    @property
    def preview(self) -> PreviewPane:
        """What the model will see."""
        raise NotImplementedError

    def action_open(self) -> None:
        """Choose a prompt to write in."""

        def find() -> list[Entry[str]]:
            from workbench.prompting.prompts import list_prompts

            free = Entry(FREE_TEXT, "", "whatever you type, as it is, in a conversation that goes on")
            return [
                free,
                *(
                    Entry(one.name, one.name, one.description, "" if one.builtin else "yours")
                    for one in list_prompts()
                ),
            ]

        def show(entries: list[Entry[str]]) -> None:
            picker: Picker[str] = Picker("Prompts", "words of its name or description", entries)
            picker.at = self.writing.name
            self.app.push_screen(picker, self._prompt_chosen)

        self.in_thread(find, show)

    def _prompt_chosen(self, name: str | None) -> None:
        if name == "":
            self.write_in(None)
        elif name is not None:
            chosen = name

            def read() -> OpenedPrompt:
                from workbench.prompting.prompts import load_prompt

                return opened(load_prompt(chosen))

            self.in_thread(read, self.write_in)

    def write_in(self, prompt: OpenedPrompt | None) -> None:
        """Write in a prompt; techniques and sampling are then as it says."""
        self.writing.open(prompt)
        for column in self.columns:
            column.setup = replace(column.setup, technique=None, sampling={})
            column.usual_technique = technique_name(self._usual_technique)
        self.editor.show()
        self.editor.write()
        self.redraw()

    def action_mode(self) -> None:
        """Whether what is sent next goes on with the conversation."""
        self.writing.goes_on = not self.writing.goes_on
        self.editor.show()

    def action_edit(self) -> None:
        """Edit the prompt's YAML, and write in what it has become."""
        before = self._edited or as_yaml(self.writing)
        try:
            text = edit(self.app, before, "prompt.yaml")
        except WorkbenchError as error:
            notify_error(self.app, error)
            return
        if text.strip() == before.strip() and not self._edited:
            return
        # What is wrong in it is there to be mended the next time.
        self._edited = text
        name = self.writing.name

        def read() -> OpenedPrompt:
            from workbench.prompting.prompt import parse_prompt

            return opened(parse_prompt(text, name))

        def take(prompt: OpenedPrompt) -> None:
            self._edited = ""
            self.write_in(prompt)

        self.in_thread(read, take)

    def action_save(self) -> None:
        self._ask("save", self.writing.name)

    def _answer_save(self, name: str) -> None:
        text = as_yaml(self.writing)

        def save() -> OpenedPrompt:
            from workbench.prompting.prompt_versions import save_prompt

            return opened(save_prompt(name, text))

        def take(prompt: OpenedPrompt) -> None:
            self.write_in(prompt)
            notify(self.app, f"{prompt.name} is saved; o opens it")

        self.in_thread(save, take)

    def look_ahead(self) -> None:
        """Show the tokens that the active column's model will see."""
        self.preview.say("looking …")
        outgoing = self.writing.outgoing(
            self.column.setup, self.column.messages if self.writing.goes_on else ()
        )

        def take(preview: Preview) -> None:
            self.preview.take(preview)
            if not self.editor.active:
                self.take_keys()

        self.behind(
            self.backstage.run(look(outgoing, self.backstage)), take, lambda: self.preview.say("no preview")
        )

    def _ask(self, what: str, value: str) -> None:
        self._asking = what
        self.question.placeholder = QUESTIONS[what]
        self.question.ask(value)

    def take_answer(self, text: str) -> None:
        """What was typed in answer to a question."""
        if text or self._asking == "embed":
            getattr(self, f"_answer_{self._asking}")(text)
