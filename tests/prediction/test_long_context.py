"""Long text: perplexity by position and pass keys are what the model itself says, and are told as they
are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from compiled_home import compiled_home
from saved_models import save, tokenizer_of
from tiny_run import text_of

from workbench.errors import DataError, ModelError, StorageError, UsageError
from workbench.prediction.long_context.passkeys import Passkeys, Prompt
from workbench.prediction.long_context.positions import by_position, positions, sliding
from workbench.prediction.long_context.retrieval import _cell
from workbench.prediction.long_context.scoring import Scorer
from workbench.prediction.long_context.statistics import by_document, clustered_mean, wilson
from workbench.prediction.long_context.windows import Windows, windows_of
from workbench.store import long_context

Ask = Callable[..., list[dict[str, Any]]]
TRAINED = 64


@pytest.fixture(autouse=True)
def compiled(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Compiled code is shared by all tests."""
    monkeypatch.setenv("WORKBENCH_HOME", str(compiled_home(tmp_path_factory)))


def rows_of(count: int, length: int) -> Any:
    return np.random.default_rng(0).integers(3, 200, (count, length))


def logprobs_of(model: Any, row: Any) -> Any:
    """Of all tokens of a row but the first, by the model's own logits."""
    ids = torch.from_numpy(row)[None]
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits[0, :-1]
    return logits.log_softmax(-1).gather(-1, ids[0, 1:, None])[:, 0].numpy()


