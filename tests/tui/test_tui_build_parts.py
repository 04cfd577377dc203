"""The parts of the Build tab by themselves: attention matrices, repairs, drawings, bars."""

from __future__ import annotations

from typing import Any

import pytest
from rich.cells import cell_len

from workbench.recipe import list_presets
from workbench.tui.build.attention import documents, patterns_of
from workbench.tui.build.attention_pane import draw_attention
from workbench.tui.build.bars import stacked
from workbench.tui.build.checks import Finding, findings_of
from workbench.tui.build.design import Design, design_of
from workbench.tui.build.drawing import draw_design
from workbench.tui.build.estimates_pane import draw_estimates
from workbench.tui.build.length_pane import draw_lengths
from workbench.tui.build.reckoning import DEVICES, Device, memory_findings, reckon
from workbench.tui.form.recipe_draft import RecipeDraft


def draft_of(preset: str, **values: Any) -> RecipeDraft:
    draft = RecipeDraft(f"models/{preset}")
    draft.set_values({key.replace("__", "."): value for key, value in values.items()})
    return draft


def found_in(draft: RecipeDraft) -> list[Finding]:
    return findings_of(draft, design_of(draft))


def matrices(design: Design, size: int, seed: int = 0) -> dict[str, list[list[bool]]]:
    return {pattern.title: pattern.matrix for pattern in patterns_of(design, size, seed)}


@pytest.mark.parametrize("preset", [preset.name for preset in list_presets("models")])
@pytest.mark.parametrize("symbols", ["braille", "ascii"])
@pytest.mark.parametrize("width", [26, 41, 64])
def test_nothing_is_wider_than_its_pane(preset: str, symbols: str, width: int) -> None:
    draft = draft_of(preset)
    design = design_of(draft)
    assert design.recipe is not None and design.problems == {}
    assert [finding for finding in findings_of(draft, design) if finding.level == "wrong"] == []
    drawn = draw_design(design, width, 20, symbols)
    assert max(cell_len("".join(text for text, _ in line)) for line in drawn) <= width
    pictures = draw_attention(design, width, 20, symbols, 0)
    framed = [line for line in pictures if line and line[0][0].startswith(tuple("│|╭╰+"))]
    assert framed and all(cell_len("".join(text for text, _ in line)) <= width for line in framed)
    if symbols == "ascii":
        lines = [*drawn, *pictures, *draw_estimates(reckon(design.recipe, DEVICES[1]), width, symbols)]
        assert "".join(text for line in lines for text, _ in line).isascii()


def test_causal_attention_of_packed_documents() -> None:
    size = 24
    seen = matrices(design_of(draft_of("nano")), size)["causal"]
    piece = documents(size)
    assert all(seen[q][k] == (k <= q and piece[q] == piece[k]) for q in range(size) for k in range(size))
    alone = matrices(design_of(draft_of("nano", data__packing=False)), size)["causal"]
    assert all(alone[q][k] == (k <= q) for q in range(size) for k in range(size))


def test_the_window_of_modernbert_has_the_scale_of_the_row() -> None:
    design = design_of(
        draft_of("modernbert-base", data__packing=False, data__max_length=1024, model__local_attention=256)
    )
    local = matrices(design, 32)["local"]
    # A place is 32 tokens: 128 tokens to each side are 4 places.
    assert all(local[q][k] == (abs(q - k) <= 4) for q in range(32) for k in range(32))
    assert all(all(row) for row in matrices(design, 32)["global"])


def test_the_streams_of_xlnet_differ_in_the_diagonal() -> None:
    design = design_of(draft_of("xlnet-nano"))
    found = matrices(design, 16, seed=3)
    content, query = found["content stream h"], found["query stream g"]
    for q in range(16):
        assert [k for k in range(16) if content[q][k] != query[q][k]] == [q]
    # In the order of prediction, each sees one place more than the one before.
    assert sorted(sum(row) for row in content) == list(range(1, 17))
    assert matrices(design, 16, seed=4)["content stream h"] != content


@pytest.mark.parametrize(
    ("preset", "values", "words", "mended"),
    [
        ("nano", {"model__num_attention_heads": 5}, "not divisible", {"model.num_attention_heads": 4}),
        ("bert-base", {"model__num_attention_heads": 13}, "not divisible", {"model.num_attention_heads": 12}),
        ("nano", {"model__hidden_size": 132}, "odd", {"model.num_attention_heads": 3}),
        ("nano", {"model__num_key_value_heads": 3}, "evenly", {"model.num_key_value_heads": 4}),
        ("nano", {"data__max_length": 999}, "longer than the context", {"data.max_length": 256}),
        ("nano", {"objective__name": "mlm"}, "does not train", {"objective.name": "clm"}),
        ("nano", {"training__bf16": True, "training__fp16": True}, "both on", {"training.fp16": False}),
        ("nano", {"model__vocab_size": 3}, "greater than or equal to 260", {"model.vocab_size": 2048}),
        ("bart-nano", {"data__packing": True}, "cannot keep", {"data.packing": False}),
    ],
)
def test_repairs(preset: str, values: dict[str, Any], words: str, mended: dict[str, Any]) -> None:
    draft = draft_of(preset, **values)
    finding = next(finding for finding in found_in(draft) if words in finding.message)
    repair = finding.repairs[0]
    assert mended.items() <= repair.values.items()
    draft.set_values(repair.values)
    assert draft.problems == {} and not any(words in other.message for other in found_in(draft))


