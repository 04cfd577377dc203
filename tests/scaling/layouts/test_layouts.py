"""Layouts: where ranks stand, which can be, which fit, how they are written into a recipe."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from pathlib import Path

import pytest

from workbench import recipe as recipes
from workbench.errors import RecipeError, UsageError
from workbench.models.estimate import estimate
from workbench.recipe.parallel_section import Degrees
from workbench.scaling.layouts import (
    Layout,
    Setting,
    cluster,
    completed,
    devices_needed,
    explain,
    nearest_words,
    parse,
    plan,
    problems,
    recipe_with,
    search,
    setting_of,
    subject_of,
    too_large_words,
)
from workbench.scaling.layouts.communication import traffic
from workbench.scaling.layouts.kept import growth_bytes, kept
from workbench.scaling.layouts.memory import stage_memory
from workbench.scaling.layouts.published import figures, published_models, trainings
from workbench.scaling.layouts.stack import CHEAP, KEPT, STACKS, WORKBENCH


def setting(name: str = "models/llama3-8b", gpus: int = 16, gpu: str = "H100", **options: int) -> Setting:
    return setting_of(subject_of(name), cluster(gpu, gpus), **options)  # type: ignore[arg-type]


def test_ranks_stand_where_the_recipe_has_them() -> None:
    layout = Layout(dp_replicate=2, dp_shard=3, cp=2, tp=4, pp=5)
    degrees = Degrees(pp=5, dp_replicate=2, dp_shard=3, cp=2, tp=4)
    assert layout.ranks == degrees.world_size
    assert list(layout.axes) == list(degrees.as_dict())
    for rank in range(0, layout.ranks, 7):
        assert layout.coordinates(rank) == degrees.coordinates(rank)
    for axis in layout.axes:
        further = layout.coordinates(layout.stride(axis))
        assert further == {name: int(name == axis and layout.axes[axis] > 1) for name in further} or (
            layout.axes[axis] == 1
        )


def test_all_ranks_together_hold_every_weight_once() -> None:
    asked = setting("models/llama3-70b", 64, global_batch=64)
    for layout in (Layout(dp_shard=8, tp=2, pp=4, microbatches=8), Layout(dp_shard=4, cp=2, pp=8)):
        stages = [
            stage_memory(asked.model, layout, 8192, asked.cluster, asked.stack, asked.precision, stage)
            for stage in range(layout.pp)
        ]
        ranks_of_a_stage = layout.tp * layout.shards
        assert sum(stage.weights for stage in stages) * ranks_of_a_stage == pytest.approx(
            4 * asked.model.weights
        )
        assert sum(stage.optimizer for stage in stages) * ranks_of_a_stage == pytest.approx(
            8 * asked.model.weights
        )


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("preset", ["125m", "bert-base", "modernbert-base", "t5-small", "xlnet-base"])
def test_one_device_needs_what_the_estimate_says(preset: str, checkpointing: bool) -> None:
    """The estimate of one process is tested against torch's own accounting."""
    changes = [f"training.gradient_checkpointing={checkpointing}", "training.bf16=true"]
    wanted = recipes.load(preset, changes)
    known = estimate(wanted).known
    assert known is not None
    rows, length = wanted.training.per_device_train_batch_size, known.load.length
    asked = setting_of(subject_of(preset, changes), cluster("H100", 1), global_batch=rows, length=length)
    memory = plan(asked, Layout(rows=rows, recompute="full" if checkpointing else "none")).memory
    theirs = known.gpu_memory
    assert memory.weights == pytest.approx(theirs.weights)
    assert memory.optimizer == pytest.approx(theirs.optimizer)
    assert memory.logits == pytest.approx(theirs.logits)
    assert memory.activations == pytest.approx(theirs.activations)