@pytest.mark.parametrize(("name", "fuses"), [("Llama", True), ("Gemma2", False)])
def test_scores_are_those_of_the_logits_in_any_batches(tmp_path: Path, name: str, fuses: bool) -> None:
    model = save(tmp_path, name, num_key_value_heads=2, tokenizer=False)
    rows = rows_of(3, 40)
    one, all_at_once = Scorer(model, 1), Scorer(model, 10_000)
    assert one.fuses == fuses
    found, again = one.score(rows), all_at_once.score(rows)
    expected = np.stack([logprobs_of(model, row) for row in rows])
    np.testing.assert_allclose(found.logprobs, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(again.logprobs, found.logprobs, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        best = model(input_ids=torch.from_numpy(rows), use_cache=False).logits.argmax(-1)[:, :-1]
    np.testing.assert_array_equal(found.is_best, best.numpy() == rows[:, 1:])


def test_positions_lengths_and_sliding_windows_are_means_of_the_same_tokens(tmp_path: Path) -> None:
    model = save(tmp_path, "Llama", tokenizer=False)
    scorer, rows = Scorer(model, 512), rows_of(4, 64)
    texts = list(rows_of(2, 150))
    windows = Windows(rows, np.array([0, 0, 1, 2]), texts, [0, 1])
    nll = -np.stack([logprobs_of(model, row) for row in rows])
    read = positions(scorer, windows, [16, 64], 8, lambda done: None, moving=False)
    places = read.positions
    assert [(place["start"], place["end"]) for place in places][:2] == [(0, 8), (8, 16)]
    assert [place["tokens"] for place in places] == [4 * 7, *[4 * 8] * 7]
    whole = sum(place["nll"] * place["tokens"] for place in places) / sum(p["tokens"] for p in places)
    assert whole == pytest.approx(nll.mean(), rel=1e-4) == read.lengths[-1]["nll"]
    assert read.lengths[0]["nll"] == pytest.approx(nll[:, :15].mean(), rel=1e-4)
    assert read.lengths[1]["tail"]["nll"] == pytest.approx(nll[:, -16:].mean(), rel=1e-4)
    apart = positions(scorer, windows, [16, 64], 8, lambda done: None, moving=True)
    assert apart.lengths[0]["nll"] == pytest.approx(read.lengths[0]["nll"], rel=1e-4)
    slid = sliding(scorer, windows, [16, 64], 8, lambda done: None)
    assert len({entry["tokens"] for entry in slid}) == 1
    for entry in slid:
        length = entry["length"]
        own = [
            -logprobs_of(model, text[end - length : end])[-8:] for text in texts for end in range(72, 151, 8)
        ]
        assert entry["nll"] == pytest.approx(np.mean(own), rel=1e-4)


def test_intervals_are_over_documents() -> None:
    nll = np.repeat(np.random.default_rng(0).normal(3, 1, (30, 1)), 100, 1)
    alone = clustered_mean(*by_document(nll, np.arange(30)))
    low, high = alone["low"] or 0, alone["high"] or 0
    # Thirty documents of one value each: the standard error of thirty values, however many tokens they have.
    assert high - low == pytest.approx(2 * 1.96 * nll[:, 0].std() / 30**0.5, rel=0.15)
    assert clustered_mean(*by_document(nll, np.zeros(30, np.int64)))["low"] is None
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert by_position(np.ones((1, 3)), np.array([0]), 50)[-1]["end"] == 4


class Store:
    """Documents of these lengths, each of its own token."""

    def __init__(self, *lengths: int) -> None:
        self.lengths, self.num_documents = lengths, len(lengths)

    def document(self, index: int) -> Any:
        return np.full(self.lengths[index], index)


def test_windows_are_the_first_of_each_document_before_the_second_of_any() -> None:
    found = windows_of(Store(50, 10, 20, 45), 20, 5, 0)
    assert sorted(found.documents[:3].tolist()) == [0, 2, 3] and sorted(found.documents[3:].tolist()) == [
        0,
        3,
    ]
    assert found.rows.shape == (5, 20) and not found.joined
    assert all((row == document).all() for row, document in zip(found.rows, found.documents, strict=True))
    with pytest.raises(DataError, match="no document has 60 tokens: the longest of 4 has 50"):
        windows_of(Store(50, 10, 20, 45), 60, 5, 0)
    joined = windows_of(Store(50, 10, 20, 45, 55, 55), 60, 5, 0, join=True)
    assert joined.joined and len(joined.rows) >= 2 and joined.rows.shape[1] == 60


@pytest.mark.parametrize("style", ["classic", "text"])
def test_a_prompt_has_its_length_and_hides_its_key_where_it_should(style: Any) -> None:
    tokenizer = tokenizer_of()
    filler = tokenizer(text_of(1, 300), add_special_tokens=False)["input_ids"]
    passkeys = Passkeys(tokenizer, style, 5, filler)
    for depth in (0.0, 0.5, 1.0):
        prompt = passkeys.prompt(700, depth, (3, 1))
        assert len(prompt.ids) == 700
        text = tokenizer.decode(prompt.ids)
        assert text.endswith(f"The pass key is {prompt.key}") and len(prompt.key) == 5
        assert text.count(prompt.key) == 3
        assert tokenizer.decode(prompt.ids[-prompt.answer :]).strip() == prompt.key
        before, after = text.split(f"The pass key is {prompt.key}. Remember it.")
        ends = len(text) - len(
            "Remember it. 12345 is the pass key. What is the pass key? The pass key is 12345"
        )
        assert len(before) / ends == pytest.approx(depth, abs=0.3)
    again, other = passkeys.prompt(700, 1.0, (3, 1)), passkeys.prompt(700, 1.0, (4, 1))
    assert np.array_equal(again.ids, prompt.ids) and other.key != prompt.key
    with pytest.raises(UsageError, match="30 tokens are too few for a pass key: its prompt takes"):
        passkeys.prompt(30, 0.5, (0,))
    with pytest.raises(DataError, match="no text"):
        Passkeys(tokenizer, "text", 5)


def test_a_key_counts_as_found_where_greedy_decoding_writes_it(tmp_path: Path) -> None:
    model = save(tmp_path, "Llama", tokenizer=False)
    prompts = torch.from_numpy(rows_of(4, 30))
    written = model.generate(prompts, do_sample=False, max_new_tokens=4, min_new_tokens=4, pad_token_id=0)
    changed = written.clone()
    changed[1, -2] = (changed[1, -2] + 1) % 200
    for ids, hits in ((written, 4), (changed, 3)):
        rows = ids.numpy()
        cell = _cell(Scorer(model, 1000).score(rows), [Prompt(row, 4, "") for row in rows])
        assert (cell["exact"], cell["trials"]) == (hits, 4)
    assert 0.75 <= cell["token_accuracy"] < 1 and cell["logprob"] < 0


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """A model of 64 tokens of context, and three long documents."""
    save(tmp_path / "model", "Llama", num_key_value_heads=2, max_position_embeddings=TRAINED)
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text(text_of(number, 120))
    return str(tmp_path / "model")


def request_for(folder: str, **changes: Any) -> dict[str, Any]:
    parent = Path(folder).parent
    request: dict[str, Any] = {
        **{"model": folder, "recipe": None, "where": "", "sources": [str(parent / "*.txt")], "seed": 0},
        **{"methods": [{}], "lengths": None, "windows": 3, "join": False, "buckets": 4, "stride": None},
        **{"positions": True, "passkeys": True, "style": "text", "depths": 3, "trials": 2, "digits": 2},
        **{"batch_tokens": 4096, "device": "cpu"},
    }
    return request | changes


def test_a_model_is_read_by_every_method_and_the_result_kept_and_shown(folder: str, ask: Ask) -> None:
    methods = [{}, *({"method": method, "factor": None} for method in ("linear", "ntk", "dynamic", "yarn"))]
    lengths = [128, 256]
    *_, result = ask("long_context", **request_for(folder, methods=methods, lengths=lengths, stride=32))
    assert result["event"] == "result" and (result["context"], result["trained"]) == (TRAINED, TRAINED)
    assert [variant["factor"] for variant in result["variants"]] == [None, *[4.0] * 4]
    assert [variant["context"] for variant in result["variants"]] == [TRAINED, *[4 * TRAINED] * 4]
    for variant in result["variants"]:
        assert variant["positions"][-1]["end"] == 256 and len(variant["passkeys"]) == 6
        assert [entry["length"] for entry in variant["lengths"]] == lengths
    whole = [round(variant["lengths"][-1]["nll"], 6) for variant in result["variants"]]
    assert len(set(whole)) == 5
    yarn = result["variants"][4]
    assert yarn["difference"]["nll"] == pytest.approx(whole[4] - whole[0], abs=1e-5)
    kept = long_context.save({key: value for key, value in result.items() if key != "event"}, folder, None)
    assert long_context.find("model").content == kept.content and kept.number == 1


def test_of_lengths_that_nobody_named_pass_keys_take_those_that_hold_one(folder: str, ask: Ask) -> None:
    *_, result = ask("long_context", **request_for(folder, methods=[{"method": "yarn", "factor": 4.0}]))
    assert result["lengths"] == [16, 32, 64, 128, 256]
    (variant,) = result["variants"]
    asked = {cell["length"] for cell in variant["passkeys"]}
    assert 256 in asked and asked < {64, 128, 256}


def test_what_cannot_be_read_is_refused_before_it_is_begun(folder: str, ask: Ask, tmp_path: Path) -> None:
    def refused(kind: type[Exception], words: str, where: str = folder, **changes: Any) -> None:
        with pytest.raises(kind, match=words):
            ask("long_context", **request_for(where, **changes))

    refused(UsageError, "too short to say anything", lengths=[8, 128])
    refused(UsageError, "--stride 64 must be less than the shortest length, 64", lengths=[64], stride=64)
    refused(UsageError, "--rope-factor 0.5 would shorten", methods=[{"method": "yarn", "factor": 0.5}])
    refused(DataError, "no document has 5,000 tokens", lengths=[5000])
    refused(UsageError, "too few for a pass key", lengths=[40], digits=12)
    table = str(tmp_path / "gpt2")
    save(Path(table), "GPT2", head="LMHeadModel")
    refused(ModelError, "150 tokens do not fit into its context of 128", table, lengths=[150])
    refused(ModelError, "a learned table", table, methods=[{"method": "yarn"}])
    encoder = str(tmp_path / "bert")
    save(Path(encoder), "Bert", head="ForMaskedLM")
    refused(ModelError, "does not predict the next token", encoder, lengths=[64])


def test_texts_to_learn_from_fit_and_tell_their_key(folder: str, ask: Ask, tmp_path: Path) -> None:
    out = tmp_path / "keys.jsonl"
    given: dict[str, Any] = {"output": str(out), "tokenizer": folder, "count": 20, "digits": 3, "seed": 1}
    given |= {"sources": [str(tmp_path / "*.txt")], "style": "text", "recipe": None, "where": ""}
    *_, result = ask("passkey_texts", **given, shortest=150, longest=200, kind="text")
    records = [json.loads(line) for line in out.read_text().splitlines()]
    tokenizer = tokenizer_of()
    sizes = [len(tokenizer(record["text"])["input_ids"]) for record in records]
    assert len(records) == 20 and result["longest"] == max(sizes) and min(sizes) >= 140 and max(sizes) <= 210
    for record in records:
        key = record["text"].rpartition(" ")[2].rstrip(".")
        assert len(key) == 3 and record["text"].count(f"The pass key is {key}.") == 2
    ask("passkey_texts", **given, shortest=150, longest=200, kind="prompt_completion")
    pair = json.loads(out.read_text().splitlines()[0])
    assert pair["prompt"] + pair["completion"] == records[0]["text"]
    with pytest.raises(UsageError, match="50 tokens are too few"):
        ask("passkey_texts", **given, shortest=30, longest=50, kind="text")
    with pytest.raises(StorageError):
        ask("passkey_texts", **given | {"output": str(out / "x")}, shortest=150, longest=200, kind="text")
