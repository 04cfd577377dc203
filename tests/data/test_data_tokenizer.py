"""The trained tokenizer gives back any text; existing ones keep their own ways."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workbench.data import Prepared
from workbench.data.encode import pieces
from workbench.data.framing import Frame, frame_for
from workbench.data.tokenizer import PROBES, Encoder, load_tokenizer
from workbench.errors import ModelError

PrepareData = Callable[..., Prepared]

NASTY = [
    "",
    " ",
    "  leading, trailing  ",
    "\t\n\r\n\x0b\x0c\x85\u2028\u2029",
    "\x00\x01\x7f\ufeff\ufffd",
    "e\u0301 \u00e9 \u1e9b\u0323 \ufb01",
    "👩‍👩‍👧‍👦🏳️‍🌈🧑🏽‍🚀",
    "العربية עברית हिन्दी ไทย 中文 日本語 한국어",
    "\u200b\u200d\u202e\u2066",
    "\U0010ffff\ud7ff\ue000",
    "<|bos|> <|eos|><|pad|> <|bos",
    "a  b   c\n\n\nd",
    "It's we'll they'd 'S",
]


@pytest.fixture
def stdlib(prepare_data: PrepareData) -> Prepared:
    return prepare_data(sources={"path": "stdlib:", "limit": 30}, vocab_size=1000)


def random_text(rng: random.Random) -> str:
    pools = ["ab \n", "\t\r\n  .", "äöü€", "中文字", "🧪🙂‍", "".join(NASTY)]
    pool = "".join(rng.sample(pools, 3))
    return "".join(rng.choice(pool) for _ in range(rng.randrange(200)))


def test_any_text_comes_back_exactly(stdlib: Prepared) -> None:
    rng = random.Random(0)
    for text in [*NASTY, *(random_text(rng) for _ in range(500))]:
        ids = stdlib.tokenizer(text, add_special_tokens=False)["input_ids"]
        assert stdlib.tokenizer.decode(ids) == text


def test_the_vocabulary_is_as_large_as_asked(stdlib: Prepared) -> None:
    tokenizer = stdlib.tokenizer
    assert len(tokenizer) == 1000
    assert stdlib.report["vocab_size"] == 1000
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (0, 1, 2)
    assert tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id


def test_of_little_text_the_vocabulary_is_smaller(tmp_path: Path, prepare_data: PrepareData) -> None:
    (tmp_path / "a.txt").write_text("abab abab\n" * 9)
    assert 259 < prepare_data(sources=str(tmp_path / "a.txt"), vocab_size=4096).report["vocab_size"] < 300


def test_documents_begin_with_bos_and_end_with_eos(stdlib: Prepared) -> None:
    for index in range(stdlib.train.num_documents):
        document = stdlib.train.document(index)
        assert (document[0], document[-1]) == (0, 1)
        assert not {0, 1, 2} & set(document[1:-1].tolist())


def test_only_training_text_shapes_the_tokenizer(tmp_path: Path, prepare_data: PrepareData) -> None:
    (tmp_path / "train.txt").write_text("the cat sat on the mat\n" * 50)
    (tmp_path / "eval.txt").write_text("xylophone " * 50)
    prepared = prepare_data(sources=str(tmp_path / "train.txt"), eval_sources=str(tmp_path / "eval.txt"))
    vocabulary = prepared.tokenizer.get_vocab()
    assert "Ġcat" in vocabulary
    assert not any("xy" in token for token in vocabulary)


def test_a_saved_tokenizer_loads_as_any_other_and_is_the_same(
    tmp_path: Path, stdlib: Prepared, prepare_data: PrepareData
) -> None:
    folder = tmp_path / "final"
    stdlib.tokenizer.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    loaded = load_tokenizer(str(folder), revision=None, trust_remote_code=False)
    text = "def f(x):\n    return x + 1  # ü"
    assert loaded(text)["input_ids"] == stdlib.tokenizer(text)["input_ids"]
    assert loaded.decode(loaded(text)["input_ids"], skip_special_tokens=True) == text

    fields: dict[str, Any] = {"sources": {"path": "stdlib:", "limit": 30}}
    by_model = prepare_data(model_name_or_path=str(folder), **fields)
    by_name = prepare_data(tokenizer_name_or_path=str(folder), model_name_or_path="none/such", **fields)
    assert by_model.report["tokenizer"] == by_name.report["tokenizer"] == str(folder)
    assert (by_model.train.tokens == stdlib.train.tokens).all()
    assert by_name.report["cached"]


def encoder_of(tokenizer: Any) -> Encoder:
    return Encoder(tokenizer, frame_for("clm", tokenizer))


def test_bos_and_eos_are_only_set_where_the_tokenizer_has_them(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1, "a": 2, "<unk>": 3}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.enable_truncation(1)
    bare = encoder_of(PreTrainedTokenizerFast(tokenizer_object=backend))
    assert bare.frame == Frame()
    named = encoder_of(PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>"))
    assert named.frame == Frame((), (1,))
    assert named.encode(["a a a"]) == [[2, 2, 2]]
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    backend.no_truncation()
    sets = encoder_of(PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>"))
    assert sets.frame == Frame((0,))


def test_pieces_of_a_long_text_give_the_tokens_of_the_whole(stdlib: Prepared) -> None:
    text = "".join(path.read_text() for path in sorted(Path(json.__file__).parent.glob("*.py")))
    text += "no line ends here " * 9000 + "x" * 70_000
    encoder = encoder_of(stdlib.tokenizer)
    assert encoder.may_cut()
    parts = pieces(text)
    assert len(parts) > 4
    assert "".join(parts) == text
    assert [token for ids in encoder.encode(parts) for token in ids] == encoder.encode([text])[0]


def test_a_tokenizer_that_puts_a_blank_before_each_text_is_given_whole_texts() -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(set("".join(PROBES)) | {"▁"})
    backend = Tokenizer(models.BPE({letter: number for number, letter in enumerate(letters)}, []))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    assert not encoder_of(PreTrainedTokenizerFast(tokenizer_object=backend)).may_cut()


def test_a_tokenizer_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name, message in [
        (str(tmp_path / "none"), "does not exist"),
        (str(tmp_path / "empty"), "no tokenizer that can be loaded"),
        ("someone/model", "cannot be had"),
    ]:
        with pytest.raises(ModelError, match=message) as caught:
            load_tokenizer(name, revision=None, trust_remote_code=False)
        assert caught.value.where == name
        assert caught.value.hint


def test_a_tokenizer_without_a_fast_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow:
        is_fast = False

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", lambda *names, **options: Slow())
    with pytest.raises(ModelError, match="“Slow” has no fast version"):
        load_tokenizer("someone/model", revision=None, trust_remote_code=False)
