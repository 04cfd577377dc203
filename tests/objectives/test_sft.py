"""What is learnt from conversations: nothing but answers, each token once, packed or not the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from family_templates import OWN, tokenizer_of
from ranked_answers import WORDS, small_config
from transformers import LlamaForCausalLM

from workbench.data.records.encoding import encode_records
from workbench.data.records.reading import Record
from workbench.data.records.turns import sft
from workbench.objectives.base import Batch
from workbench.objectives.sft import SupervisedFineTuning
from workbench.recipe import Recipe

LENGTH = 128


def talks(count: int) -> list[dict[str, Any]]:
    """Conversations of one or two questions, of uneven length."""
    found = []
    for number in range(count):
        turns = []
        for turn in range(1 + number % 2):
            asked = " ".join(WORDS[: 1 + (number + turn) % 5])
            said = " ".join(WORDS[: 1 + (3 * number + turn) % 9])
            turns += [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
        found.append({"messages": turns})
    return found


TOKENIZER = tokenizer_of("llama3", OWN["llama3"])


def store_of(records: list[dict[str, Any]], length: int = LENGTH, tokenizer: Any = TOKENIZER) -> Any:
    checked = [sft(Record(record, f"talks.jsonl:{n}")) for n, record in enumerate(records, 1)]
    places = [f"talks.jsonl:{n}" for n in range(1, len(records) + 1)]
    return encode_records(checked, tokenizer, "sft", length, (), "train", None, places)


def objective_of(**data: Any) -> SupervisedFineTuning:
    given = {"packing": True, "max_length": LENGTH, **data}
    recipe = Recipe(
        objective={"name": "sft", "completion_only_loss": given.pop("completion_only_loss", True)},
        model={"family": "llama", "model_name_or_path": "m"},
        data=given,
        training={"per_device_train_batch_size": 4},
    )
    return SupervisedFineTuning(recipe, TOKENIZER)


def model_of() -> Any:
    torch.manual_seed(0)
    return LlamaForCausalLM(small_config(TOKENIZER)).eval()


def loss_of(objective: SupervisedFineTuning, model: Any, batches: list[Batch]) -> tuple[Any, int]:
    model.zero_grad()
    count = sum(batch.counts[0] for batch in batches)
    total = sum(
        objective.loss(model, objective.tensors(batch, torch.device("cpu")), batch).sums[0]
        for batch in batches
    )
    (total / count).backward()  # type: ignore[union-attr]
    return total, count


def test_only_what_the_assistant_says_is_a_target() -> None:
    store = store_of(talks(7))
    rows = objective_of(packing=False, shuffle=False).rows(store, LENGTH, training=True)
    batch = rows.batch(0, 7)
    for row, record in enumerate(talks(7)):
        targets = [token for token in batch.arrays["targets"][row].tolist() if token >= 0]
        said = "".join(f"{m['content']}<|eot_id|>" for m in record["messages"] if m["role"] == "assistant")
        assert TOKENIZER.decode(targets) == said
    assert batch.counts == (int((batch.arrays["targets"] >= 0).sum()),)


def test_the_loss_is_that_of_transformers_with_labels() -> None:
    store, model = store_of(talks(5)), model_of()
    objective = objective_of(packing=False, shuffle=False)
    batch = objective.rows(store, LENGTH, training=True).batch(0, 5)
    total, count = loss_of(objective, model, [batch])
    width = batch.arrays["input_ids"].shape[1]
    labels = torch.full((5, width), -100)
    mask = torch.zeros(5, width, dtype=torch.int64)
    for row in range(5):
        begin, end = store.offsets[row : row + 2]
        labels[row, : end - begin] = torch.tensor(store.token_labels[begin:end])
        mask[row, : end - begin] = 1
    ids = torch.tensor(batch.arrays["input_ids"])
    expected = model(input_ids=ids, attention_mask=mask, labels=labels).loss
    torch.testing.assert_close(total / count, expected, rtol=1e-6, atol=0)


def test_packed_rows_give_the_loss_and_gradients_of_records_on_their_own() -> None:
    store, model = store_of(talks(40)), model_of()
    packed = objective_of()
    rows = packed.rows(store, LENGTH, training=True)
    number = rows.rows_per_epoch(0)
    assert number < 30
    batches = [rows.batch(start, min(3, number - start)) for start in range(0, number, 3)]
    together, count = loss_of(packed, model, batches)
    found = [p.grad.clone() for p in model.parameters()]
    alone = objective_of(packing=False)
    single = alone.rows(store, LENGTH, training=True)
    apart, same = loss_of(alone, model, [single.batch(start, 1) for start in range(40)])
    assert count == same
    torch.testing.assert_close(together, apart, rtol=1e-6, atol=0)
    for mine, parameter in zip(found, model.parameters(), strict=True):
        torch.testing.assert_close(mine, parameter.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("packing", [True, False])
def test_every_record_once_an_epoch_and_always_the_same(packing: bool) -> None:
    store = store_of(talks(40))
    rows = objective_of(packing=packing).rows(store, LENGTH, training=True)
    orders = []
    for epoch in range(3):
        first = sum(rows.rows_per_epoch(number) for number in range(epoch))
        batch = rows.batch(first, rows.rows_per_epoch(epoch))
        targets = batch.arrays["targets"]
        assert batch.counts[0] == int((store.token_labels >= 0).sum())
        orders.append(targets)
        again = objective_of(packing=packing).rows(store, LENGTH, training=True)
        assert np.array_equal(again.batch(first, 3).arrays["targets"], rows.batch(first, 3).arrays["targets"])
    assert orders[0].shape != orders[1].shape or not np.array_equal(orders[0], orders[1])
    across = rows.batch(rows.rows_per_epoch(0) - 1, 2)
    assert np.array_equal(across.arrays["targets"][0][:8], orders[0][-1][:8])


def test_answers_that_are_cut_away_are_left_out_and_counted() -> None:
    long = {"role": "user", "content": " ".join(WORDS * 20)}
    records = [*talks(3), {"messages": [long, {"role": "assistant", "content": "yes"}]}]
    store = store_of(records)
    assert len(store) == 3 and store.unanswered == 1 and store.truncated == 1
    cut = {"messages": [talks(1)[0]["messages"][0], {"role": "assistant", "content": " ".join(WORDS * 20)}]}
    store = store_of([cut])
    assert len(store) == 1 and store.unanswered == 0 and store.truncated == 1
    assert len(store.input_ids) == LENGTH


def test_everything_can_be_predicted() -> None:
    store = store_of(talks(6))
    for packing in (True, False):
        rows = objective_of(packing=packing, completion_only_loss=False).rows(store, LENGTH, training=True)
        total = sum(rows.batch(start, 1).counts[0] for start in range(rows.rows_per_epoch(0)))
        assert total == len(store.input_ids) - 6


def test_without_a_template_prompts_and_completions_are_plain_text() -> None:
    plain = tokenizer_of("llama3", None)
    store = store_of([{"prompt": "2+2 is", "completion": " four"}], tokenizer=plain)
    labels = [token for token in store.token_labels.tolist() if token >= 0]
    assert plain.decode(labels) == " four<|eot_id|>"
    assert plain.decode(store.input_ids.tolist()) == "2+2 is four<|eot_id|>"


def test_pad_may_be_the_end_of_a_turn() -> None:
    tokenizer = tokenizer_of("llama3", OWN["llama3"])
    tokenizer.pad_token = tokenizer.eos_token
    store = store_of(talks(4), tokenizer=tokenizer)
    rows = objective_of(packing=False, shuffle=False).rows(store, LENGTH, training=True)
    batch = rows.batch(0, 4)
    ends = int((batch.arrays["targets"] == tokenizer.eos_token_id).sum())
    assert ends == sum(len(record["messages"]) // 2 for record in talks(4))


def test_samples_are_asked_as_the_records_are() -> None:
    objective = objective_of()
    assert objective.prompt_of("2+2?") == TOKENIZER.apply_chat_template(
        [{"role": "user", "content": "2+2?"}], tokenize=False, add_generation_prompt=True
    )
    assert objective.default_prompts(store_of(talks(9))) == ["one", "one two", "one two three"]