@pytest.mark.parametrize("preset", ["nano", "bert-base", "xlnet-base", "modernbert-base"])
@pytest.mark.parametrize("heads", [3, 5, 7, 11, 100])
def test_every_repair_of_heads_makes_a_whole_model(preset: str, heads: int) -> None:
    about_heads = next(
        (
            finding
            for finding in found_in(draft_of(preset, model__num_attention_heads=heads))
            if finding.level == "wrong" and "model.hidden_size" in finding.keys
        ),
        None,
    )
    for repair in about_heads.repairs if about_heads else ():
        draft = draft_of(preset, model__num_attention_heads=heads)
        draft.set_values(repair.values)
        left = [finding for finding in found_in(draft) if finding.level == "wrong"]
        # Key/value heads may still be in the way of a number of heads that is kept.
        assert all("key/value" in finding.message for finding in left)


def test_what_does_not_fit_is_made_to_fit() -> None:
    gpu = next(device for device in DEVICES if device.name == "T4")
    assert isinstance(gpu, Device)
    draft = draft_of("350m", training__per_device_train_batch_size=32)
    recipe = design_of(draft).recipe
    assert recipe is not None
    before = reckon(recipe, gpu)
    assert before.known is not None and before.known.gpu_memory.peak > gpu.room
    (finding,) = memory_findings(before)
    draft.set_values(finding.repairs[0].values)
    recipe = design_of(draft).recipe
    assert recipe is not None
    after = reckon(recipe, gpu)
    assert after.known is not None and after.known.gpu_memory.peak <= gpu.room
    assert memory_findings(after) == []
    rows = recipe.training.per_device_train_batch_size * recipe.training.gradient_accumulation_steps
    assert rows == 32


def test_a_bar_of_parts_has_the_limit_at_its_place() -> None:
    whole, mark = stacked({"a": 30.0, "b": 30.0}, 80.0, "80", 40, "ascii")
    # 60 of 80 are three quarters of the scale, which ends at the limit.
    assert "".join(text for text, _ in whole) == "#" * 15 + "=" * 15 + "." * 10
    assert mark[-1][0].endswith("^") and mark[-1][1] == "good"
    whole, mark = stacked({"a": 100.0}, 50.0, "50", 40, "ascii")
    assert "".join(text for text, _ in whole) == "#" * 40
    assert mark == ((" " * 20, ""), ("^ 50", "bad"))


@pytest.mark.parametrize(
    ("values", "title", "sees"),
    [
        ({"attention": "sliding_window", "sliding_window": 64}, "window", lambda q, k: q - k < 8),
        (
            {"attention": "window_global", "sliding_window": 64, "global_tokens": 16},
            "window",
            lambda q, k: q - k < 8 or k < 2,
        ),
        (
            {"attention": "strided", "sliding_window": 32, "attention_stride": 32},
            "window",
            lambda q, k: q - k < 4 or (q - k) % 4 == 0,
        ),
        ({"attention": "window_global", "sliding_window": 64}, "window", lambda q, k: q - k < 8),
        ({"attention": "window_global", "sliding_window": 64}, "global", lambda q, k: True),
        ({"attention": "linear"}, "linear", lambda q, k: True),
    ],
)
def test_what_a_decoder_sees_is_drawn_on_the_scale_of_the_row(
    values: dict[str, Any], title: str, sees: Any
) -> None:
    shape = {f"model__{key}": value for key, value in values.items()}
    design = design_of(draft_of("nano", data__packing=False, data__max_length=256, **shape))
    # A place is eight tokens.
    found = matrices(design, 32)[title]
    assert found == [[k <= q and sees(q, k) for k in range(32)] for q in range(32)]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"attention": "sliding_window", "sliding_window": 300}, "covers the whole context"),
        ({"attention": "window_global", "sliding_window": 100, "global_tokens": 200}, "see everything"),
        ({"attention": "strided", "sliding_window": 4, "attention_stride": 16}, "not even reached"),
        ({"attention": "strided", "attention_stride": 24}, "does not divide"),
        ({"attention": "strided", "sliding_window": 8, "attention_stride": 256}, "as long as the context"),
    ],
)
def test_attention_that_is_not_what_was_meant_is_told_and_mended(values: dict[str, Any], words: str) -> None:
    draft = draft_of("nano", **{f"model__{key}": value for key, value in values.items()})
    finding = next(finding for finding in found_in(draft) if words in finding.message)
    draft.set_values(finding.repairs[0].values)
    assert draft.problems == {} and not any(words in other.message for other in found_in(draft))


def test_lengths_are_drawn_beside_those_of_full_attention() -> None:
    for preset, symbols, words in (
        ("nano-window", "braille", "with full attention"),
        ("nano-linear", "ascii", "o with full attention"),
        ("bert-nano", "braille", "Only decoders"),
    ):
        recipe = design_of(draft_of(preset)).recipe
        assert recipe is not None
        lines = draw_lengths(reckon(recipe, Device()), 60, 20, symbols)
        text = "\n".join("".join(part for part, _ in line) for line in lines)
        assert words in text and (symbols != "ascii" or text.isascii())