def test_what_is_said_of_a_layout_is_completed() -> None:
    asked = setting(gpus=64, global_batch=128)
    layout = completed(parse("tp=4, pp=2 ,v=2"), asked)
    assert (layout.dp_shard, layout.dp_replicate, layout.schedule) == (8, 1, "interleaved")
    assert layout.global_batch == 128 and problems(layout, asked) == []
    assert completed(parse("dp=8,shard=4,tp=8"), asked).dp_replicate == 2
    assert completed(parse("dp=64"), asked).dp_shard == 1
    again = completed(parse(layout.words()), asked)
    assert again == layout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("width=3", "no part of a layout"),
        ("tp", "no part of a layout"),
        ("tp=0", "no number"),
        ("recompute=half", "is not “half”"),
        ("dp=8,shard=3", "dp=8"),
    ],
)
def test_a_layout_that_cannot_be_read_says_why(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        completed(parse(text), setting())


def test_parts_run_together_are_told_of_commas() -> None:
    with pytest.raises(UsageError) as caught:
        parse("pp=2tp=3")
    assert caught.value.hint == "parts are set apart by commas: tp=2,pp=2"


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (Layout(dp_shard=2, tp=4), "take 8 devices, and there are 16"),
        (Layout(tp=16), "tp=16 does not divide the model's 8 key-value heads; the nearest is tp=8"),
        (
            Layout(pp=16, virtual_stages=4, schedule="interleaved"),
            "64 pieces .* 32 layers; the nearest is pp=8",
        ),
        (Layout(dp_shard=16, microbatches=3), "not shared evenly|micro-batches"),
        (Layout(1, 4, 1, 2, 2, microbatches=5, virtual_stages=2, schedule="interleaved"), "whole rounds"),
    ],
)
def test_impossible_layouts_are_named_with_the_nearest_possible(layout: Layout, message: str) -> None:
    asked = setting(global_batch=20)
    found = search(asked)
    wrong, other = explain(layout, asked, found)
    assert any(re.search(message, problem) for problem in wrong), wrong
    assert other is not None and other.fits and problems(other.layout, asked) == []


def test_only_decoders_are_split_inside() -> None:
    asked = setting("bert-base", 8)
    assert all(found.layout.tp == found.layout.pp == found.layout.cp == 1 for found in search(asked).fitting)
    assert "only decoders" in problems(Layout(tp=2, dp_shard=4), asked)[0]


def test_every_layout_that_is_found_can_be_and_fits() -> None:
    asked = setting("models/llama3-70b", 64)
    found = search(asked)
    assert found.fitting and found.too_large
    for each in found.fitting:
        assert each.fits and problems(each.layout, asked) == []
        assert each.layout.ranks == 64 and each.layout.global_batch == asked.global_batch
    for each in found.too_large:
        assert not each.fits and "of 80 GB" in too_large_words(each)
    fastest = min(each.times.step for each in found.fitting)
    assert found.fitting[0].times.step <= 1.03 * fastest


def test_what_fits_nowhere_fits_on_more_devices() -> None:
    asked = setting("models/llama3-405b", 8, global_batch=512)
    found = search(asked)
    assert found.fitting == []
    wrong, other = explain(Layout(tp=3), asked, found)
    assert wrong and other is not None and not other.fits and problems(other.layout, asked) == []
    assert nearest_words(other, "--layout ").startswith("none fits; the nearest that can be: --layout ")
    larger = devices_needed(asked)
    assert larger is not None and larger.fits and larger.setting.cluster.gpus >= 128
    # 16 bytes a weight have to go somewhere.
    assert larger.setting.cluster.gpus * 80e9 > 16 * asked.model.weights


