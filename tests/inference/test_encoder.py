"""Vectors and the answers of heads, the same for a text whatever it is asked with."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from saved_models import WORDS, save
from task_records import TaskSetting, record_of

from workbench.errors import DataError, ModelError
from workbench.inference.engine.encoder import Encoder
from workbench.inference.engine.encoder_heads import entities
from workbench.inference.loading.load import load_for_inference
from workbench.training.checkpoint import save_model

CLOSE = 1e-5


def open_encoder(folder: Path) -> Encoder:
    return Encoder(load_for_inference(str(folder), device="cpu", dtype="float32"))


def texts_of(count: int, longest: int = 40) -> list[str]:
    chance = random.Random(0)
    return [" ".join(chance.choices(WORDS, k=chance.randint(1, longest))) for _ in range(count)]


@pytest.fixture
def bert(tmp_path: Path) -> Any:
    return save(tmp_path, "Bert", head="Model", framed=True)


def hidden_of(encoder: Encoder, model: Any, text: str) -> torch.Tensor:
    """[L, D] of a text by itself."""
    ids = torch.tensor([encoder.loaded.tokenizer(text)["input_ids"]])
    with torch.no_grad():
        hidden: torch.Tensor = model(input_ids=ids).last_hidden_state[0]
    return hidden


def sentence_transformers(folder: Path, pooling: dict[str, Any], *more: str, **settings: Any) -> None:
    """The files that say how vectors of texts are made."""
    names = ["Transformer", "Pooling", *more]
    modules = [
        {"idx": place, "name": str(place), "path": f"{place}_{name}" if place else "", "type": f"st.{name}"}
        for place, name in enumerate(names)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    for name, content in settings.items():
        (folder / f"{name}.json").write_text(json.dumps(content))


def test_without_a_word_it_is_the_mean_over_tokens(bert: Any, tmp_path: Path) -> None:
    encoder = open_encoder(tmp_path)
    texts = texts_of(20)
    found = encoder.embed(texts)
    assert found.shape == (20, 64) and found.dtype == torch.float32
    for text, vector in zip(texts, found, strict=True):
        torch.testing.assert_close(vector, hidden_of(encoder, bert, text).mean(0), rtol=0, atol=CLOSE)


def last(hidden: torch.Tensor) -> torch.Tensor:
    return hidden[-1]


def weighted(hidden: torch.Tensor) -> torch.Tensor:
    weights = torch.arange(1, len(hidden) + 1)[:, None]
    return (hidden * weights).sum(0) / weights.sum()


MODES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "pooling_mode_cls_token": lambda hidden: hidden[0],
    "pooling_mode_max_tokens": lambda hidden: hidden.amax(0),
    "pooling_mode_mean_tokens": lambda hidden: hidden.mean(0),
    "pooling_mode_mean_sqrt_len_tokens": lambda hidden: hidden.sum(0) / len(hidden) ** 0.5,
    "pooling_mode_lasttoken": last,
    "pooling_mode_weightedmean_tokens": weighted,
}


@pytest.mark.parametrize("mode", MODES)
def test_ways_of_pooling(bert: Any, tmp_path: Path, mode: str) -> None:
    sentence_transformers(tmp_path, {mode: True, "pooling_mode_of_the_future": False})
    encoder = open_encoder(tmp_path)
    texts = texts_of(7)
    for text, vector in zip(texts, encoder.embed(texts), strict=True):
        torch.testing.assert_close(vector, MODES[mode](hidden_of(encoder, bert, text)), rtol=0, atol=CLOSE)


def test_pooling_that_is_named_joined_mapped_and_normalized(bert: Any, tmp_path: Path) -> None:
    sentence_transformers(tmp_path, {"pooling_mode": ["cls", "mean"]}, "Dense", "Normalize")
    layer = torch.nn.Linear(128, 10)
    folder = tmp_path / "2_Dense"
    folder.mkdir()
    (folder / "config.json").write_text(
        json.dumps({"activation_function": "torch.nn.modules.activation.Tanh"})
    )
    weights = {"linear.weight": layer.weight.detach(), "linear.bias": layer.bias.detach()}
    save_file(weights, folder / "model.safetensors")
    encoder = open_encoder(tmp_path)
    (found,) = encoder.embed(["the red fox"])
    hidden = hidden_of(encoder, bert, "the red fox")
    with torch.no_grad():
        wanted = torch.tanh(layer(torch.cat([hidden[0], hidden.mean(0)])))
    torch.testing.assert_close(found, wanted / wanted.norm(), rtol=0, atol=CLOSE)
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="behind the pooling"):
        open_encoder(tmp_path)


def test_prompts_case_and_length_are_those_of_the_files(bert: Any, tmp_path: Path) -> None:
    sentence_transformers(
        tmp_path,
        {"pooling_mode_mean_tokens": True},
        sentence_bert_config={"max_seq_length": 9, "do_lower_case": True},
        config_sentence_transformers={
            "prompts": {"query": "Ada and ", "document": ""},
            "default_prompt_name": "document",
        },
    )
    encoder = open_encoder(tmp_path)
    assert encoder.max_length == 9
    shouted, plain, asked, whole = encoder.embed(
        ["THE RED FOX", "the red fox", "ada and the fox", "the " * 99]
    )
    torch.testing.assert_close(shouted, plain)
    torch.testing.assert_close(encoder.embed(["the fox"], prompt="query")[0], asked)
    torch.testing.assert_close(whole, encoder.embed(["the " * 7])[0])
    with pytest.raises(ModelError, match="no prompt") as caught:
        encoder.embed(["a"], prompt="passage")
    assert caught.value.hint == "it knows query, document"


@pytest.mark.parametrize(
    ("pooling", "more", "said"),
    [
        ({"pooling_mode": "attention"}, (), "attention"),
        ({}, (), "none is named"),
        ({"pooling_mode_mean_tokens": True, "include_prompt": False}, (), "leaves out the prompt"),
        ({"pooling_mode_mean_tokens": True}, ("LSTM",), "LSTM"),
    ],
)
def test_vectors_that_cannot_be_made(
    bert: Any, tmp_path: Path, pooling: dict[str, Any], more: tuple[str, ...], said: str
) -> None:
    sentence_transformers(tmp_path, pooling, *more)
    with pytest.raises(ModelError, match=said):
        open_encoder(tmp_path)


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("Bert", "ForMaskedLM"),
        ("Roberta", "Model"),
        ("Electra", "ForPreTraining"),
        ("T5", "EncoderModel"),
        ("T5", "ForConditionalGeneration"),
        ("Llama", "ForCausalLM"),
        ("GPT2", "LMHeadModel"),
        ("XLNet", "LMHeadModel"),
    ],
)
def test_a_text_has_one_vector_whatever_it_is_asked_with(tmp_path: Path, name: str, head: str) -> None:
    save(tmp_path, name, head=head, scale=1.0 if name == "T5" else 2.0)
    encoder = open_encoder(tmp_path)
    texts = [*texts_of(90), ""]
    found = encoder.embed(texts)
    assert bool(found.isfinite().all())
    assert float((found[:-1] - found[1:]).abs().max(1).values.min()) > 100 * CLOSE, "texts differ"
    again = encoder.embed(texts[::-1]).flip(0)
    torch.testing.assert_close(again, found, rtol=0, atol=CLOSE)
    for number in (0, 17, 90):
        torch.testing.assert_close(encoder.embed([texts[number]])[0], found[number], rtol=0, atol=CLOSE)
    assert encoder.embed([]).numel() == 0


def test_of_a_decoder_it_is_the_last_token(tmp_path: Path) -> None:
    model = save(tmp_path, "Llama")
    encoder = open_encoder(tmp_path)
    texts = texts_of(5)
    for text, vector in zip(texts, encoder.embed(texts), strict=True):
        wanted = hidden_of(encoder, model.model, text)[-1]
        torch.testing.assert_close(vector, wanted, rtol=0, atol=CLOSE)


def test_masks_are_filled(tmp_path: Path) -> None:
    model = save(tmp_path, "Bert", head="ForMaskedLM", framed=True)
    encoder = open_encoder(tmp_path)
    tokenizer = encoder.loaded.tokenizer
    texts = ["the [MASK] fox", "Ada lives in <mask> and [MASK] runs", *(f"{t} [MASK]" for t in texts_of(20))]
    found = encoder.fill_mask(texts, top_k=3)
    assert [len(masks) for masks in found] == [1, 2] + [1] * 20
    for text, masks in zip(texts, found, strict=True):
        ids = tokenizer(text.replace("<mask>", "[MASK]"))["input_ids"]
        with torch.no_grad():
            shares = model(input_ids=torch.tensor([ids])).logits[0].softmax(-1)
        places = [place for place, token in enumerate(ids) if token == tokenizer.mask_token_id]
        for place, candidates in zip(places, masks, strict=True):
            best = shares[place].topk(3)
            assert [entry["token"] for entry in candidates] == best.indices.tolist()
            assert [entry["score"] for entry in candidates] == pytest.approx(best.values.tolist(), abs=CLOSE)
    first = found[0][0][0]
    assert first["token_str"] == tokenizer.decode([first["token"]]).strip()
    assert "the" in first["sequence"] and "[CLS]" not in first["sequence"]
    assert found[1][0][0]["sequence"].count("[MASK]") == 1, "the other mask is left"
    json.dumps(found)
    with pytest.raises(DataError, match="no mask to fill in text 2"):
        encoder.fill_mask(["a [MASK]", "no mask"])


@pytest.fixture(scope="module")
def trained() -> Callable[[str], TaskSetting]:
    """A setting of a task whose model has learnt a little."""
    made: dict[str, TaskSetting] = {}

    def make(task: str) -> TaskSetting:
        if task not in made:
            setting = TaskSetting(task)
            optimizer = torch.optim.AdamW(setting.model.parameters(), lr=5e-3)
            for step in range(10):
                setting.mean_loss(setting.rows.batch(step * 12, 12)).backward()
                optimizer.step()
                optimizer.zero_grad()
            made[task] = setting
        return made[task]

    return make


def answers_of(setting: TaskSetting, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As `workbench predict` answers."""
    with torch.inference_mode():
        return list(setting.objective.answers(setting.model.eval(), records, 64, 4))


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_labels_are_those_that_predicting_gives(
    tmp_path: Path, trained: Callable[[str], TaskSetting], task: str
) -> None:
    setting = trained(task)
    save_model(tmp_path, setting.model, setting.tokenizer)
    encoder = open_encoder(tmp_path)
    texts = [str(record_of("classification", number)["text"]) for number in range(30)]
    wanted = answers_of(setting, [{"text": text} for text in texts])
    found = encoder.classify(texts)
    json.dumps(found)
    for ours, theirs in zip(found, wanted, strict=True):
        if task == "regression":
            assert ours == {"score": pytest.approx(theirs["prediction"], abs=1e-4)}
        else:
            assert ours["label"] == theirs["prediction"]
            assert ours["scores"] == pytest.approx(theirs["scores"], abs=1e-4)
            assert sum(ours["scores"].values()) == pytest.approx(1)
            assert ours["score"] == max(ours["scores"].values()) == next(iter(ours["scores"].values()))
    for text, ours in zip(texts, found, strict=True):
        assert encoder.classify([text])[0]["score"] == pytest.approx(ours["score"], abs=CLOSE)


