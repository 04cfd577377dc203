"""The ranks pane: rows of few ranks, cells of many, who is slow, at any width."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fake_ranks import write_ranks
from rich.cells import cell_len

from workbench.recipe import load
from workbench.scaling.layouts.layout import Layout
from workbench.store.process import ProcessIdentity
from workbench.store.runs import create_run
from workbench.tui.train.ranks_pane import RanksSource
from workbench.tui.train.ranks_text import ranks_lines
from workbench.tui.train.rows import Row

LAYOUTS = [Layout(dp_shard=2), Layout(pp=4, dp_shard=2, tp=2), Layout(pp=16, dp_shard=8, tp=8)]


def text_of(
    layout: Layout, folder: Path, width: int = 78, symbols: str = "braille", **given: object
) -> list[str]:
    ranks = write_ranks(folder, layout, **given)  # type: ignore[arg-type]
    lines = ranks_lines(ranks, width, symbols, active=True, now=time.time())
    return ["".join(text for text, _ in line).rstrip() for line in lines]


@pytest.mark.parametrize("width", [78, 118, 198])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_fit_the_pane(tmp_path: Path, layout: Layout, width: int) -> None:
    lines = text_of(layout, tmp_path, width)
    assert max(map(cell_len, lines)) <= width
    assert f"{layout.ranks} ranks" in lines[0] and "step 812" in lines[0]
    # A row a rank, or a row a host, and the layout behind.
    named = [line for line in lines if line.startswith("gpu-") or " gpu-" in line]
    assert len(named) == (128 if layout.ranks > 32 else layout.ranks)


def test_stragglers_and_silent_ranks_stand_first(tmp_path: Path) -> None:
    lines = text_of(Layout(dp_shard=128, tp=8), tmp_path, slow={700: 1.5}, silent={9: 200.0})
    assert "rank 9 (gpu-001, cuda:1 NVIDIA H100 80GB HBM3) has not been heard of for 3m 20s" in lines[1]
    assert "rank 700 (gpu-087, cuda:4" in lines[2] and "1.5" in lines[2] and "times the usual" in lines[2]
    (host,) = [line for line in lines if line.startswith("gpu-001")]
    assert "✗" in host


def test_a_rank_that_hangs_is_named(tmp_path: Path) -> None:
    lines = text_of(Layout(dp_shard=8), tmp_path, stuck=400.0, passes={5: 3})
    assert "no rank has got on with its step for 6m 40s" in lines[1]
    assert "rank 5 (gpu-000, cuda:5 NVIDIA H100 80GB HBM3) is behind, and the others wait" in lines[2]


def test_ascii_stays_ascii(tmp_path: Path) -> None:
    lines = text_of(Layout(dp_shard=64), tmp_path, symbols="ascii", slow={3: 2.0})
    assert "\n".join(lines).isascii()


def test_names_from_files_are_shown_literally(tmp_path: Path) -> None:
    ranks = write_ranks(tmp_path, Layout(dp_shard=2))
    for rank in ranks:
        object.__setattr__(rank.place, "host", "box\x1b[31m")
    lines = ranks_lines(ranks, 118, "braille", active=True, now=time.time())
    assert "\x1b" not in "".join(text for line in lines for text, _ in line)


def test_the_pane_reads_again_what_changed_and_knows_lone_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    monkeypatch.setattr("workbench.tui.train.ranks_pane.PERIOD", 0.0)
    run = create_run(load("nano", ["run.name=alone"]))

    def row() -> Row:
        status = run.status()
        return Row(run, status, status.seen_state(), status.created)

    source = RanksSource(run, row, "braille")
    assert "Nothing of its ranks yet" in (source.poll() or [])[0][0][0]
    status = run.status()
    status.state, status.process, status.device, status.step = "running", ProcessIdentity.current(), "cpu", 3
    status.write(run.status_path)
    for step in (1, 2, 3):
        with run.metrics_path.open("a") as file:
            file.write(
                f'{{"step": {step}, "time": {step}.0, "loss": 1.0, "tokens_per_second": 500.0, '
                f'"num_tokens": {step * 1000}, "memory/cpu_gib": 1.5}}\n'
            )
            if step == 2:
                file.write('{"step": 2, "time": 2.5, "num_tokens": 2000, "eval_loss": 1.0}\n')
    lines = ["".join(text for text, _ in line) for line in source.poll() or []]
    assert lines[0] == "1 rank  step 3 · 500 tokens/s"
    assert "computing" in lines[-1] and "2.00 s" in lines[-1] and "1.5 GiB" in lines[-1]
    write_ranks(run.path, Layout(dp_shard=4))
    assert "4 ranks" in (source.poll() or [])[0][0][0]
