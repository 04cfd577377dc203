"""Tokens, vocabularies, and tokenizers of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models

from workbench.errors import ModelError, StorageError, UsageError
from workbench.inspection.pieces import Pieces
from workbench.inspection.tokens import tokens, vocabulary
from workbench.inspection.train_tokenizer import train_tokenizer

TEXT = "the cat héars \x1b[31m 中"


def silent(what: str, done: int, total: int | None) -> None:
    """Progress that nobody hears."""


def test_tokens_of_a_recipe_make_up_the_text(recipe: Any) -> None:
    found = tokens(TEXT, silent, recipe=recipe())
    own = [token for token in found["tokens"] if token["end"] > token["start"]]
    assert bytes.fromhex("".join(token["hex"] for token in own)).decode() == TEXT
    assert all(token["bytes"] == len(bytes.fromhex(token["hex"])) for token in own)
    assert found["tokens"][0]["piece"] == "<|bos|>" and found["tokens"][0]["special"]
    assert found["num_tokens"] == len(found["tokens"]) == len(own) + found["frame_tokens"]
    assert found["num_bytes"] == len(TEXT.encode()) and found["num_characters"] == len(TEXT)
    assert found["bytes_per_token"] == pytest.approx(len(TEXT.encode()) / len(own))
    assert "\\xe4" in [token["text"] for token in own], "a byte that is no whole character is written out"


def test_nothing_has_no_bytes_per_token(recipe: Any) -> None:
    found = tokens("", silent, recipe=recipe())
    assert found["bytes_per_token"] is None and found["num_bytes"] == 0
    with pytest.raises(UsageError):
        tokens("a", silent)


def test_a_vocabulary_is_paged_and_searched(recipe: Any) -> None:
    whole = vocabulary(silent, recipe=recipe(), count=10_000)
    assert [entry["id"] for entry in whole["entries"]] == list(range(whole["vocab_size"]))
    page = vocabulary(silent, recipe=recipe(), start=5, count=3)
    assert page["entries"] == whole["entries"][5:8]
    found = vocabulary(silent, recipe=recipe(), search=" t", count=10_000)
    assert found["found"] == len(found["entries"]) > 0
    assert all(" t" in entry["text"] for entry in found["entries"])


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram"])
def test_a_tokenizer_of_each_kind_loads_and_is_measured(recipe: Any, tmp_path: Path, kind: str) -> None:
    from transformers import AutoTokenizer

    output = tmp_path / "deep" / kind
    told = train_tokenizer(recipe(), 320, str(output), silent, kind=kind)
    loaded = AutoTokenizer.from_pretrained(str(output))
    assert len(loaded) == told["vocab_size"] <= 320
    assert loaded.bos_token == "<|bos|>" and loaded("cat")["input_ids"][0] == loaded.bos_token_id
    assert told["measured_on"] == "held-out text"
    for measured in (told["new"], told["old"]):
        assert measured["bytes_per_token"] == pytest.approx(told["num_bytes"] / measured["tokens"])
    assert told["new"]["lossless"] == (kind != "wordpiece") and told["old"]["lossless"]
    assert told["new"]["unknown_tokens"] == 0
    again = tokens("the cat", silent, tokenizer=str(output))
    assert again["num_tokens"] - again["frame_tokens"] == len(
        loaded.encode("the cat", add_special_tokens=False)
    )


def test_wordpiece_says_what_is_unknown(recipe: Any, tmp_path: Path) -> None:
    train_tokenizer(recipe(), 320, str(tmp_path / "pieces"), silent, kind="wordpiece")
    found = tokens("the 中", silent, tokenizer=str(tmp_path / "pieces"))
    assert found["unknown_tokens"] == 1
    assert [token["text"] for token in found["tokens"]][1:] == [" the", "<|unk|>"]


def test_what_cannot_be_trained_is_refused(recipe: Any, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    with pytest.raises(StorageError, match="something already"):
        train_tokenizer(recipe(), 320, str(tmp_path / "taken"), silent)
    with pytest.raises(UsageError, match="too small"):
        train_tokenizer(recipe(), 100, str(tmp_path / "new"), silent)
    with pytest.raises(UsageError, match="no kind"):
        train_tokenizer(recipe(), 320, str(tmp_path / "new"), silent, kind="words")
    assert not (tmp_path / "new").exists()


def test_a_damaged_tokenizer_is_a_model_error(recipe: Any, tmp_path: Path) -> None:
    folder = tmp_path / "tokenizer"
    train_tokenizer(recipe(), 320, str(folder), silent)
    (folder / "tokenizer.json").write_text('{"model": 3}')
    with pytest.raises(ModelError, match="damaged"):
        tokens("a", silent, tokenizer=str(folder))
    with pytest.raises(ModelError, match="does not exist"):
        tokens("a", silent, tokenizer=str(tmp_path / "nowhere"))


def test_pieces_of_sentencepiece_are_text_and_bytes() -> None:
    vocab = [("<unk>", 0.0), ("\u2581the", -1.0), ("<0xE4>", -2.0)]
    backend = Tokenizer(models.Unigram(vocab, unk_id=0, byte_fallback=True))
    backend.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    pieces = Pieces(backend)
    assert [pieces.text(id) for id in (1, 2, 9)] == [" the", "\\xe4", "<id 9>"]
    assert pieces.raw(2) == b"\xe4"
