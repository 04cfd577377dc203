"""Tasks: the loss is transformers' own, every head learns, answers come back to words and characters."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from task_records import FAMILIES, TASKS, TaskSetting

from workbench.errors import DataError
from workbench.models.adapt import adapt
from workbench.objectives.task import inputs_of
from workbench.recipe import TuningSection


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("task", TASKS)
def test_the_loss_is_transformers_own(task: str, family: str) -> None:
    setting = TaskSetting(task, family)
    batch = setting.rows.batch(0, 8)
    tensors = setting.tensors(batch)
    known = inputs_of(setting.model)
    assert ("token_type_ids" in known) == (family != "modernbert")
    targets = {name: tensors[name] for name in setting.objective.targets}
    given = {name: tensors[name] for name in known if name in tensors} | targets
    if task == "span_extraction":
        # Theirs has padding among the places where an answer may be.
        theirs = torch.stack([loss_without_padding(setting.model, given, row) for row in range(8)]).mean()
    else:
        theirs = setting.model(**given).loss
    assert float(setting.mean_loss(batch).detach()) == pytest.approx(float(theirs.detach()), abs=1e-5)


def loss_without_padding(model: Any, given: dict[str, torch.Tensor], row: int) -> torch.Tensor:
    """transformers' loss of one row of `given` that has lost its padding."""
    real = given["attention_mask"][row].bool()
    own = {name: tensor[row : row + 1] for name, tensor in given.items()}
    own = {
        name: tensor - real.int().argmax() if tensor.ndim == 1 else tensor[:, real]
        for name, tensor in own.items()
    }
    loss: torch.Tensor = model(**own).loss
    return loss


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("task", TASKS[:3])
def test_rows_do_not_depend_on_their_padding(task: str, family: str) -> None:
    setting = TaskSetting(task, family)
    batch = setting.held_out.batch(0, 8)
    single = [setting.held_out.batch(row, 1) for row in range(8)]
    assert any(one.arrays["input_ids"].shape[1] < batch.arrays["input_ids"].shape[1] for one in single)
    assert batch.counts[0] == sum(one.counts[0] for one in single)
    assert batch.num_tokens == sum(one.num_tokens for one in single)
    with torch.no_grad():
        together = setting.objective.loss(setting.model, setting.tensors(batch), batch).sums
        apart = [setting.objective.loss(setting.model, setting.tensors(one), one).sums for one in single]
    assert float(together) == pytest.approx(float(sum(apart)), abs=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_spans_do_not_depend_on_their_padding(family: str) -> None:
    setting = TaskSetting("span_extraction", family)
    batch = setting.held_out.batch(0, 8)
    with torch.no_grad():
        logits = setting.objective.forward(setting.model, setting.tensors(batch)).start_logits
        for row in range(8):
            one = setting.held_out.batch(row, 1)
            alone = setting.objective.forward(setting.model, setting.tensors(one)).start_logits
            real = batch.arrays["attention_mask"][row].astype(bool)
            own = one.arrays["attention_mask"][0].astype(bool)
            assert torch.allclose(logits[row][real], alone[0][own], atol=1e-4)


# PEFT asks transformers by a name that is to go.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("method", ["full", "frozen", "lora"])
@pytest.mark.parametrize("task", TASKS)
def test_every_head_learns_by_every_method(task: str, method: Any) -> None:
    setting = TaskSetting(task)
    whole = sum(parameter.numel() for parameter in setting.model.parameters())
    setting.model = adapt(setting.model, TuningSection(method=method, r=4), setting.purpose).train()
    learning = [parameter for parameter in setting.model.parameters() if parameter.requires_grad]
    if method != "full":
        assert sum(parameter.numel() for parameter in learning) < whole / 4
    optimizer = torch.optim.AdamW(learning, lr=2e-2 if method == "frozen" else 5e-3)
    losses = []
    for step in range(15):
        batch = setting.rows.batch(step * 12, 12)
        loss = setting.mean_loss(batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert sum(losses[-3:]) < 0.97 * sum(losses[:3])


@pytest.mark.parametrize("task", TASKS)
def test_an_evaluation_has_a_prediction_for_each_row_and_a_score(task: str) -> None:
    setting = TaskSetting(task)
    batch = setting.held_out.batch(0, setting.held_out.rows_per_epoch(0))
    tensors = setting.tensors(batch)
    assert setting.objective.loss(setting.model, tensors, batch).predictions == []
    with torch.no_grad():
        output = setting.objective.loss(setting.model, tensors, batch)
    assert len(output.predictions) == len(setting.store)
    scores = setting.objective.score(output.predictions)
    expected = {
        "classification": {"accuracy", "f1", "matthews_correlation", "majority_accuracy"},
        "regression": {"pearson", "spearman", "mse", "mean_mse"},
        "tagging": {"precision", "recall", "f1", "token_accuracy", "majority_token_accuracy"},
        "span_extraction": {"exact_match", "f1"},
    }
    assert set(scores) == expected[task]
    if task == "regression":
        assert scores["mse"] == pytest.approx(float(output.sums) / batch.counts[0], rel=1e-5)


class Oracle(torch.nn.Module):
    """Says what it is told, whatever it reads."""

    def __init__(self, inner: Any, **answer: torch.Tensor) -> None:
        super().__init__()
        self.inner, self.config, self.answer = inner, inner.config, answer

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        from transformers.utils import ModelOutput

        return ModelOutput(**self.answer)


@pytest.mark.parametrize("family", ["bert", "xlnet"])
def test_right_positions_give_the_answers_word_for_word(family: str) -> None:
    setting = TaskSetting("span_extraction", family)
    count = setting.held_out.rows_per_epoch(0)
    assert count > len(setting.records), "some contexts are several windows"
    batch = setting.held_out.batch(0, count)
    width = batch.arrays["input_ids"].shape[1]
    logits = {}
    for side in ("start", "end"):
        places = torch.as_tensor(batch.arrays[f"{side}_positions"])
        # Where a window holds no answer its [CLS] is right, but another window of the question says more.
        held = batch.arrays["start_positions"] != batch.arrays["end_positions"]
        scale = torch.as_tensor(9.0 * held + 1.0).unsqueeze(-1).float()
        logits[f"{side}_logits"] = torch.nn.functional.one_hot(places, width) * scale
    oracle = Oracle(setting.model, **logits)
    with torch.no_grad():
        output = setting.objective.loss(oracle, setting.tensors(batch), batch)
    assert setting.objective.score(output.predictions) == {"exact_match": 1, "f1": 1}
    assert float(output.stats) == 2 * count


def test_tags_of_words_that_were_cut_count_as_missed() -> None:
    setting = TaskSetting("tagging", length=12)
    assert setting.store.truncated > 0
    batch = setting.held_out.batch(0, 12)
    labels = torch.as_tensor(batch.arrays["labels"])
    logits = torch.nn.functional.one_hot(labels.clamp(min=0), len(setting.labels)).float()
    with torch.no_grad():
        output = setting.objective.loss(Oracle(setting.model, logits=logits), setting.tensors(batch), batch)
    scores = setting.objective.score(output.predictions)
    assert scores["precision"] == 1 and scores["recall"] < 1
    assert [len(gold) for gold, _ in output.predictions] == [
        len(record["tags"]) for record in setting.records
    ]


@pytest.mark.parametrize("family", ["bert", "xlnet"])
def test_words_get_their_own_tags(family: str) -> None:
    setting = TaskSetting("tagging", family)
    batch = setting.held_out.batch(0, 12)
    labels = torch.as_tensor(batch.arrays["labels"])
    logits = 9 * torch.nn.functional.one_hot(labels.clamp(min=0), len(setting.labels)).float()
    plain = [{"tokens": record["tokens"]} for record in setting.records]
    found = setting.objective.answers(Oracle(setting.model, logits=logits), plain, 48, 12)
    assert [answer["prediction"] for answer in found] == [record["tags"] for record in setting.records]
    assert all(0.9 < share <= 1 for answer in found for share in answer["scores"])


@pytest.mark.parametrize("task", TASKS)
def test_samples_answer_held_out_examples_and_tell_what_is_right(task: str) -> None:
    setting = TaskSetting(task)
    prompts = setting.objective.default_prompts(setting.store)
    assert len(prompts) == 3
    for prompt in prompts:
        found = setting.objective.sample(setting.model, prompt)
        assert found["text"] and found["gold"]


def test_prompts_of_spans_are_json_or_a_line() -> None:
    setting = TaskSetting("span_extraction")
    line = setting.objective.sample(setting.model, "who? | the old king came")
    same = setting.objective.sample(setting.model, '{"question": "who?", "context": "the old king came"}')
    assert line == same
    with pytest.raises(DataError, match="needs a context"):
        setting.objective.sample(setting.model, "who came?")


def test_answers_in_batches_are_those_of_one_at_a_time() -> None:
    for task in TASKS:
        setting = TaskSetting(task)
        objective, model = setting.objective, setting.model
        many = objective.answers(model, setting.records, 48, 5)
        one = [objective.answers(model, [record], 48, 1)[0] for record in setting.records]
        assert [answer["prediction"] for answer in many] == (
            pytest.approx([answer["prediction"] for answer in one], abs=1e-5)
            if task == "regression"
            else [answer["prediction"] for answer in one]
        )


@pytest.mark.parametrize("task", TASKS)
def test_views_show_what_is_to_be_answered(task: str) -> None:
    setting = TaskSetting(task, length=24)
    batch = setting.held_out.batch(0, 6)
    for row, view in enumerate(setting.objective.view(batch)):
        (stream,) = view.streams
        real = batch.arrays["attention_mask"][row].astype(bool)
        assert [token.id for token in stream.tokens] == batch.arrays["input_ids"][row].tolist()
        assert [token.state != "padding" for token in stream.tokens] == real.tolist()
        assert (stream.attends == (real[:, None] & real)).all()
        supervised = [token.note for token in stream.tokens if token.state == "supervised"]
        record = setting.records[batch.extra["examples"][row]]
        if task == "classification":
            assert view.label == record["label"] and not supervised
        elif task == "regression":
            assert float(view.label) == pytest.approx(record["label"])
        elif task == "tagging":
            assert supervised == record["tags"][: len(supervised)] and supervised
            assert bool(view.notes) == (len(supervised) < len(record["tags"]))
        else:
            assert view.notes and view.notes[0].startswith("window ")
