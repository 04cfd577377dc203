"""Passages: exact offsets, everything covered, cut where a reader would cut."""

from __future__ import annotations

import random
from pathlib import PurePath

import pytest

from workbench.errors import PromptError
from workbench.prompting.retrieval.chunking import Chunking, measure, split
from workbench.prompting.retrieval.extraction.document import Document, Heading
from workbench.prompting.retrieval.extraction.formats import extract
from workbench.prompting.retrieval.sentences import sentence_starts

PIECES = [
    *(
        "word",
        "another",
        "e.g.",
        "Mr.",
        "3.",
        "über",
        "漢字。",
        "naïve.",
        "Done.",
        "Really?",
        '"Yes!"',
        "x" * 150,
    ),
    *(
        "\n",
        "\n\n",
        "\n# Head\n",
        "\n## Sub\n\n",
        "\n- item",
        "\n1. item",
        "    ",
        "\t",
        "def f(x):",
        "🙂",
        "\x1b[1m",
    ),
]


def random_document(seed: int) -> Document:
    """A document of any kind, of words, headings and white space in any order."""
    draw = random.Random(seed)
    text = "".join(draw.choice(PIECES) + draw.choice(["", " ", " "]) for _ in range(draw.randrange(1, 400)))
    name = draw.choice(["a.txt", "a.md", "a.py"])
    return extract(f"{text}.".encode(), PurePath(name))


