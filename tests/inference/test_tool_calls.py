from __future__ import annotations

import json

import pytest

from workbench.inference.server.tool_calls import parse_calls
from workbench.inference.server.tool_format import COMMON, ToolFormat

BARE = ToolFormat("", "", "", "name", "parameters", True)
LIST = ToolFormat("[TOOL_CALLS] [", "]", ", ", "name", "arguments", True)
NAMES = ("add", "look_up")


def calls_in(text: str, form: ToolFormat = COMMON) -> tuple[str, list[tuple[str, str]]]:
    before, calls = parse_calls(text, form, NAMES)
    return before, [(call.name, call.arguments) for call in calls]


@pytest.mark.parametrize(
    ("text", "before", "calls"),
    [
        ("No call at all", "No call at all", []),
        ("", "", []),
        ("I add. \n" + COMMON.write("add", {"a": 1}), "I add.", [("add", '{"a": 1}')]),
        (
            COMMON.write("add", {"a": 1}) + "\n" + COMMON.write("look_up", {"x": "y"}),
            "",
            [("add", '{"a": 1}'), ("look_up", '{"x": "y"}')],
        ),
        ('<tool_call>{"name":"add"}</tool_call>', "", [("add", "{}")]),
        ('<tool_call>{"arguments":{"a":1},"name":"add"}', "", [("add", '{"a":1}')]),
        ('<tool_call>{"name": "add", "arguments": "{\\"a\\": 1}"}', "", [("add", '{"a": 1}')]),
        ('<tool_call>{"name": "other", "arguments": {}}</tool_call>', "", [("other", "{}")]),
        ("<tool_call>\nadd(1, 2)\n</tool_call>", "", [("", "add(1, 2)")]),
        ("<tool_call>{}</tool_call>", "", [("", "{}")]),
        ("<tool_call>", "", [("", "")]),
    ],
)
def test_calls_are_found(text: str, before: str, calls: list[tuple[str, str]]) -> None:
    assert calls_in(text) == (before, calls)


def test_arguments_stay_as_they_were_written() -> None:
    written = '{"big": ' + "9" * 5000 + ', "small": 1.10e-400, "name":"é\\u00e9",  "same": 1, "same": 2}'
    assert calls_in(f'<tool_call>{{"name": "add", "arguments": {written}}}')[1] == [("add", written)]


def test_line_ends_in_strings_are_taken() -> None:
    assert calls_in('<tool_call>{"name": "add", "arguments": {"a": "x\ny"}}')[1] == [("add", '{"a": "x\ny"}')]


@pytest.mark.parametrize(
    ("written", "name", "arguments"),
    [
        ('{"name": "add", "arguments": {"a": 1 + 2}}', "add", '{"a": 1 + 2}}'),
        ('{"name": "add", "arguments": {"a": NaN}}', "add", '{"a": NaN}}'),
        ('{"name": "add", "argu', "", '{"name": "add", "argu'),
        ('{"name": "add" "arguments": {}}', "", '{"name": "add" "arguments": {}}'),
        ("{name: add}", "", "{name: add}"),
        ('{"name": "add", "arguments": ' + '{"a":' * 50_000, "add", '{"a":' * 50_000),
    ],
)
def test_a_call_that_is_no_json_is_kept_for_whoever_runs_tools(
    written: str, name: str, arguments: str
) -> None:
    assert calls_in(f"<tool_call>\n{written}\n</tool_call>")[1] == [(name, arguments)]


def test_a_whole_call_after_a_broken_one_is_found() -> None:
    text = "<tool_call>\n{broken\n</tool_call>\n" + COMMON.write("add", {"a": 1})
    assert calls_in(text)[1] == [("", "{broken"), ("add", '{"a": 1}')]


def test_a_call_that_was_cut_off_keeps_its_name_and_its_beginning() -> None:
    assert calls_in('<tool_call>\n{"name": "add", "arguments": {"a": 16')[1] == [("add", '{"a": 16')]


def test_several_calls_in_a_list() -> None:
    calls = [{"name": "add", "arguments": {"a": 1}}, {"name": "look_up", "arguments": {"x": "]"}}]
    assert calls_in(f"[TOOL_CALLS] {json.dumps(calls)}", LIST)[1] == [
        ("add", '{"a": 1}'),
        ("look_up", '{"x": "]"}'),
    ]


def test_bare_json_is_a_call_only_where_it_names_a_tool() -> None:
    assert calls_in('{"name": "add", "parameters": {"a": 1}}', BARE) == ("", [("add", '{"a": 1}')])
    for text in ('{"name": "Ada", "born": 1815}', "[1, 2]", "plain", '{"name": ', "{"):
        assert calls_in(text, BARE) == (text, [])


def test_ids_are_nine_letters_and_digits_and_all_different() -> None:
    text = COMMON.write("add", {}) * 50
    ids = {call.id for call in parse_calls(text, COMMON, NAMES)[1]}
    assert len(ids) == 50
    assert all(len(one) == 9 and one.isalnum() for one in ids)