def test_more_of_something_costs_what_it_should() -> None:
    asked = setting("models/llama3-8b", 64, global_batch=512)
    base = plan(asked, Layout(dp_shard=64, microbatches=8))
    again = plan(asked, Layout(dp_shard=64, microbatches=8, recompute="full"))
    assert again.memory.activations < base.memory.activations
    assert 1.2 < again.times.computing / base.times.computing < 4 / 3 + 1e-6
    slow = replace(asked, cluster=replace(asked.cluster, network=asked.cluster.network / 100))
    assert plan(slow, base.layout).times.data > base.times.data
    few = plan(asked, Layout(dp_shard=8, pp=8, microbatches=64))
    pieces = plan(asked, Layout(dp_shard=8, pp=8, microbatches=64, virtual_stages=4, schedule="interleaved"))
    assert pieces.bubble == pytest.approx(few.bubble / 4)
    assert pieces.memory.activations > few.memory.activations


def test_what_is_made_again_is_counted_as_the_papers_do() -> None:
    name = "megatron-22b"
    on = cluster("A100", 8)
    asked = setting_of(subject_of(name), on, global_batch=4, stack="megatron-2022")
    model, length = asked.model, asked.length
    # Narayanan et al. 2021, equation 3, over the same without the layers' second forward pass.
    hidden, layers, words = model.hidden, model.layers, model.vocabulary
    rest = 1 + length / (6 * hidden)
    again = plan(asked, Layout(tp=8, rows=4, recompute="full"))
    expected = 96 * (rest + words / (16 * layers * hidden)) / (72 * (rest + words / (12 * layers * hidden)))
    assert again.hfu / again.mfu == pytest.approx(expected)
    # Korthikanti et al. 2022, equations 2 and 6, on one rank, but for 8 bytes a token.
    kept = {
        recompute: growth_bytes(table["megatron-2022"], model, length, True, 1, 1) - 8
        for recompute, table in (("none", KEPT), ("selective", CHEAP))
    }
    scores = 5 * model.heads * length / hidden
    assert kept["none"] == pytest.approx(hidden * (34 + scores), rel=0.002)
    assert kept["selective"] == pytest.approx(hidden * 34, rel=0.002)


def test_tp_gathers_logits_where_the_loss_is_made_of_all_of_them() -> None:
    asked = setting("models/llama3-8b", 8, global_batch=8)
    here, there = (
        traffic(asked.model, Layout(tp=8, rows=1), 8192, asked.cluster, stack, asked.precision, 1.0)
        for stack in (STACKS["workbench"], STACKS["megatron"])
    )
    assert there.head_forward == 0 < here.head_forward
    # A ring passes on seven eighths of the logits, in half precision.
    logits = 2 * 8192 * asked.model.vocabulary * 7 / 8 / (0.8 * asked.cluster.in_node)
    assert here.head_forward == pytest.approx(logits, rel=0.05)
    for layout in (Layout(tp=8, rows=1), Layout(tp=2, pp=4, rows=1, microbatches=8, reshard=False)):
        times = plan(asked, replace(layout, microbatches=8)).times
        assert all(value >= 0 for value in times.parts().values()) and times.tensor > 0