@pytest.mark.parametrize("seed", range(60))
def test_offsets_are_exact_and_all_is_covered(seed: int) -> None:
    document = random_document(seed)
    draw = random.Random(seed)
    target = draw.choice([100, 170, 400, 1200])
    chunking = Chunking(
        target, draw.choice([0, target // 10, target // 2]), draw.choice(["characters", "tokens"])
    )
    chunks = split(document, chunking)
    covered = bytearray(len(document.text))
    for chunk in chunks:
        text = document.text[chunk.start : chunk.end]
        assert text == text.rstrip() and text.strip()
        assert measure(text, chunking.unit) <= chunking.target
        assert (chunk.first, chunk.last) == document.place(chunk.start, chunk.end)
        covered[chunk.start : chunk.end] = b"\1" * len(text)
    assert all(covered[n] for n, character in enumerate(document.text) if not character.isspace())
    starts, ends = [chunk.start for chunk in chunks], [chunk.end for chunk in chunks]
    assert starts == sorted(set(starts)) and ends == sorted(set(ends))
    for before, after in zip(chunks, chunks[1:], strict=False):
        assert measure(document.text[after.start : before.end], chunking.unit) <= chunking.overlap
    assert chunks == split(document, chunking)


def markdown(text: str) -> Document:
    return extract(text.encode(), PurePath("a.md"))


def texts(document: Document, chunking: Chunking) -> list[str]:
    return [document.text[chunk.start : chunk.end] for chunk in split(document, chunking)]


def sentence(word: str, letters: int) -> str:
    """A sentence of this length that begins with a capital letter."""
    return (f"{word.capitalize()} " + f"{word} " * letters)[: letters - 1].rstrip().ljust(
        letters - 1, "x"
    ) + "."


def test_sections_are_not_mixed_and_passages_know_their_headings() -> None:
    body = {name: sentence(name, 90) for name in ("intro", "linux", "mac", "usage")}
    document = markdown(
        f"# Guide\n\n{body['intro']}\n\n## Install\n\n### Linux\n\n{body['linux']}\n\n"
        f"### Mac\n\n{body['mac']}\n\n## Usage\n\n{body['usage']}\n"
    )
    chunks = split(document, Chunking(200, 0))
    assert [chunk.headings for chunk in chunks] == [
        ("Guide",),
        # The heading alone is too short for a passage: it joins its first subsection.
        ("Guide", "Install"),
        ("Guide", "Install", "Mac"),
        ("Guide", "Usage"),
    ]
    for chunk, word in zip(chunks, body, strict=True):
        assert body[word] in document.text[chunk.start : chunk.end]


def test_very_short_sections_join_under_the_heading_that_they_share() -> None:
    document = markdown("# FAQ\n\n## Why?\n\nBecause.\n\n## How?\n\nSo.\n\n# Other\n\nText.\n")
    assert [chunk.headings for chunk in split(document, Chunking(1000, 0))] == [()]
    chunks = split(document, Chunking(160, 0))
    assert [chunk.headings for chunk in chunks] == [("FAQ",), ("Other",)]


def test_paragraphs_come_before_sentences_and_sentences_before_words() -> None:
    one, two, three = (sentence(word, 60) for word in ("one", "two", "three"))
    document = markdown(f"{one} {two}\n\n{three} {one}\n\n{two}")
    assert texts(document, Chunking(200, 0)) == [f"{one} {two}", f"{three} {one}\n\n{two}"]
    assert texts(document, Chunking(110, 0)) == [one, two, three, one, two]
    long = sentence("long", 250)
    parts = texts(markdown(long), Chunking(100, 0))
    assert " ".join(parts) == long and all(50 <= len(part) <= 100 for part in parts[:-1])


def test_the_overlap_repeats_whole_sentences() -> None:
    sentences = [sentence(word, 40) for word in ("aa", "bb", "cc", "dd", "ee", "ff")]
    document = markdown(" ".join(sentences))
    assert texts(document, Chunking(130, 50)) == [
        " ".join(sentences[0:3]),
        " ".join(sentences[2:5]),
        " ".join(sentences[4:6]),
    ]


def test_a_heading_is_never_left_behind_by_its_text() -> None:
    filler = sentence("fill", 80)
    document = markdown(f"{filler}\n\n## Next\n\n{filler} {filler}")
    for target in range(100, 300, 7):
        assert not any(text.endswith("## Next") for text in texts(document, Chunking(target, 0)))


def test_tokens_are_reckoned_from_bytes() -> None:
    assert measure("four" * 10, "tokens") == 10
    assert measure("漢字", "tokens") == 2
    long = extract(("word " * 400).encode(), PurePath("a.txt"))
    assert all(measure(text, "tokens") <= 50 for text in texts(long, Chunking(50, 10, "tokens")))


@pytest.mark.parametrize(
    ("target", "overlap", "unit"), [(20, 0, "characters"), (200, 150, "characters"), (200, -1, "tokens")]
)
def test_impossible_sizes_are_refused_with_what_would_do(target: int, overlap: int, unit: str) -> None:
    with pytest.raises(PromptError) as caught:
        Chunking(target, overlap, unit)  # type: ignore[arg-type]
    assert caught.value.hint.startswith(("target: ", "overlap: "))


def test_a_page_break_does_not_end_a_passage() -> None:
    document = Document(
        "a", "A sentence that goes\non here. Next.", "page", ((0, 1), (21, 2)), (Heading(0, 0, 1, "T"),)
    )
    [chunk] = split(document, Chunking())
    assert (chunk.first, chunk.last, chunk.headings) == (1, 2, ("T",))


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("It rained. We left.", ["It rained. ", "We left."]),
        ("Dr. Who met Mr. T. S. Eliot at 5 p.m. sharp.", ["Dr. Who met Mr. T. S. Eliot at 5 p.m. sharp."]),
        ("See Fig. 3 and sec. 4. No. That is all.", ["See Fig. 3 and sec. 4. ", "No. ", "That is all."]),
        ("It costs 3.50. “Cheap!” he said.", ["It costs 3.50. ", "“Cheap!” he said."]),
        ("Really?! Yes… maybe.", ["Really?! ", "Yes… maybe."]),
        ("1. First point.\n2. Second point.", ["1. First point.\n", "2. Second point."]),
        ("吾輩は猫である。名前はまだ無い。", ["吾輩は猫である。", "名前はまだ無い。"]),
        ("", [""]),
    ],
)
def test_sentences_begin_where_a_reader_says(text: str, sentences: list[str]) -> None:
    starts = [0, *sentence_starts(text)]
    ends = [*starts[1:], len(text)]
    assert [text[start:end] for start, end in zip(starts, ends, strict=True)] == sentences