def test_entities_are_those_of_the_words(tmp_path: Path, trained: Callable[[str], TaskSetting]) -> None:
    setting = trained("tagging")
    save_model(tmp_path, setting.model, setting.tokenizer)
    encoder = open_encoder(tmp_path)
    records = [record_of("tagging", number) for number in range(30)]
    wanted = answers_of(setting, records)
    texts = [" ".join(record["tokens"]) for record in records]
    for text, found, answer in zip(texts, encoder.classify(texts), wanted, strict=True):
        words, place = [], 0
        for word, tag, score in zip(answer["tokens"], answer["prediction"], answer["scores"], strict=True):
            words.append((place, place + len(word), tag, score))
            place += len(word) + 1
        expected = entities(words, text, setting.labels)
        assert [without_score(entity) for entity in found] == [without_score(entity) for entity in expected]
        assert [e["score"] for e in found] == pytest.approx([e["score"] for e in expected], abs=1e-4)
    assert any(encoder.classify(texts))


def without_score(entity: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entity.items() if name != "score"}


TEXT = "Ada Lovelace lives in New York City, Rome"
SPANS = [(0, 3), (4, 12), (13, 18), (19, 21), (22, 25), (26, 30), (31, 35), (35, 36), (37, 41)]


@pytest.mark.parametrize(
    ("tags", "wanted"),
    [
        ("B-PER I-PER O O B-LOC I-LOC I-LOC O B-LOC", "PER:Ada Lovelace LOC:New York City LOC:Rome"),
        ("B-PER B-PER O O O O O O O", "PER:Ada PER:Lovelace"),
        ("I-PER I-PER O O I-LOC I-LOC I-LOC O O", "PER:Ada Lovelace LOC:New York City"),
        ("B-PER I-LOC O O O O O O O", "PER:Ada LOC:Lovelace"),
        ("O O O O O O O O O", ""),
    ],
)
def test_words_of_one_entity_are_joined(tags: str, wanted: str) -> None:
    words = [(start, end, tag, 0.5) for (start, end), tag in zip(SPANS, tags.split(), strict=True)]
    found = entities(words, TEXT, ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"])
    assert " ".join(f"{entity['label']}:{entity['text']}" for entity in found) == wanted
    assert all(TEXT[entity["start"] : entity["end"]] == entity["text"] for entity in found)


def test_tags_that_mark_no_entities_stay_one_a_word() -> None:
    words = [(0, 3, "NOUN", 0.75), (3, 12, "NOUN", 0.25)]
    found = entities(words, TEXT, ["NOUN", "VERB"])
    assert [(entity["label"], entity["text"]) for entity in found] == [("NOUN", "Ada"), ("NOUN", "Lovelace")]
    assert found[1]["start"] == 4, "the blank before a word is not of it"


def test_labels_that_do_not_shut_each_other_out(tmp_path: Path) -> None:
    save(
        tmp_path,
        "Bert",
        head="ForSequenceClassification",
        num_labels=3,
        problem_type="multi_label_classification",
    )
    encoder = open_encoder(tmp_path)
    (found,) = encoder.classify(["the red fox"])
    ids = torch.tensor([encoder.loaded.tokenizer("the red fox")["input_ids"]])
    with torch.no_grad():
        shares = encoder.loaded.model(input_ids=ids).logits[0].sigmoid().tolist()
    assert found["scores"] == pytest.approx({f"LABEL_{n}": share for n, share in enumerate(shares)})


@pytest.mark.parametrize(
    ("name", "changes"),
    [("XLNet", {}), ("GPT2", {}), ("GPT2", {"pad_token_id": None}), ("Bart", {"d_model": 64})],
)
def test_a_head_may_sum_up_in_any_token(tmp_path: Path, name: str, changes: dict[str, Any]) -> None:
    save(tmp_path, name, head="ForSequenceClassification", num_labels=3, **changes)
    encoder = open_encoder(tmp_path)
    # Bart's looks at the last end of a text.
    texts = [f"{text}</s>" for text in texts_of(12)]
    together = encoder.classify(texts)
    for text, answer in zip(texts, together, strict=True):
        assert encoder.classify([text])[0]["scores"] == pytest.approx(answer["scores"], abs=CLOSE)
    assert len({answer["score"] for answer in together}) > 6


@pytest.mark.parametrize(
    ("head", "asked", "instead"),
    [
        ("ForMaskedLM", "classify", "/v1/fill-mask"),
        ("ForSequenceClassification", "fill_mask", "/v1/classify"),
        ("Model", "classify", "/v1/embeddings"),
    ],
)
def test_a_head_that_is_not_there(tmp_path: Path, head: str, asked: str, instead: str) -> None:
    save(tmp_path, "Bert", head=head)
    with pytest.raises(ModelError, match="no head for this") as caught:
        getattr(open_encoder(tmp_path), asked)(["a [MASK]"])
    assert instead in caught.value.hint


def test_several_threads_may_ask_at_once(bert: Any, tmp_path: Path) -> None:
    encoder = open_encoder(tmp_path)
    texts = texts_of(40)
    wanted = encoder.embed(texts)

    def ask(number: int) -> torch.Tensor:
        return encoder.embed(texts[number:])

    with ThreadPoolExecutor(8) as pool:
        for number, found in enumerate(pool.map(ask, range(30))):
            torch.testing.assert_close(found, wanted[number:], rtol=0, atol=CLOSE)
