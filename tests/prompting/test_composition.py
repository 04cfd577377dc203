"""Techniques put together: by name, in any order, with settings; nonsense is refused with a reason."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from scripted_model import ScriptedModel

from workbench.errors import PromptError
from workbench.prompting.chain_of_thought import ChainOfThought, ChainOfThoughtSettings
from workbench.prompting.composition import Composition, build
from workbench.prompting.technique import Session, Task, Technique
from workbench.prompting.techniques import OUTERMOST_FIRST, READING_ORDER, TECHNIQUES
from workbench.prompting.zero_shot import ZeroShot

EXAMPLES = [
    {"question": "a", "answer": "b", "rationale": "c"},
    {"question": "d", "answer": "e", "rationale": "f"},
]
FEW = {"few_shot": {"examples": EXAMPLES, "columns": {"rationale": "rationale"}, "choose": "first"}}


def classes(specification: Any) -> list[str]:
    return [type(part).__name__ for part in build(specification).parts]


@pytest.mark.parametrize(
    ("specification", "name"),
    [
        (None, "zero_shot"),
        ("", "zero_shot"),
        ([], "zero_shot"),
        ("zero-shot", "zero_shot"),
        ("cot", "cot"),
        ("zero_shot + cot", "zero_shot+cot"),
        ("self_consistency+cot", "cot+self_consistency"),
        ("cot+self-consistency", "cot+self_consistency"),
        (["cot", {"self_consistency": {"samples": 5}}], "cot+self_consistency"),
        ({"self_consistency": {"samples": 5}, "cot": None}, "cot+self_consistency"),
        ("[cot, {self_consistency: {samples: 5}}]", "cot+self_consistency"),
        ([FEW, "cot"], "few_shot+cot"),
    ],
)
def test_a_specification_may_be_written_in_many_ways(specification: Any, name: str) -> None:
    technique = build(specification)
    assert technique.name == name
    assert build(technique.specification()).name == name
    assert build(technique.specification()).settings == technique.settings


def test_the_order_is_the_one_that_makes_sense() -> None:
    expected = ["FewShot", "SelfConsistency", "ChainOfThought", "ZeroShot"]
    assert classes(["self_consistency", "cot", FEW]) == expected
    assert classes([FEW, "cot", "self_consistency"]) == expected
    assert set(OUTERMOST_FIRST) == set(READING_ORDER) == set(TECHNIQUES)


@pytest.mark.parametrize(
    ("specification", "message", "hint"),
    [
        ("cto", "no technique “cto”", "did you mean cot?"),
        ("rag+tree_of_life", "no technique “tree_of_life”", "one of zero_shot, few_shot"),
        ("cot+", "no technique “”", "one of"),
        ("cot+cot", "cot is named twice", "once"),
        (["cot", {"cot": {}}], "cot is named twice", ""),
        (["zero_shot", FEW], "zero_shot and few_shot exclude each other", "leave out"),
        ("zero_shot+tools", "both send the requests", "leave out zero_shot"),
        (3, "names no technique", "rag"),
        ([3], "no technique “3”", ""),
        ([{"cot": 3}], "a mapping, not 3", "{cot: {key: value}}"),
        ("[cot", "not valid YAML", ""),
        ([{"cot": {"stagse": 1}}], "no key “stagse”", "did you mean stages?"),
        ([{"cot": {"stages": 3}}], "stages: input should be 1 or 2", ""),
        ([{"self_consistency": {"samples": 1}}], "samples: input should be greater", "vote at most"),
        ([{"self_consistency": {"confidence": 0.9, "early_stop": False}}], "early_stop: false forbids", ""),
        ([{"self_consistency": {"confidence": 0.9, "vote": "probability"}}], "majority vote", ""),
        ([{"cot": {"method": "few_shot"}}], "needs demonstrations", "add few_shot"),
    ],
)
def test_nonsense_is_refused_with_a_reason(specification: Any, message: str, hint: str) -> None:
    with pytest.raises(PromptError, match=message.replace("(", r"\(")) as caught:
        build(specification)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("few", "cot", "method", "rationales"),
    [
        ({}, None, None, False),
        ({}, {}, "few_shot", True),
        ({"rationales": True}, None, None, True),
        ({"rationales": False}, {}, "zero_shot", False),
        ({}, {"method": "zero_shot"}, "zero_shot", False),
    ],
)
def test_who_shows_how_to_reason_is_settled(
    few: dict[str, Any], cot: dict[str, Any] | None, method: str | None, rationales: bool
) -> None:
    parts: list[Any] = [{"few_shot": {**FEW["few_shot"], **few}}]
    settings: Any = build([*parts, {"cot": cot}] if cot is not None else parts).settings
    assert settings["few_shot"].rationales is rationales
    assert (settings["cot"].method if cot is not None else None) == method


def test_a_composition_is_a_technique_itself() -> None:
    technique: Technique = build("cot")
    assert type(ChainOfThought(ChainOfThoughtSettings(), technique).inner) is Composition


async def test_all_parts_of_a_composition_run_once_around_the_vote() -> None:
    model = ScriptedModel(lambda request, index: "So.\nThe answer is b.")
    session = Session(model)
    task = Task("x?", ({"role": "user", "content": "x?"},))
    technique = build([FEW, "cot", {"self_consistency": {"samples": 3}}])
    [outcome] = await technique.run(task, session)
    assert outcome.answer == "b" and outcome.details["finished"] == 3
    kinds = [step.kind for step in session.trace.steps]
    assert kinds.count("demonstrations") == 1 and kinds[-1] == "vote"
    assert [message["content"] for message in model.requests[0].messages] == [
        *("a", "c\nThe answer is b."),
        *("d", "f\nThe answer is e."),
        "x?",
    ]


class Closing(ZeroShot):
    closed = False

    async def aclose(self) -> None:
        self.closed = True


async def test_parts_that_hold_something_open_are_closed() -> None:
    parts = (ZeroShot(), Closing())
    await Composition("x", {}, parts).aclose()
    assert parts[1].closed


@pytest.mark.parametrize("name", TECHNIQUES)
def test_every_technique_has_settings_that_explain_themselves(name: str) -> None:
    settings = TECHNIQUES[name].settings()
    assert all(field.description for field in settings.model_fields.values())
    assert settings.model_json_schema()["additionalProperties"] is False
    assert TECHNIQUES[name].load().name == name


def test_the_room_is_light_to_import() -> None:
    heavy = ["torch", "transformers", "numpy", "bm25s", "jsonschema", "jinja2", "scipy", "openai", "mcp"]
    code = (
        "import sys, workbench.prompting.prompt_versions, workbench.prompting.few_shot\n"
        "from workbench.prompting.prompts import list_prompts\n"
        "from workbench.prompting.composition import build\n"
        "build('cot+self_consistency'), list_prompts()\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
