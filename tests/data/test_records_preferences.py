"""Pairs and rankings of all shapes, brought into one, as tokens; and what cannot be learnt from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from family_templates import OWN, tokenizer_of

from workbench.data.readers.dialects import translated
from workbench.data.records import PreferenceStore, Record, prepare_records
from workbench.data.records.preference_encoding import encode_preferences
from workbench.data.records.preferences import Uninformative, comparison
from workbench.data.records.side import input_hash
from workbench.data.records.texts import BlankText
from workbench.data.ticker import Ticker
from workbench.errors import DataError
from workbench.recipe.data_section import DataSection

USER = {"role": "user", "content": "2+2?"}
FOUR = {"role": "assistant", "content": "4"}
FIVE = {"role": "assistant", "content": "5"}
PAIR = {"prompt": "2+2?", "completions": ["4", "5"], "ranks": [1, 2], "tools": []}
TALK = {"prompt": [USER], "completions": [[FOUR], [FIVE]], "ranks": [1, 2], "tools": []}
TOKENIZER = tokenizer_of("smollm2", OWN["smollm2"])


def checked(**values: Any) -> dict[str, Any]:
    return comparison(Record(values, "p.jsonl:3"))


def store_of(*records: dict[str, Any], length: int = 128, cut: bool = False) -> PreferenceStore:
    found = [comparison(Record(record, "p.jsonl:1")) for record in records]
    places = [f"p.jsonl:{n}" for n in range(1, len(records) + 1)]
    return encode_preferences(found, TOKENIZER, length, "train", Ticker(lambda *_: None, ""), places, cut=cut)


@pytest.mark.parametrize(
    ("values", "made"),
    [
        ({"prompt": "2+2?", "chosen": "4", "rejected": "5"}, PAIR),
        ({"prompt": "2+2?", "completions": ["4", "5"], "ranks": [1, 2.0]}, PAIR),
        ({"prompt": [USER], "chosen": "4", "rejected": "5"}, TALK),
        ({"prompt": "2+2?", "chosen": [FOUR], "rejected": FIVE}, TALK),
        ({"prompt": "2+2?", "chosen": [USER, FOUR], "rejected": [USER, FIVE]}, TALK),
        ({"prompt": [USER], "chosen": [USER, FOUR], "rejected": [USER, FIVE]}, TALK),
        ({"chosen": [USER, FOUR], "rejected": [USER, FIVE]}, TALK),
        ({"chosen": [USER, FOUR], "rejected": [USER, FIVE], "prompt": None}, TALK),
        ({"prompt": "2+2?", "chosen": "4", "rejected": "5", "margin": "0.5"}, PAIR | {"margin": 0.5}),
        ({"prompt": "2+2?", "chosen": "4", "rejected": "5", "margin": float("nan")}, PAIR),
    ],
)
def test_all_shapes_become_one(values: dict[str, Any], made: dict[str, Any]) -> None:
    assert checked(**values) == made


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, "identical answers"),
        ({"chosen": [USER, FOUR], "rejected": [USER, FOUR]}, "identical answers"),
        ({"prompt": "a", "completions": ["b", "c"], "ranks": [1, 1]}, "only ties"),
        ({"prompt": "a", "completions": ["b"], "ranks": [1]}, "only one answer"),
        ({"prompt": "a", "completions": [[USER, FOUR]], "ranks": [1]}, "only one answer"),
        ({"prompt": "a", "completions": [], "ranks": []}, "only one answer"),
    ],
)
def test_what_prefers_nothing_is_left_out_by_reason(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(Uninformative) as caught:
        checked(**values)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"chosen": "a", "rejected": "b", "question": "c"}, "no prompt, and its answers are text"),
        ({"prompt": None, "completions": ["a", "b"], "ranks": [1, 2]}, "the record has no prompt"),
        ({"prompt": "a", "completions": ["b", "c"], "ranks": [1]}, "2 answers and 1 ranks"),
        ({"prompt": "a", "completions": ["b", "c"], "ranks": [0, 1]}, "the rank of answer 1 is “0”"),
        ({"prompt": "a", "completions": ["b", "c"], "ranks": [1, None]}, "the rank of answer 2 is “None”"),
        ({"prompt": "a", "completions": ["b", None], "ranks": [1, 2]}, "“completions[1]” holds nothing"),
        ({"prompt": "a", "chosen": "b", "rejected": 7}, "“rejected” holds a number"),
        ({"prompt": "a", "chosen": "b", "rejected": "c", "margin": "far"}, "the margin “far” is no number"),
        (
            {"prompt": "3+3?", "chosen": [USER, FOUR], "rejected": [USER, FIVE]},
            "do not begin with the prompt",
        ),
        ({"chosen": [FOUR], "rejected": [FIVE]}, "its conversations begin differently"),
        (
            {"chosen": [USER, FOUR, USER], "rejected": [USER, FOUR, USER | {"content": "!"}]},
            "differ first in a message from “user”",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(DataError) as caught:
        checked(**values)
    assert problem in caught.value.message and caught.value.where == "p.jsonl:3"
    assert not isinstance(caught.value, BlankText)


def test_share_gpt_s_turns_with_two_answers_are_a_pair() -> None:
    values = {
        "system": "Be brief.",
        "conversations": [{"from": "human", "value": "2+2?"}],
        "chosen": {"from": "gpt", "value": "4"},
        "rejected": {"from": "gpt", "value": "5"},
    }
    made = checked(**translated(values, "p.jsonl:3"))
    assert made["prompt"] == [{"role": "system", "content": "Be brief."}, USER]
    assert made["completions"] == [[FOUR], [FIVE]]


def test_a_likely_column_is_proposed_for_a_missing_prompt() -> None:
    with pytest.raises(DataError) as caught:
        checked(chosen="a", rejected="b", question="c")
    assert "columns: {prompt: question}" in caught.value.hint


def test_a_prompt_is_the_same_as_text_and_as_a_message() -> None:
    assert input_hash(PAIR) == input_hash(TALK)
    assert input_hash(PAIR) != input_hash(PAIR | {"prompt": "3+3?"})


def test_tokens_are_those_of_the_whole_conversation_and_end_with_its_turn() -> None:
    store = store_of({"prompt": "one two", "completions": ["three", "four five", "six"], "ranks": [2, 1, 2]})
    talk = [{"role": "user", "content": "one two"}, {"role": "assistant", "content": "four five"}]
    whole = TOKENIZER.apply_chat_template(talk, tokenize=False)
    ids, mask = store.answer(1)
    assert TOKENIZER.decode([*store.prompt(0), *ids]) == whole.rstrip()
    assert TOKENIZER.decode(ids) == "four five<|im_end|>" and mask.all()
    assert store.pairs.tolist() == [[0, 1, 0], [0, 1, 2]]
    assert store.report()["ties"] == 1 and store.report()["longer_is_better"] == 1.0
    assert store.lengths.tolist() == [len(store.prompt(0)) + len(ids)]


def test_of_an_answer_of_several_turns_only_the_assistant_s_are_marked() -> None:
    tool = [{**FOUR, "content": "one"}, {"role": "user", "content": "two"}, {**FOUR, "content": "three"}]
    store = store_of({"prompt": [USER], "chosen": tool, "rejected": [FOUR]}, length=256)
    ids, mask = store.answer(0)
    assert mask[0] and mask[-1] and not mask.all()
    assert TOKENIZER.decode(ids[mask]) == "one<|im_end|>three<|im_end|>"


def test_margins_ranks_and_prompts_are_in_the_digest() -> None:
    record = {"prompt": "one", "chosen": "two", "rejected": "three"}
    same, other = (
        store_of(record),
        [
            store_of(record | {"margin": 1.0}),
            store_of({"prompt": "one", "chosen": "three", "rejected": "two"}),
            store_of(record | {"prompt": "four"}),
        ],
    )
    assert same.digest() == store_of(record).digest()
    assert len({same.digest(), *(store.digest() for store in other)}) == 4
    assert other[0].margins.tolist() == [1.0]


def test_repeated_answers_stand_once_or_not_at_all_where_they_contradict() -> None:
    store = store_of(
        {"prompt": "one", "completions": ["two", "two", "six"], "ranks": [1, 1, 2]},
        {"prompt": "one", "completions": ["two", "two", "six", "five"], "ranks": [1, 3, 2, 4]},
        {"prompt": "one", "completions": ["two", "two", "six"], "ranks": [1, 3, 2]},
        {"prompt": "one", "completions": ["two", " ", "six"], "ranks": [1, 2, 3]},
    )
    assert [len(store.answers_of(e)) for e in range(len(store))] == [2, 2, 2]
    assert (store.repeated, store.unanswered, store.empty) == (5, 1, 1)
    assert store.examples.tolist() == [0, 1, 3]


def test_long_answers_are_left_out_or_cut_and_a_prompt_that_fills_the_row_too() -> None:
    long = "seven " * 100_000
    record = {"prompt": "one", "completions": [long, "two", "six"], "ranks": [1, 2, 3]}
    kept, cut = store_of(record), store_of(record, cut=True)
    assert (kept.num_answers, kept.too_long, kept.truncated) == (2, 1, 0)
    assert (cut.num_answers, cut.too_long, cut.truncated) == (3, 0, 1)
    assert int(cut.lengths[0]) == 128 and len(cut.records) == 1
    long = "seven " * 200
    # Two answers that differ behind the cut have become one.
    same = {"prompt": "one", "chosen": long + "two", "rejected": long + "six"}
    filled = {"prompt": long, "chosen": "two", "rejected": "six"}
    for found in (store_of(same, cut=True), store_of(filled, cut=True)):
        assert len(found) == 0 and found.unanswered == 1


def test_blanks_that_would_melt_into_the_prompt_are_taken_off() -> None:
    store = store_of({"prompt": "one", "chosen": "\n\ntwo", "rejected": "three"})
    assert TOKENIZER.decode(store.answer(0)[0]).lstrip().startswith("two")


def test_all_records_of_a_prompt_are_on_one_side(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    records = [
        {"prompt": f"one two {n % 10}", "chosen": f"six {n}", "rejected": f"five {n}"} for n in range(40)
    ]
    path.write_bytes(b"\n".join(orjson.dumps(record) for record in [*records, {**records[0], "chosen": " "}]))
    prepared = prepare_records(
        DataSection(sources=[str(path)], eval_fraction=0.3),
        objective="reward",
        tokenizer=TOKENIZER,
        max_length=128,
        seed=1,
        cache=tmp_path,
        progress=lambda *_: None,
    )
    train, held_out = prepared.train, prepared.eval
    assert isinstance(train, PreferenceStore) and isinstance(held_out, PreferenceStore)
    prompts = [{store.records[e]["prompt"] for e in store.examples} for store in (train, held_out)]
    assert prompts[0] and prompts[1] and not prompts[0] & prompts[1]
    assert prepared.report["preferences"]["pairs"] + prepared.report["eval_preferences"]["pairs"] == 40
    assert prepared.report["unanswered"] == 1


def test_sources_that_prefer_nothing_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(orjson.dumps({"prompt": "a", "completions": ["b", "c"], "ranks": [1, 1]}))
    with pytest.raises(DataError, match="no records: 1 with only ties"):
        prepare_records(
            DataSection(sources=[str(path)]),
            objective="dpo",
            tokenizer=TOKENIZER,
            max_length=128,
            seed=1,
            cache=tmp_path,
            progress=lambda *_: None,
        )