def test_context_parallelism_keeps_what_it_gathers() -> None:
    """Keys and values of a row are whole on every rank: more ranks do not make them less."""
    masked = setting("models/llama3-8b", 16, global_batch=16, length=131_072)
    plain = setting_of(
        subject_of("models/llama3-8b", ["data.packing=false"]),
        masked.cluster,
        global_batch=16,
        length=131_072,
    )
    layouts = [Layout(cp=size, dp_shard=16 // size, recompute="full") for size in (8, 16)]
    for size, layout in zip((8, 16), layouts, strict=True):
        model = plain.model
        with_all, without = (
            kept(model, layout, 131_072, stack, plain.precision, layers=32, first=False, last=False)
            for stack in (WORKBENCH, replace(WORKBENCH, keeps_gathered=False))
        )
        gathered = 2 * 2 * 131_072 * model.keys * (1 - 1 / size)
        assert with_all.again - without.again == pytest.approx(gathered)
    assert plan(masked, layouts[0]).memory.peak > plan(plain, layouts[0]).memory.peak


def test_a_written_recipe_is_the_planned_layout(tmp_path: Path) -> None:
    subject = subject_of("nano", ["data.max_length=256"])
    assert subject.recipe is not None
    # `nano` has 4 heads and 4 layers.
    asked = setting_of(subject, cluster("H100", 16), global_batch=64)
    made = 0
    for each in random.Random(7).sample(search(asked).fitting, 8):
        text = recipe_with(subject.recipe, each, "nano")
        path = tmp_path / "planned.yaml"
        path.write_text(text)
        read = recipes.load(str(path))
        degrees = read.parallel.degrees(read.launch.world_size)
        assert degrees.as_dict() == each.layout.axes
        assert read.launch.world_size == 16 and read.launch.num_machines == 2
        rows = read.training.per_device_train_batch_size * read.training.gradient_accumulation_steps
        assert rows * degrees.data_size == 64
        if each.layout.pp > 1:
            assert read.parallel.microbatches(rows) == each.layout.microbatches
            assert read.training.per_device_eval_batch_size == each.layout.rows
        made += 1
    assert made == 8
    base = Layout(dp_shard=16, rows=4)
    for layout, stack, words in (
        (replace(base, recompute="selective"), "workbench", "recomputation"),
        (replace(base, reshard=False), "workbench", "gathered weights"),
        (base, "megatron", "Megatron-LM trains, which no recipe says"),
    ):
        other = replace(asked, stack=STACKS[stack])
        with pytest.raises(UsageError, match=words):
            recipe_with(subject.recipe, plan(other, layout), "nano")
    copies = Layout(dp_replicate=16, rows=4)
    halved = subject_of("nano", ["data.max_length=256", "training.fp16=true"])
    assert halved.recipe is not None
    path.write_text(
        recipe_with(halved.recipe, plan(setting_of(halved, asked.cluster, global_batch=64), copies), "nano")
    )
    read = recipes.load(str(path))
    assert read.training.fp16 and not read.training.bf16


@pytest.mark.parametrize("name", ["lama3-8b", "models/llama4", "gpt3-175"])
def test_a_model_that_is_not_there(name: str) -> None:
    with pytest.raises(RecipeError, match="there is no"):
        subject_of(name)


def test_bad_clusters_are_refused() -> None:
    with pytest.raises(UsageError, match="whole number of nodes"):
        cluster("H100", 12)
    with pytest.raises(UsageError, match="interconnect"):
        cluster("H100", 16, interconnect="string")
    with pytest.raises(UsageError, match="no GPU called"):
        cluster("H1OO0", 8)
    assert cluster("H100", 16, interconnect="33").network == 33e9
    # A ring of ranks that stand alone in their nodes has one card each; of eight in a node, eight.
    on = cluster("H100", 64)
    assert on.rate(8, 8) == pytest.approx(on.rate(64, 1) / 8)
    assert on.rate(8, 1) == pytest.approx(0.8 * on.in_node)


def test_published_models_have_their_sizes() -> None:
    sizes = {name: model.weights / 1e9 for name, model in published_models().items()}
    assert sizes["gpt3-175b"] == pytest.approx(174.6, abs=0.2)
    for name, size in sizes.items():
        said = name.rpartition("-")[2]
        assert size == pytest.approx(float(said[:-1]) * (1000 if said.endswith("t") else 1), rel=0.05)


@pytest.mark.parametrize("number", range(len(figures())))
def test_published_speeds_are_met_within_a_quarter(number: int) -> None:
    from planner_figures import predicted

    figure = figures()[number]
    assert predicted(figure).ratio == pytest.approx(1.0, abs=0.25), figure


def test_whole_trainings_took_longer_than_their_steps() -> None:
    for training in trainings():
        found = subject_of(training.model).model
        flops = found.flops_per_token(4096) * training.tokens_per_second
        assert 0.1 < flops / cluster(training.gpu, 1).device.half < 0.6
