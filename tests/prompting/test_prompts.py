"""Prompt files: what they say, what is said about mistakes, and how they render."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.errors import PromptError
from workbench.inference.generation import Sampling
from workbench.prompting.answers import Answer
from workbench.prompting.prompt import parse_prompt
from workbench.prompting.prompts import find_prompt, list_prompts, load_prompt

PRESETS = [file.name for file in list_prompts()]

FULL = """# Translate, politely.
system: You translate into {{ language }}.
user: |
  {{ text }}
variables:
  text: {description: What to translate.}
  language: French
sampling: {temperature: 0.2, max_tokens: 50, seed: 3}
stop: END
answer: text
technique: [cot, {self_consistency: {samples: 5}}]
"""


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_reads_renders_and_builds(name: str) -> None:
    prompt = load_prompt(name)
    assert find_prompt(name).read_text().startswith("# ")
    assert prompt.description.endswith((".", "…"))
    assert all(variable.description or variable.name == "question" for variable in prompt.variables)
    assert prompt.input is not None
    values = {
        variable.name: ["one", "two"] if variable.name == "options" else "VALUE"
        for variable in prompt.variables
    }
    task = prompt.render(values)
    assert task.question == "VALUE"
    assert task.messages[-1]["role"] == "user" and "VALUE" in task.messages[-1]["content"]
    assert prompt.technique().name


def test_there_is_a_good_dozen_of_presets() -> None:
    assert {"qa", "summarise", "translate", "judge-pairwise", "rag-answer"} <= set(PRESETS)
    assert len(PRESETS) >= 12


def test_a_prompt_renders_into_a_task() -> None:
    prompt = parse_prompt(FULL, "polite")
    task = prompt.render({"text": "Hello {{ language }} [b]", "other": 1}, id="row-7")
    assert prompt.description == "Translate, politely."
    assert task.messages == (
        {"role": "system", "content": "You translate into French."},
        {"role": "user", "content": "Hello {{ language }} [b]"},
    )
    assert task.question == "Hello {{ language }} [b]"
    assert task.sampling == Sampling(max_tokens=50, temperature=0.2, seed=3, stop=("END",))
    assert (task.answer, task.id) == (Answer(kind="text"), "row-7")
    assert task.variables == {"language": "French", "text": "Hello {{ language }} [b]", "other": 1}
    assert prompt.technique().name == "cot+self_consistency"


def test_conversations_and_schemas() -> None:
    prompt = parse_prompt(
        "messages:\n"
        "  - {role: system, content: Be brief.}\n"
        "  - {role: user, content: Hi}\n"
        "  - {role: assistant, content: Hello}\n"
        "  - {role: user, content: '{{ a }} or {{ b }}?'}\n"
        "response_format: {type: object, properties: {x: {type: integer}}}\n",
        "pick one",
    )
    task = prompt.render({"a": 1, "b": 2})
    assert [message["role"] for message in task.messages] == ["system", "user", "assistant", "user"]
    assert task.question == "1 or 2?"
    assert task.response_format is not None
    assert task.response_format["json_schema"]["name"] == "pick_one"


def test_variables_are_found_declared_and_have_defaults() -> None:
    prompt = parse_prompt(
        "system: '{{ tone }}'\nuser: '{{ text }} {{ extra|default(1) }}'\n"
        "variables: {nothing: {default: null}, tone: [a, b], text: {description: the text}, late: null}"
    )
    assert [(v.name, v.required, v.default, v.description) for v in prompt.variables] == [
        ("nothing", False, None, ""),
        ("tone", False, ["a", "b"], ""),
        ("text", True, None, "the text"),
        ("late", False, None, ""),
        ("extra", False, None, ""),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user: '{{ a }}{{ question }}'", "question"),
        ("user: '{{ topic }}'", "topic"),
        ("user: '{{ topic }} {{ size }}'\nvariables: {size: 3}", "topic"),
        ("user: '{{ a }}{{ b }}'", None),
        ("user: '{{ a }}{{ b }}'\ninput: b", "b"),
        ("user: Hello", None),
    ],
)
def test_the_bare_input_is_known(text: str, expected: str | None) -> None:
    assert parse_prompt(text).input == expected


def test_all_missing_variables_are_named_at_once() -> None:
    prompt = parse_prompt("system: '{{ persona }}'\nuser: '{{ question }} {{ language }}'", "ask")
    with pytest.raises(PromptError, match="the prompt ask needs a value for persona, language") as caught:
        prompt.render({"question": "x", "langauge": "fr"})
    assert caught.value.hint == "did you mean language?"
    with pytest.raises(PromptError) as caught:
        prompt.render({"question": "x"})
    assert caught.value.hint == "persona=… language=…"


@pytest.mark.parametrize(
    ("text", "message", "line", "hint"),
    [
        ("user: hi\nsampling:\n  temprature: 1\n", "no key “temprature”", 3, "did you mean temperature?"),
        ("# c\nusr: hi\n", "no key “usr”", 2, "did you mean user?"),
        (
            "user: hi\nanswer:\n  kind: choice\n  option: [a, b]\n",
            "no key “option”",
            4,
            "did you mean options?",
        ),
        ("user: hi\nvariables:\n  a: {defualt: 1}\n", "no key “defualt”", 3, "did you mean default?"),
        (
            "user: hi\nsampling: {top_p: 2}\n",
            "sampling.top_p: input should be less than",
            2,
            "likeliest tokens",
        ),
        ("user: hi\nanswer: numbre\n", "answer.kind: input should be 'number'", 2, "number, choice"),
        ("user: hi\nstop: ['']\n", "empty text would end every answer", 2, "Texts at which"),
        ("user: hi\nmessages: [{role: user, content: x}]\n", "either user or messages", 1, ""),
        ("system: hi\n", "either user or messages", 1, ""),
        (
            "messages:\n- {role: user, content: a}\n- {role: assistant, content: b}\n",
            "the last of messages",
            1,
            "",
        ),
        ("messages:\n- {role: usr, content: a}\n", "messages.0.role", 2, "Who speaks"),
        (
            "system: a\nmessages:\n- {role: system, content: b}\n- {role: user, content: b}",
            "one system message",
            1,
            "",
        ),
        ("user: |\n  fine\n  {{ broken\n", "template cannot be read", 3, "{{ name }}"),
        ("system: '{{ broken'\nuser: x", "template cannot be read", 1, "{{ name }}"),
        ("messages:\n- role: user\n  content: |\n\n    {% if x %}\n", "template cannot be read", 5, ""),
        ("user: hi\nresponse_format:\n  type: objekt\n", "no JSON schema", 2, "a schema looks like"),
        ("user: hi\n\ntechnique: [cto]\n", "no technique “cto”", 3, "did you mean cot?"),
        ("user: '{{ text }}'\ninput: txt\n", "no template has the variable “txt”", 2, "did you mean text?"),
        ("user: hi\nuser: ho\n", "stands twice", 2, ""),
        ("user: [\n", "not valid YAML", 2, ""),
        ("user: hi\nsampling: 3\n", "sampling: input should be a valid dictionary", 2, ""),
        ("variables: {}\nuser: {a: b}\n", "user: input should be a valid string", 2, "template"),
    ],
)
def test_mistakes_name_file_line_and_what_would_be_right(
    tmp_path: Path, text: str, message: str, line: int, hint: str
) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(PromptError) as caught:
        load_prompt(str(path))
    assert message in caught.value.message
    assert caught.value.where.startswith(f"{path}, line {line}")
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


def test_wrong_settings_of_a_technique_name_file_and_line() -> None:
    prompt = parse_prompt("user: hi\ntechnique:\n  - self_consistency: {sample: 3}\n", "vote")
    with pytest.raises(PromptError, match="no key “sample”") as caught:
        prompt.technique()
    assert caught.value.where == "prompt vote, line 2, technique self_consistency"
    assert caught.value.hint == "did you mean samples?"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"- a\n", "a mapping of keys"),
        (b"user: \xff", "byte 6 is not UTF-8"),
        (b"user: \x00", "YAML"),
    ],
)
def test_files_that_are_no_prompts_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.yaml").write_bytes(content)
    with pytest.raises(PromptError, match=message):
        load_prompt(str(tmp_path / "x.yaml"))


def test_prompts_are_found_by_name_and_path_and_near_misses_are_suggested(home: Path) -> None:
    own = home / "prompts" / "translate.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("# My own.\nuser: '{{ text }}'")
    (own.parent / "described.yaml").write_text("description: In a key.\nuser: x")
    (own.parent / "broken.yaml").write_text("user: [")
    assert find_prompt("translate") == own and load_prompt(str(own)).name == "translate"
    listed = {file.name: file for file in list_prompts()}
    assert (listed["translate"].description, listed["translate"].builtin) == ("My own.", False)
    assert listed["described"].description == "In a key."
    assert listed["broken"].description == ""
    assert listed["qa"].builtin
    with pytest.raises(PromptError, match="no prompt called “transalte”") as caught:
        find_prompt("transalte")
    assert caught.value.hint == "did you mean translate?"
    with pytest.raises(PromptError, match="no such prompt file"):
        find_prompt("./translate")
    with pytest.raises(PromptError, match="no prompt called"):
        find_prompt("a/../../qa")


def test_the_version_is_of_what_matters() -> None:
    version = parse_prompt(FULL).version
    assert len(version) == 12
    same = FULL.replace("# Translate, politely.", "# Other.").replace("What to translate.", "Else.")
    assert parse_prompt(f"description: x\n{same}", "other").version == version
    for old, new in [("French", "Dutch"), ("0.2", "0.3"), ("END", "STOP"), ("samples: 5", "samples: 6")]:
        assert parse_prompt(FULL.replace(old, new)).version != version
