"""What a session is planned of: names of models, sampling parameters, memory, old against new."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from workbench.errors import RunError, UsageError
from workbench.prompting.ranking import memory
from workbench.prompting.ranking.create import Plan, create, settings_of
from workbench.prompting.ranking.old_new import old_against_new, old_and_new
from workbench.prompting.ranking.sources import ModelSource, named, of_settings
from workbench.recipe import load
from workbench.store.preferences.contents import Prompt, read_prompt
from workbench.store.preferences.database import Database
from workbench.store.preferences.sessions import counts, find_session
from workbench.store.runs import Run, create_run


def test_names_are_as_long_as_they_must_be() -> None:
    tiny = ModelSource("local", "/models/tiny")
    narrow = ModelSource("local", "/models/tiny", options=("--dtype", "float32"))
    run = ModelSource("local", "/home/runs/first/final")
    remote = ModelSource("server", "tiny", "box")
    assert list(named([tiny, run])) == ["tiny", "first"]
    assert list(named([tiny, narrow, remote])) == ["/models/tiny", "tiny (dtype float32)", "box/tiny"]
    with pytest.raises(UsageError, match="named twice"):
        named([tiny, tiny])


def test_a_session_tells_where_its_models_are_and_keeps_no_key(home: Path) -> None:
    source = ModelSource("place", "m", "http://box/v1", ("--x",), key_env="BOX_KEY")
    with Database() as database:
        create(database, Plan("s", [source], samples=2), [Prompt("a"), Prompt("a")])
        session = find_session(database, "s")
        assert counts(database, session).prompts == 1
    assert of_settings(session.settings.extra, session.settings.models) == {"m": source}
    assert session.settings.sampling == ({"temperature": 0.8, "max_tokens": 512},)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({"models": []}, "no model is named"),
        ({"sampling": [{"temperature": 3}]}, "temperature of 3"),
        ({"sampling": [{"top_p": 0}]}, "top_p of 0"),
        ({"sampling": [{"max_tokens": 0}]}, "0 tokens are no answer"),
        ({"sampling": [{"temprature": 1}]}, "temprature is no sampling parameter"),
        ({"sampling": [{"temperature": 0}], "samples": 2}, "all the same"),
    ],
)
def test_what_cannot_be_planned(plan: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        settings_of(Plan(**{"name": "s", "models": [ModelSource("local", "m")], **plan}))


@pytest.mark.parametrize(
    ("files", "answers"),
    [
        ({"config": {"architectures": ["LlamaForCausalLM"]}}, True),
        ({"config": {"architectures": ["T5ForConditionalGeneration"]}}, True),
        ({"config": {"architectures": ["GPT2LMHeadModel"]}}, True),
        ({"config": {"architectures": ["BertModel"]}}, False),
        ({"config": {"architectures": ["BertForMaskedLM"]}}, False),
        ({"config": {"architectures": ["LlamaForSequenceClassification"]}}, False),
        ({"config": {"architectures": ["XLNetLMHeadModel"]}}, False),
        ({"adapter_config": {"task_type": "SEQ_CLS"}}, False),
        ({"adapter_config": {"task_type": "CAUSAL_LM"}}, True),
        ({"adapter_config": {"base_model_name_or_path": "hub/name"}}, True),
        ({}, True),
    ],
)
def test_a_model_that_does_not_write_has_no_answers(
    tmp_path: Path, files: dict[str, Any], answers: bool
) -> None:
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    plan = Plan("s", [ModelSource("local", str(tmp_path))])
    if answers:
        assert settings_of(plan).models == (tmp_path.name,)
        return
    with pytest.raises(UsageError, match="does not write"):
        settings_of(plan)


def test_whether_models_fit_is_told_by_their_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, dtype in (("wide", "float32"), ("narrow", "bfloat16")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"dtype": dtype}))
        with (tmp_path / name / "model.safetensors").open("wb") as file:
            file.truncate(1 << 30)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": str(tmp_path / "wide")})
    )
    assert memory.needed_bytes(tmp_path / "wide") == (1 << 30) + memory.BESIDE_BYTES
    assert memory.needed_bytes(tmp_path / "narrow") == (2 << 30) + memory.BESIDE_BYTES
    assert memory.needed_bytes(adapter) == memory.needed_bytes(tmp_path / "wide")
    assert memory.needed_bytes(Path("hub/name")) == 0
    monkeypatch.setattr(memory, "_free_gpu_bytes", lambda: None)
    monkeypatch.setattr(memory, "_free_bytes", lambda: 5 << 30)
    both = [ModelSource("local", str(tmp_path / name)) for name in ("wide", "narrow")]
    assert memory.fit_together(both[:1]) and not memory.fit_together(both)
    monkeypatch.setattr(memory, "_free_bytes", lambda: 8 << 30)
    assert memory.fit_together(both)


@pytest.fixture
def finished(tmp_path: Path, home: Path) -> Run:
    """A run of instruction tuning that began with a folder, held conversations out, and ended."""
    rows = [
        {"messages": [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": f"a{n}"}]}
        for n in range(20)
    ]
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "old").mkdir()
    overrides = [
        f"data.sources=[{tmp_path / 'chats.jsonl'}]",
        f"model.model_name_or_path={tmp_path / 'old'}",
        "objective.name=sft",
        "data.eval_fraction=0.3",
        "run.name=tuned",
    ]
    run = create_run(load("nano", overrides))
    run.final_path.mkdir()
    return run


def test_old_against_new_on_prompts_that_the_run_held_out(finished: Run, tmp_path: Path) -> None:
    with Database() as database:
        session = old_against_new(database, finished, count=4)
        assert session.name == "tuned-old-new" and session.settings.models == ("old", "tuned")
        assert session.settings.answers_per_prompt == 2
        numbers = [row[0] for row in database.rows("SELECT id FROM prompts")]
        asked = [read_prompt(database, number).content for number in numbers]
        again = old_against_new(database, finished, [Prompt("given")])
    assert 1 <= len(asked) <= 4
    assert all(isinstance(one, list) and len(one) == 1 and one[0]["role"] == "user" for one in asked)
    assert again.name == "tuned-old-new-2"


def test_a_run_without_a_beginning_or_an_end_cannot_be_compared(finished: Run) -> None:
    finished.final_path.rmdir()
    with pytest.raises(RunError, match="no final model yet"):
        old_and_new(finished)
    other = create_run(load("nano", ["run.name=scratch"]))
    other.final_path.mkdir()
    with pytest.raises(RunError, match="began with no model"):
        old_and_new(other)
    labels = create_run(load("bert-nano", ["run.name=encoder"]))
    labels.final_path.mkdir()
    with pytest.raises(RunError, match="what mlm makes answers nothing"):
        old_and_new(labels)
