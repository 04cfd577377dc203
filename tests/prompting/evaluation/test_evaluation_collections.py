"""Evaluations with retrieval: a collection that is another than before is noticed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from retrieval_setting import TopicEmbedder, write_files
from scripted_model import ScriptedModel
from summing_model import summing

from workbench.errors import DataError, UsageError
from workbench.inference.generation import OnDelta, Request, Response
from workbench.prompting.evaluation.comparison import warnings_of
from workbench.prompting.evaluation.items import Item, read_items
from workbench.prompting.evaluation.run import Effort, evaluate
from workbench.prompting.evaluation.setup import Setup
from workbench.prompting.retrieval.chunking import Chunking
from workbench.prompting.retrieval.fingerprint import fingerprint
from workbench.prompting.retrieval.folders import remove_collection
from workbench.prompting.retrieval.ingest import ingest
from workbench.prompting.retrieval.record import Options
from workbench.store.evaluations import Evaluation, evaluation_called

RAG = [{"rag": {"collection": "town"}}]


@pytest.fixture(autouse=True)
async def docs(tmp_path: Path) -> Path:
    """The folder of the collection `town`."""
    folder = write_files(tmp_path / "docs", {"a.md": "# Sums\n\n2 + 2 is 4.", "b.md": "# Fares\n\nFive."})
    await ingest(folder, "town")
    return folder


def items_of(setup: Setup) -> list[Item]:
    return read_items(setup.data, setup.prompt, setup.compared_as)


async def test_the_fingerprint_is_of_what_is_found(docs: Path, tmp_path: Path) -> None:
    first = fingerprint("town")
    await ingest(docs, "town")
    moved = shutil.copytree(docs, tmp_path / "elsewhere")
    await ingest(moved, "copy")
    assert fingerprint("town") == fingerprint("copy") == first
    seen = {first}
    (docs / "a.md").write_text("# Sums\n\n2 + 2 is 5.")
    await ingest(docs, "town")
    seen.add(fingerprint("town"))
    (docs / "b.md").rename(docs / "c.md")
    await ingest(docs, "town")
    seen.add(fingerprint("town"))
    await ingest(docs, "town", options=Options(chunking=Chunking(target=150, overlap=10)))
    seen.add(fingerprint("town"))
    await ingest(docs, "town", TopicEmbedder((["sum"], ["fare"])))
    seen.add(fingerprint("town"))
    assert len(seen) == 5
    with pytest.raises(DataError, match="did you mean|no collection"):
        fingerprint("tow")


@pytest.mark.parametrize("technique", [RAG, [{"tools": {"tools": ["search:town"]}}]])
async def test_going_on_with_other_documents_is_refused(
    setup: Callable[..., Setup],
    sums: Callable[[int], Path],
    evaluation: Evaluation,
    docs: Path,
    technique: object,
) -> None:
    path = sums(4)
    await evaluate(setup(path, technique), items_of(setup(path)), summing(lambda n: False), evaluation)
    await ingest(docs, "town")
    again = setup(path, technique)
    await evaluate(again, items_of(again), ScriptedModel([]), evaluation)
    (docs / "a.md").write_text("# Sums\n\n3 + 3 is 6.")
    await ingest(docs, "town")
    other = setup(path, technique)
    with pytest.raises(UsageError, match="other documents in the collection “town”") as caught:
        await evaluate(other, items_of(other), summing(lambda n: False), evaluation)
    assert "--name" in caught.value.hint and other.name() != again.name()
    remove_collection("town")
    with pytest.raises(DataError, match="no collection called “town”"):
        await evaluate(setup(path, technique), items_of(again), summing(lambda n: False), evaluation)


async def test_a_change_while_it_runs_is_told(
    setup: Callable[..., Setup], sums: Callable[[int], Path], evaluation: Evaluation, docs: Path
) -> None:
    adds = summing(lambda n: False)

    class Ingesting(ScriptedModel):
        async def generate(self, request: Request, on_delta: OnDelta | None = None) -> Response:
            if not adds.requests:
                (docs / "new.md").write_text("News.")
                await ingest(docs, "town")
            return await adds.generate(request)

    setup_ = setup(sums(4), RAG)
    told = await evaluate(setup_, items_of(setup_), Ingesting([]), evaluation, effort=Effort(1))
    assert told["state"] == "finished" and told["done"] == 4
    assert [note for note in told["notes"] if "“town” changed while this ran" in note]


async def test_a_comparison_over_other_documents_is_warned_of(
    setup: Callable[..., Setup], sums: Callable[[int], Path], docs: Path
) -> None:
    before = setup(sums(2), RAG).record
    assert warnings_of(before, before) == []
    (docs / "a.md").write_text("# Sums\n\n3 + 3 is 6.")
    await ingest(docs, "town")
    (warning,) = warnings_of(before, setup(sums(2), RAG).record)
    assert "“town”" in warning
    assert warnings_of(before, setup(sums(2)).record) == []  # the other searches nothing


async def test_the_warning_is_printed(
    setup: Callable[..., Setup], sums: Callable[[int], Path], docs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from workbench.cli import main

    path = sums(3)
    for name in ("one", "two"):
        setup_ = setup(path, RAG)
        await evaluate(setup_, items_of(setup_), summing(lambda n: False), evaluation_called(name))
        (docs / "a.md").write_text("# Sums\n\n3 + 3 is 6.")
        await ingest(docs, "town")
    assert main(["evals", "compare", "one", "two"]) == 0
    out = capsys.readouterr().out
    assert "warning: the documents in the collection “town” were others" in out
