"""Frames and special tokens: what each family's tokenizer is trained with, and what objectives ask of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from workbench.data import Prepared, prepare
from workbench.data.framing import Frame, frame_for
from workbench.data.special_tokens import STYLES
from workbench.errors import ModelError
from workbench.recipe import DataSection
from workbench.recipe.families import FAMILIES


@pytest.fixture(scope="module")
def prepared_for(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Prepared]:
    folder = tmp_path_factory.mktemp("framing")
    corpus = folder / "corpus.jsonl"
    texts = [f"The cat number {n} sat on the mat, and it saw dog {n * 7 % 11}." for n in range(60)]
    corpus.write_bytes(b"".join(orjson.dumps({"text": text}) + b"\n" for text in texts))

    def call(family: str, objective: str) -> Prepared:
        return prepare(
            DataSection(sources=[str(corpus)]),
            tokenizer_name_or_path=None,
            model_name_or_path=None,
            revision=None,
            trust_remote_code=False,
            vocab_size=420,
            seed=0,
            cache=folder / "cache",
            progress=lambda what, done, total: None,
            family=family,
            objective=objective,
        )

    return call


@pytest.mark.parametrize("family", FAMILIES)
def test_documents_are_framed_as_their_objective_reads_them(
    prepared_for: Callable[[str, str], Prepared], family: str
) -> None:
    objective = FAMILIES[family].objectives[0]
    prepared = prepared_for(family, objective)
    tokenizer, frame = prepared.tokenizer, frame_for(objective, prepared.tokenizer)
    document = prepared.train.document(0).tolist()
    assert tuple(document[: len(frame.prefix)]) == frame.prefix
    assert tuple(document[len(document) - len(frame.suffix) :]) == frame.suffix
    text = tokenizer.decode(document, skip_special_tokens=True)
    assert text.startswith("The cat number")
    # The tokenizer itself frames a text in the same way, except that a decoder's leaves its end open.
    expected = document[:-1] if family == "llama" else document
    assert tokenizer(text)["input_ids"] == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_special_tokens_survive_saving(
    prepared_for: Callable[[str, str], Prepared], family: str, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    tokenizer = prepared_for(family, FAMILIES[family].objectives[0]).tokenizer
    tokenizer.save_pretrained(tmp_path)
    again: Any = AutoTokenizer.from_pretrained(tmp_path)
    for token in STYLES[family].all:
        assert again.convert_tokens_to_ids(token) == tokenizer.convert_tokens_to_ids(token)
        assert token in again.all_special_tokens
    assert again("one", "two")["input_ids"] == tokenizer("one", "two")["input_ids"]
    assert list(again.model_input_names) == list(tokenizer.model_input_names)


def test_pairs_have_their_segments(prepared_for: Callable[[str, str], Prepared]) -> None:
    tokenizer = prepared_for("bert", "mlm").tokenizer
    encoded = tokenizer("one", "two")
    ids, first = encoded["input_ids"], tokenizer("one")["input_ids"]
    assert encoded["token_type_ids"] == [0] * len(first) + [1] * (len(ids) - len(first))


def test_an_objective_says_which_token_it_lacks(prepared_for: Callable[[str, str], Prepared]) -> None:
    tokenizer = prepared_for("llama", "clm").tokenizer
    with pytest.raises(ModelError, match="no cls_token, which the objective mlm needs"):
        frame_for("mlm", tokenizer)
    assert frame_for("clm", tokenizer) == Frame((tokenizer.bos_token_id,), (tokenizer.eos_token_id,))
