"""Records become framed tokens, with what is to be predicted at the right places."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.data.small_tokenizers import SENTENCES, WORDS, small_tokenizer
from workbench.data.records import ExampleStore, encode_records
from workbench.data.records.store import NO_TARGET
from workbench.errors import DataError

TOKENIZERS = (("wordpiece", "bert"), ("bpe", "bert"), ("bpe", "xlnet"), ("unigram", "modernbert"))
LABELS = ("O", "B-X", "I-X")


def ids_of(store: ExampleStore, row: int) -> list[int]:
    found: list[int] = store.input_ids[store.offsets[row] : store.offsets[row + 1]].tolist()
    return found


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_texts_and_pairs_are_framed_as_the_tokenizer_frames_them(kind: tuple[str, str]) -> None:
    tokenizer = small_tokenizer(*kind)
    records = [
        {"text": SENTENCES[0], "label": "a"},
        {"text": SENTENCES[0], "text_pair": SENTENCES[1], "label": "b"},
    ]
    store = encode_records(records, tokenizer, "classification", 128, ("a", "b"))
    alone, pair = tokenizer(SENTENCES[0]), tokenizer(SENTENCES[0], SENTENCES[1])
    assert ids_of(store, 0) == alone["input_ids"]
    assert ids_of(store, 1) == pair["input_ids"]
    assert (store.token_type_ids is not None) == ("token_type_ids" in pair)
    if store.token_type_ids is not None:
        assert store.token_type_ids.tolist() == [*alone["token_type_ids"], *pair["token_type_ids"]]
    assert store.rows(np.array([1, 0]), 96)["labels"].tolist() == [1, 0]
    assert store.truncated == 0


def test_of_a_pair_the_longer_text_is_cut_first_and_the_cut_records_are_counted() -> None:
    tokenizer = small_tokenizer()
    long = " ".join(SENTENCES * 3)
    records = [{"text": "the dog", "text_pair": long}, {"text": "the dog"}]
    store = encode_records(records, tokenizer, "classification", 16)
    assert store.lengths.tolist() == [16, 4]
    assert tokenizer.decode(ids_of(store, 0)).startswith("[CLS] the dog [SEP] the quick brown")
    assert store.truncated == 1
    assert "labels" not in store.rows(np.array([0]), 16)


def test_the_tokenizer_that_is_saved_with_the_model_stays_as_it_was() -> None:
    tokenizer = small_tokenizer("bpe", "bert")
    before = tokenizer.backend_tokenizer.to_str()
    encode_records([{"tokens": ["a"], "tags": ["O"]}], tokenizer, "tagging", 16, LABELS)
    encode_records([{"text": "a"}], tokenizer, "classification", 16)
    assert tokenizer.backend_tokenizer.to_str() == before


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_the_first_piece_of_each_word_has_its_tag(kind: tuple[str, str]) -> None:
    tokenizer = small_tokenizer(*kind)
    tokens = [*WORDS[:6], "xylophones", "über-dogs"]
    tags = ["O", "B-X", "I-X", "O", "O", "O", "B-X", "I-X"]
    store = encode_records([{"tokens": tokens, "tags": tags}], tokenizer, "tagging", 128, LABELS)
    labels = store.rows(np.array([0]), 128)["labels"][0]
    given = [LABELS[label] for label in labels.tolist() if label != NO_TARGET]
    assert given == tags
    # Words are those of running text: the pieces are the same as with blanks between them.
    running = tokenizer(" " + " ".join(tokens), add_special_tokens=False)["input_ids"]
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    assert [token for token in ids_of(store, 0) if token not in special] == running


def test_words_that_the_tokenizer_drops_keep_a_place_for_their_tag() -> None:
    tokenizer = small_tokenizer()
    tokens = ["the", "\u200b", "dog", "\ufffd", "sleeps"]
    store = encode_records(
        [{"tokens": tokens, "tags": ["O", "B-X", "I-X", "B-X", "O"]}], tokenizer, "tagging", 32, LABELS
    )
    assert store.token_labels is not None
    assert [label for label in store.token_labels.tolist() if label != NO_TARGET] == [0, 1, 2, 1, 0]
    assert ids_of(store, 0).count(tokenizer.unk_token_id) == 2
    assert store.cut_words == 0


def test_words_behind_the_end_are_counted() -> None:
    tokenizer = small_tokenizer()
    record = {"tokens": ["the"] * 20, "tags": ["O"] * 20}
    store = encode_records([record, {"tokens": ["dog"], "tags": ["O"]}], tokenizer, "tagging", 10, LABELS)
    assert (store.truncated, store.cut_words) == (1, 12)
    assert store.lengths.tolist() == [10, 3]


def test_without_tags_the_numbers_of_the_words_stand_there() -> None:
    store = encode_records([{"tokens": ["the", "xylophones"]}], small_tokenizer(), "tagging", 32)
    assert store.token_labels is not None
    assert [n for n in store.token_labels.tolist() if n != NO_TARGET] == [0, 1]


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_spans_of_windows_give_the_answer_back(kind: tuple[str, str]) -> None:
    tokenizer = small_tokenizer(*kind)
    context = " ".join(WORDS * 4)
    places = [0, context.find("jumps"), context.rfind("winter")]
    answers = [context[place : place + 24].rsplit(" ", 1)[0] for place in places]
    records: list[dict[str, Any]] = [
        {"question": "who wrote it?", "context": context, "answers": [(answer, place)]}
        for answer, place in zip(answers, places, strict=True)
    ]
    records.append({"question": "who wrote it?", "context": "nobody did", "answers": []})
    store = encode_records(records, tokenizer, "span_extraction", 64)
    assert store.spans is not None
    assert store.lengths.max() <= 64
    found: dict[int, set[str]] = {}
    covered: set[int] = set()
    for row, example in enumerate(store.examples.tolist()):
        start, end = store.spans[row].tolist()
        characters = store.characters_of(row)
        if example == 0:
            covered.update(*(range(begin, stop) for begin, stop in characters.tolist() if begin >= 0))
        if (start, end) != (0, 0):
            text = context[characters[start, 0] : characters[end, 1]].strip()
            found.setdefault(example, set()).add(text)
    assert found == {number: {answer} for number, answer in enumerate(answers)}
    assert {n for n, character in enumerate(context) if character != " "} <= covered
    assert store.examples.tolist()[-1] == 3
    assert (np.diff(store.examples) >= 0).all()


def test_positions_move_with_padding_on_the_left() -> None:
    tokenizer = small_tokenizer("bpe", "xlnet")
    record = {"question": "who?", "context": "the old man", "answers": [("old", 4)]}
    store = encode_records([record], tokenizer, "span_extraction", 32)
    batch = store.rows(np.array([0]), 32)
    start, end = int(batch["start_positions"][0]), int(batch["end_positions"][0])
    assert store.left_padded
    assert tokenizer.decode(batch["input_ids"][0, start : end + 1]).strip() == "old"
    assert batch["attention_mask"][0].tolist() == [0] * (32 - len(ids_of(store, 0))) + [1] * len(
        ids_of(store, 0)
    )


def test_a_question_that_leaves_no_room_is_refused_with_what_would_do() -> None:
    tokenizer = small_tokenizer()
    question = " ".join(WORDS[:20])
    record = {"question": question, "context": " ".join(WORDS), "answers": []}
    with pytest.raises(DataError, match="a question of 20 tokens") as caught:
        encode_records([record], tokenizer, "span_extraction", 24)
    enough = int(caught.value.hint.split("at least ")[1].split(",")[0])
    assert encode_records([record], tokenizer, "span_extraction", enough).num_tokens
