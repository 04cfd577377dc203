"""Sums: right, kept apart without leakage, and the verdict on a jump."""

from __future__ import annotations

import itertools
from pathlib import Path

import orjson
import pytest

from workbench.errors import UsageError
from workbench.scaling.emergence import (
    best_of_each_budget,
    smoothness,
    summarise,
    verdict,
    wilson,
)
from workbench.scaling.fitting.points import Point
from workbench.scaling.spec import ArithmeticSection
from workbench.scaling.sums import Sum, draw_held_out, draw_training, parts_of, read_held_out, write_sums

SECTION = ArithmeticSection(documents=40, per_document=5, steps=[1, 2, 3], largest=20, held_out=30)


def test_a_sum_is_written_with_its_intermediate_results() -> None:
    one = Sum((3, 4, 5, 6), True)
    assert one.line == "3+4+5+6=7+5+6=12+6=18"
    assert one.question + one.answer == one.line
    assert Sum((3, 4, 5), False).line == "3+4+5=12"
    assert Sum((3, 4), True).line == "3+4=7"


def test_the_parts_of_a_sum_are_its_beginnings_and_its_additions() -> None:
    assert set(parts_of((5, 3, 9))) == {(3, 5), (3, 5, 9), (8, 9)}


def test_nothing_that_is_kept_apart_stands_in_the_training_text(tmp_path: Path) -> None:
    write_sums(SECTION, tmp_path)
    apart = {tuple(sorted(one.numbers)) for one in draw_held_out(SECTION)}
    assert len(apart) == 90
    texts = [orjson.loads(line)["text"] for line in (tmp_path / "sums-train.jsonl").read_bytes().splitlines()]
    assert len(texts) == 40
    lines = [line for text in texts for line in text.splitlines()]
    shown = [line for item in read_held_out(tmp_path) for line in str(item["prompt"]).splitlines()[:-1]]
    for line in [*lines, *shown]:
        parts = line.split("=")
        for part in parts:
            # Every addition that is written out, and every beginning of one.
            numbers = tuple(int(number) for number in part.split("+"))
            for end in range(2, len(numbers) + 1):
                assert tuple(sorted(numbers[:end])) not in apart, line
        assert {sum(int(number) for number in part.split("+")) for part in parts} == {int(parts[-1])}


def test_the_same_seed_gives_the_same_sums_and_another_does_not() -> None:
    first = [one.line for one in itertools.islice(draw_training(SECTION, draw_held_out(SECTION)), 50)]
    again = [one.line for one in itertools.islice(draw_training(SECTION, draw_held_out(SECTION)), 50)]
    other = SECTION.model_copy(update={"seed": 1})
    assert first == again
    assert first != [one.line for one in itertools.islice(draw_training(other, draw_held_out(other)), 50)]


def test_too_few_sums_to_keep_some_apart() -> None:
    with pytest.raises(UsageError, match="too few to keep 100 apart"):
        draw_held_out(ArithmeticSection(largest=9, steps=[1]))
    with pytest.raises(UsageError, match="no sums among its text"):
        read_held_out(Path("/nowhere"))


def test_the_interval_of_a_share() -> None:
    # Wilson's interval for 8 of 10, as tabulated: [0.490, 0.943].
    assert wilson(8, 10) == pytest.approx((0.490, 0.943), abs=1e-3)
    assert wilson(0, 50)[0] == 0.0 and wilson(50, 50)[1] == pytest.approx(1.0)


def rows(exact: list[float], per_token: list[float], factor: float = 2.0) -> list[dict[str, float]]:
    return [
        {"flops": 1e12 * factor**number, "exact": share, "per_token": likely}
        for number, (share, likely) in enumerate(zip(exact, per_token, strict=True))
    ]


def test_a_jump_of_the_metric_alone_is_told_from_one_of_both() -> None:
    smooth = rows([0.0, 0.0, 0.05, 0.9], [-3.0, -2.0, -1.0, 0.0])
    assert smoothness(smooth) == pytest.approx(1.0)
    assert "an artefact of the metric" in verdict(smooth)
    assert "not of the metric alone" in verdict(rows([0.0, 0.0, 0.0, 0.9], [-3.0, -3.0, -3.0, 0.0]))
    assert "falls" in verdict(rows([0.0, 0.0, 0.05, 0.9], [0.0, -1.0, -2.0, -3.0]))
    assert "no model answers a tenth" in verdict(rows([0.0, 0.0, 0.02], [-3.0, -2.0, -1.0]))
    assert "without a jump" in verdict(rows([0.2, 0.4, 0.6], [-3.0, -2.0, -1.0]))
    assert "does not grow" in verdict(rows([0.6, 0.3, 0.05], [-1.0, -2.0, -3.0]))
    assert "too easy" in verdict(rows([0.9, 0.95, 1.0], [-0.1, -0.05, -0.01]))


def test_a_slope_is_no_jump_and_a_gap_tells_of_none() -> None:
    slope = [0.05, 0.2, 0.35, 0.55]
    assert "without a jump" in verdict(rows(slope, [-4.0, -3.0, -2.0, -1.0]))
    assert "models between them would tell" in verdict(rows([0.0, 0.05, 0.9], [-3.0, -2.0, -1.0], 8.0))
    two = rows([0.0, 0.9], [-2.0, -1.0])
    assert "too few to tell" in verdict(two) and smoothness(two) is None


def test_the_best_run_of_each_budget_is_asked() -> None:
    def point(name: str, flops: float, loss: float, level: float | None) -> Point:
        return Point(name, 1e5, 1e6, loss, flops, level)

    leveled = [point("a", 1e12, 3.0, 1e12), point("b", 1e12, 2.9, 1e12), point("c", 2e12, 2.8, 2e12)]
    assert [one.name for one in best_of_each_budget(leveled[::-1])] == ["b", "c"]
    free = [point("d", 1e12, 3.0, None), point("e", 2e12, 3.1, None), point("f", 4e12, 2.5, None)]
    assert [one.name for one in best_of_each_budget(free[::-1])] == ["d", "f"]


def test_answers_are_summed_up_by_steps() -> None:
    items = [
        {"exact": True, "result": True, "log_likelihood": -1.0, "tokens": 2, "digits": 2},
        {"exact": False, "result": True, "log_likelihood": -3.0, "tokens": 2, "digits": 4},
        {"exact": False, "result": False, "log_likelihood": -8.0, "tokens": 4, "digits": 4},
    ]
    first, second = summarise(items, [1, 1, 2])
    assert (first["exact"], first["result"], first["per_token"]) == (0.5, 1.0, -1.0)
    assert first["per_digit"] == pytest.approx((-0.5 - 0.75) / 2)
    assert first["expected"] == pytest.approx((2.718281828**-1 + 2.718281828**-3) / 2)
    assert (second["asked"], second["per_token"]) == (1, -2.0)
