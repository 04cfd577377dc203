"""The parts of the Playground without a terminal: streams of text, slots, settings, columns, tokens."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
from scripted_catalog import choice

from workbench.errors import PromptError, RunError, WorkbenchError
from workbench.inference.generation import Delta, PromptToken, TokenLogprob
from workbench.prompting.composition import build
from workbench.prompting.prompt import parse_prompt
from workbench.prompting.prompts import load_prompt
from workbench.prompting.technique import Outcome, Step
from workbench.tui.app import WorkbenchApp
from workbench.tui.form.schema import FormField
from workbench.tui.playground.catalog import choice_of
from workbench.tui.playground.column import Column
from workbench.tui.playground.column_pane import head_words
from workbench.tui.playground.column_record import column_of, record_of
from workbench.tui.playground.events import Began, Failed, Finished, Grew, Said, Stepped
from workbench.tui.playground.job import Job
from workbench.tui.playground.odds import about_token, band, odds_cells, prompt_cells
from workbench.tui.playground.outgoing import Outgoing
from workbench.tui.playground.settings_draft import SamplingDraft, SettingsDraft, TechniqueDraft
from workbench.tui.playground.setup import ModelChoice, Setup
from workbench.tui.playground.stream_lines import StreamLines, lines_of, literal
from workbench.tui.playground.writing import Writing, as_yaml, opened
from workbench.tui.widgets.text_lines import wrap


def test_text_is_literal_however_it_is_cut() -> None:
    text = "a\x1b[31mb\tc\nd\x9b2Je\u202ef 𝄞 日本語\n\n"
    whole = literal(text)
    assert whole == "a␛[31mb    c\nd�2Je�f 𝄞 日本語\n\n"
    assert "".join(literal(char) for char in text) == whole
    assert literal("one\r\ntwo") == "one\ntwo"


async def test_nothing_of_a_row_lies_under_the_scroll_bar() -> None:
    app = WorkbenchApp()
    async with app.run_test(size=(80, 20)) as pilot:
        lines = StreamLines(follow=True)
        await app.screen.mount(lines)
        await pilot.pause()
        for _ in range(60):
            lines.append([("unbroken" * 6, "")])
        await pilot.pause()
        assert lines.show_vertical_scrollbar
        room = lines.scrollable_content_region.width
        assert all(sum(len(text) for text, _ in row) == room for row in lines._rows[:-1])


@pytest.mark.parametrize("seed", range(6))
async def test_rows_come_out_alike_however_a_stream_is_cut(seed: int) -> None:
    dice = random.Random(seed)
    pieces = [
        dice.choice(
            ["word ", "longerword ", "x", " ", "\n", "日本", "é", "\x1b[m", "averyverylongwordwithoutblanks"]
        )
        for _ in range(400)
    ]
    spans = [(piece, dice.choice(["", "", "", "key"])) for piece in pieces]
    app = WorkbenchApp()
    async with app.run_test(size=(60 + seed, 20)) as pilot:
        lines = StreamLines()
        await app.screen.mount(lines)
        await pilot.pause()
        while spans:
            count = dice.randint(1, 30)
            lines.append(spans[:count])
            spans = spans[count:]
        expected = lines_of([(piece, "") for piece in pieces])
        width = lines.scrollable_content_region.width
        rows = [row for line in expected for row in wrap(line, width)]
        shown = ["".join(text for text, _ in row) for row in lines._rows]
        assert shown == ["".join(text for text, _ in row) for row in rows]
        assert lines.text == "\n".join("".join(text for text, _ in line) for line in expected)


def test_slots_of_a_prompt_file_and_what_they_make() -> None:
    writing = Writing()
    writing.fill("typed before")
    writing.open(opened(load_prompt("rewrite")))
    assert [slot.name for slot in writing.slots] == ["text", "persona", "manner", "system"]
    # What was typed becomes the input of the prompt that is opened.
    assert writing.question == "typed before" and not writing.goes_on and not writing.missing()
    outgoing = writing.outgoing(Setup(), ())
    task = outgoing.task(outgoing.prompt())
    assert task.messages[1]["content"] == "typed before"
    assert "an editor with forty years" in task.messages[0]["content"]
    writing.slots[3].text = "You are {{ persona }}. Be brief."
    writing.slots[1].text = "a judge"
    outgoing = writing.outgoing(Setup(), ())
    assert outgoing.task(outgoing.prompt()).messages[0]["content"] == "You are a judge. Be brief."
    writing.slots[3].text = ""
    outgoing = writing.outgoing(Setup(), ())
    assert [message["role"] for message in outgoing.task(outgoing.prompt()).messages] == ["user"]


def test_free_text_is_no_template() -> None:
    writing = Writing()
    writing.fill("{{ question }} {% raw %}")
    writing.slots[1].text = "{{ system }}"
    outgoing = writing.outgoing(Setup(), ())
    task = outgoing.task(outgoing.prompt())
    assert [message["content"] for message in task.messages] == ["{{ system }}", "{{ question }} {% raw %}"]
    assert task.question == "{{ question }} {% raw %}"


def test_a_conversation_goes_on_with_its_messages_and_new_sampling() -> None:
    earlier = ({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"})
    setup = Setup(sampling={"temperature": 0.5, "stop": ["x"]}, alternatives=None)
    outgoing = Outgoing("c", setup, earlier=earlier)
    task = outgoing.task(outgoing.prompt())
    assert [message["content"] for message in task.messages] == ["a", "b", "c"]
    assert task.sampling.temperature == 0.5 and task.sampling.stop == ("x",) and task.logprobs is None


def test_lists_in_slots_are_values() -> None:
    writing = Writing()
    writing.open(opened(load_prompt("multiple-choice")))
    writing.fill("Which?")
    next(slot for slot in writing.slots if slot.name == "options").text = "[one, two]"
    outgoing = writing.outgoing(Setup(), ())
    assert "(A) one\n(B) two" in outgoing.task(outgoing.prompt()).messages[0]["content"]


def test_what_is_written_becomes_a_prompt_file() -> None:
    writing = Writing()
    writing.fill("Translate {{ text }}")
    writing.slots[1].text = "Be exact."
    prompt = parse_prompt(as_yaml(writing))
    assert prompt.content.system == "Be exact." and [one.name for one in prompt.variables] == ["text"]
    writing.open(opened(load_prompt("translate")))
    assert as_yaml(writing) == load_prompt("translate").text


def test_a_setup_survives_the_disk() -> None:
    setup = Setup(
        ModelChoice("server", "m", "box"),
        technique=[{"cot": {}}, {"self_consistency": {"samples": 16}}],
        sampling={"temperature": 0.1},
        samples=3,
        alternatives=None,
        approve=False,
    )
    assert Setup.from_json(setup.as_json()) == setup
    assert setup.technique_words == "cot+self_consistency"


@pytest.mark.parametrize(
    "value",
    [
        None,
        3,
        [],
        {"model": {"kind": "x"}},
        {"samples": "many", "approve": 1, "technique": "cot", "sampling": 4},
    ],
)
def test_a_setup_that_cannot_be_read_is_the_usual_one(value: object) -> None:
    assert Setup.from_json(value) == Setup()


def test_names_that_people_type(home: Path, tmp_path: Path) -> None:
    assert choice_of("http://box:8000/v1") == ModelChoice("place", "", "http://box:8000/v1")
    assert choice_of("http://box:8000/v1 llama 3") == ModelChoice("place", "llama 3", "http://box:8000/v1")
    assert choice_of("HuggingFaceTB/SmolLM2") == ModelChoice("local", "HuggingFaceTB/SmolLM2")
    folder = tmp_path / "model"
    folder.mkdir()
    assert choice_of(str(folder)) == ModelChoice("local", str(folder))
    assert choice_of(str(folder)).label == "model"
    pulled = home / "models" / "smol"
    pulled.mkdir(parents=True)
    (pulled / "config.json").write_text("{}")
    assert choice_of("smol") == ModelChoice("local", str(pulled))
    (home / "servers.yaml").write_text("servers:\n  - {name: box, url: http://box/v1}\n")
    assert choice_of("box/some/model") == ModelChoice("server", "some/model", "box")
    assert choice_of("box") == ModelChoice("server", "", "box")


def test_a_run_is_named_by_its_name(make_run: Any) -> None:
    run = make_run("trained")
    with pytest.raises(RunError, match="no final model"):
        choice_of("trained")
    run.final_path.mkdir()
    assert choice_of("trained") == ModelChoice("local", str(run.final_path))
    assert choice_of("trained").label == "trained"


def fields_of(draft: SettingsDraft) -> dict[str, FormField]:
    return {field.key: field for field in draft.fields()}


def test_a_technique_form_makes_what_build_takes() -> None:
    draft = TechniqueDraft([], None, ["docs", "notes"])
    assert set(fields_of(draft)) == {
        f"use.{name}" for name in ("few_shot", "cot", "self_consistency", "tools", "rag")
    }
    for name in ("cot", "self_consistency", "rag"):
        draft.set_value(fields_of(draft)[f"use.{name}"], True)
    assert fields_of(draft)["rag.collection"].choices == ("docs", "notes")
    draft.set_value(fields_of(draft)["rag.collection"], "notes")
    draft.set_text(fields_of(draft)["self_consistency.samples"], "32")
    assert not draft.problems
    specification = draft.specification()
    assert build(specification).name == "rag+cot+self_consistency"
    assert {"self_consistency": {"samples": 32}} in specification and {"cot": {}} in specification
    again = TechniqueDraft([], specification, ["docs", "notes"])
    assert again.specification() == specification
    draft.set_text(fields_of(draft)["self_consistency.samples"], "1")
    assert "self_consistency.samples" in draft.problems


def test_lists_in_a_technique_form_are_typed_as_lists() -> None:
    draft = TechniqueDraft([], [{"tools": {}}], [])
    tools = fields_of(draft)["tools.tools"]
    assert draft.text(tools) == "calculator"
    draft.set_text(tools, "calculator, python")
    assert draft.specification() == [{"tools": {"tools": ["calculator", "python"]}}] and not draft.problems
    draft.set_text(tools, "calculator, telepathy")
    assert "tools.tools" in draft.problems


def test_what_the_prompt_says_is_where_a_technique_form_begins() -> None:
    usual = opened(load_prompt("gsm8k-self-consistency")).technique
    draft = TechniqueDraft(usual, None, [])
    assert draft.value(fields_of(draft)["use.self_consistency"]) is True
    assert draft.value(fields_of(draft)["self_consistency.samples"]) == 16
    assert not draft.changes
    draft.set_value(fields_of(draft)["use.self_consistency"], False)
    assert draft.changes and draft.specification() == []
    with pytest.raises(PromptError):
        TechniqueDraft([{"telepathy": {}}], None, [])


def test_a_sampling_form_keeps_only_what_differs() -> None:
    setup = Setup(sampling={"top_p": 0.9})
    draft = SamplingDraft({"temperature": 0.2}, setup)
    fields = fields_of(draft)
    assert draft.value(fields["sampling.temperature"]) == 0.2 and draft.value(fields["sampling.top_p"]) == 0.9
    draft.set_text(fields["sampling.temperature"], "0")
    draft.set_text(fields["request.alternatives"], "")
    draft.set_text(fields["request.samples"], "4")
    made = draft.applied(setup)
    assert made.sampling == {"temperature": 0, "top_p": 0.9}
    assert made.samples == 4 and made.alternatives is None and made.approve
    for key, text in (("sampling.top_p", "7"), ("request.samples", "x"), ("request.alternatives", "21")):
        draft.set_text(fields[key], text)
        assert key in draft.problems, key
        draft.reset(fields[key])
    assert not draft.problems


def running_column() -> Column:
    column = Column(Setup(model=choice("smol")))
    column.send(Job(Outgoing("why?", column.setup)), "why?")
    column.take(Said("loading"))
    column.take(Began("zero_shot", 10.0))
    return column


def test_a_column_measures_its_speed() -> None:
    column = running_column()
    assert head_words(column, 0) == ("smol", "asked", "good")
    for number in range(11):
        token = (TokenLogprob("x", -0.1),)
        column.take(Grew(Delta(0, "x", token), 10.5 + number * 0.1))
    assert column.first_seconds == pytest.approx(0.5)
    assert column.rate == pytest.approx(10.0) and column.num_tokens == 11
    assert head_words(column, 2)[0] == "2 smol"


def test_a_column_goes_to_disk_and_back() -> None:
    column = running_column()
    column.take(Grew(Delta(0, "Because "), 11.0))
    column.take(Stepped(Step("tool_call", "calculator", {"name": "calculator", "arguments": "{}"}, 0)))
    column.take(Stepped(Step("tool_result", "calculator", {"status": "failed", "text": "no\x1b"}, 0)))
    column.take(Grew(Delta(0, "so."), 12.0))
    column.take(
        Finished([Outcome("so.", answer="so", messages=({"role": "user", "content": "why?"},))], 12.0)
    )
    assert column.state == "done" and column.messages
    again = column_of("why?", record_of(column))
    assert record_of(again) == record_of(column)
    assert again.shown is not None and again.shown.answer == "so"
    roles = [role for _, role in again.shown.log]
    assert roles == ["", "key", "warn", ""]
    failed = running_column()
    failed.take(Failed(WorkbenchError("no", where="here", hint="that"), 11.0))
    again = column_of("why?", record_of(failed))
    assert again.state == "failed" and again.error is not None and again.error.hint == "that"


def test_a_damaged_record_is_read_as_far_as_it_goes() -> None:
    whole = record_of(running_column())
    damages: tuple[dict[str, Any], ...] = (
        {"chains": [{}]},
        {"steps": [3]},
        {"error": 7},
        {"chain": "x"},
        {"setup": 1, "state": 2},
    )
    for damage in damages:
        column = column_of("why?", {**whole, **damage})
        assert column.question == "why?" and column.state == "cancelled"


def test_tokens_by_their_probability() -> None:
    assert [band(p) for p in (1.0, 0.9, 0.5, 0.2, 0.05, 0.01)] == [
        "sure",
        "sure",
        "likely",
        "open",
        "unlikely",
        "rare",
    ]
    rivals = (("a", math.log(0.6)), ("b", math.log(0.3)))
    tokens = [
        TokenLogprob("b", math.log(0.3), b"b", rivals),
        TokenLogprob("\n", -0.1),
        TokenLogprob("c", -9.0),
    ]
    cells = odds_cells(tokens)
    assert [cell.state for cell in cells] == ["open", "sure", "rare"]
    assert [cell.break_before for cell in cells] == [False, False, True]
    lines = ["".join(text for text, _ in line) for line in about_token(tokens, 0, "ascii")]
    assert "30.0%" in lines[0] and lines[1].startswith("   60.0%") and lines[2].startswith(">  30.0%")
    # A token that is not among its rivals stands below them.
    alone = [TokenLogprob("z", -7.0, b"z", rivals)]
    assert "z" in "".join(text for text, _ in about_token(alone, 0, "ascii")[-1])


def test_special_tokens_of_a_prompt_stand_out() -> None:
    texts = ["<|im_start|>", "user", "\n", "<b>", " 3 < 4", "</s>", "[INST]", "[1]", "", "\x1b"]
    cells = prompt_cells([PromptToken(number, text) for number, text in enumerate(texts)])
    assert [cell.state == "mark" for cell in cells] == [
        True, False, False, True, False, True, True, False, False, False,
    ]  # fmt: skip
    assert cells[8].text == "∅" and cells[9].text == "␛"
    # Where the server tells, its word counts.
    told = prompt_cells([PromptToken(1, "<|im_end|>", False), PromptToken(2, "x", True)])
    assert [cell.state == "mark" for cell in told] == [False, True]
