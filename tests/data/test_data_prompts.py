"""Prompts of records of all shapes: what is asked is kept, what was answered is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from ppo_setting import letter_tokenizer

from workbench.data.kinds import detect
from workbench.data.records import PreparedRecords
from workbench.data.records.prompt_records import prompt
from workbench.data.records.prompts import PromptEncoder, prepare_prompts, user_text
from workbench.data.records.reading import Record
from workbench.data.records.texts import BlankText
from workbench.errors import DataError
from workbench.recipe import DataSection

TEMPLATE = (
    "{% for message in messages %}{{ message['role'][0] }} {{ message['content'] }}<eos>{% endfor %}"
    "{% if add_generation_prompt %}a {% endif %}"
)
ASKED = {"role": "user", "content": "who"}
ANSWERED = {"role": "assistant", "content": "me"}


def checked(**values: Any) -> dict[str, Any]:
    return prompt(Record(values, "here:1"))


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ({"prompt": "who", "level": 3}, "who"),
        ({"prompt": "who", "completion": "me"}, "who"),
        ({"prompt": "who", "chosen": "me", "rejected": "you"}, "who"),
        ({"prompt": "who", "completions": ["me", "you"], "ranks": [1, 2]}, "who"),
        ({"prompt": [ASKED], "completion": [ANSWERED]}, [ASKED]),
        ({"messages": [ASKED, ANSWERED]}, [ASKED]),
        ({"messages": [ASKED, ANSWERED, ASKED, ANSWERED]}, [ASKED, ANSWERED, ASKED]),
        # The last question has no answer yet.
        ({"messages": [ASKED, ANSWERED, ASKED]}, [ASKED, ANSWERED, ASKED]),
    ],
)
def test_a_prompt_is_what_stands_before_the_answer(values: dict[str, Any], kept: Any) -> None:
    found = checked(**values)
    assert found["prompt"] == kept and user_text(found) == "who"
    assert found["columns"] == {
        name: value for name, value in values.items() if name not in ("prompt", "messages")
    }
    assert detect(list(values), [values]).kind in (
        *("prompt", "prompt_completion", "preference", "ranking", "conversation"),
    )


def test_what_asks_nothing(tmp_path: Path) -> None:
    with pytest.raises(BlankText):
        checked(messages=[{"role": "system", "content": "be good"}, ANSWERED])
    with pytest.raises(BlankText):
        checked(prompt="  ")
    with pytest.raises(DataError, match="has no prompt"):
        checked(chosen="me", rejected="you")
    with pytest.raises(DataError, match="not text"):
        checked(prompt=3)


def test_tokens_are_those_that_a_model_reads_before_it_answers() -> None:
    tokenizer = letter_tokenizer()
    plain = PromptEncoder(tokenizer, prompt_length=4)
    assert tokenizer.decode(plain(checked(prompt="who are"))) == "who are"
    assert tokenizer.decode(plain(checked(text="who are"))) == "who "
    with pytest.raises(DataError, match="no chat template"):
        plain(checked(messages=[ASKED]))
    tokenizer.chat_template = TEMPLATE
    talks = PromptEncoder(tokenizer, prompt_length=4)
    for values in ({"prompt": "who"}, {"messages": [ASKED, ANSWERED]}):
        ids = talks(checked(**values))
        assert ids == tokenizer.apply_chat_template([ASKED], add_generation_prompt=True, return_dict=False)
        assert tokenizer.decode(ids) == "u who<eos>a "
    # Spelt out by a person, the end is text: here without a token, so it is gone.
    assert tokenizer.eos_token_id not in talks(checked(prompt="wh<eos>o"))[:-3]


def prepared(path: Path, records: list[dict[str, Any]], **changes: Any) -> PreparedRecords:
    path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))
    options = {"prompt_length": 3, "max_length": 8, "seed": 1} | changes
    return prepare_prompts(
        DataSection(sources=[str(path)], eval_fraction=0.3),
        tokenizer=letter_tokenizer(),
        progress=lambda *told: None,
        **options,
    )


def test_prompts_are_split_by_what_they_ask_and_long_ones_left_out(tmp_path: Path) -> None:
    asked = [f"ask {letter}" for letter in "abcdefghijkl"]
    records = [{"prompt": text, "completion": str(n)} for text in asked for n in range(2)]
    found = prepared(tmp_path / "a.jsonl", [*records, {"prompt": "much too long", "completion": "x"}])
    sides = [{store.records[n]["prompt"] for n in store.examples} for store in (found.train, found.eval)]
    assert not sides[0] & sides[1] and sides[0] | sides[1] == set(asked)
    assert found.report["too_long"] == 1 and found.report["longest"] == 5
    assert len(found.train) + len(found.eval) == len(records)
    assert prepared(tmp_path / "a.jsonl", records[:4]).key != found.key
    with pytest.raises(DataError, match="every prompt has more than 2 tokens"):
        prepared(tmp_path / "a.jsonl", records, max_length=2)
