"""Text out of PDF files, page by page, with pypdf."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from workbench.errors import DataError
from workbench.prompting.retrieval.extraction.document import Document, Heading, clean, one_line

if TYPE_CHECKING:
    from pypdf import PdfReader


def read_pdf(data: bytes, name: str) -> Document:
    """The text of all pages; bookmarks become headings. Raises `DataError` for what holds no text."""
    from pypdf import PdfReader

    try:
        reader = PdfReader(stream=io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(password=""):
            raise DataError("it is encrypted; save a copy without the password")
        pages, damaged = _page_texts(reader)
    except DataError:
        raise
    except Exception as error:
        # pypdf meets damage with its own errors as well as KeyError, RecursionError and others.
        raise DataError(
            f"it is damaged or no PDF ({type(error).__name__}: {one_line(str(error))[:200]})"
        ) from None
    empty = sum(not text.strip() for text in pages)
    if empty == len(pages):
        reason = "no page of it can be read" if damaged else "it holds no text; is it a scan without OCR?"
        raise DataError(reason)
    starts = [0]
    for text in pages[:-1]:
        starts.append(starts[-1] + len(text) + 1)
    whole = "\n".join(pages)
    notes = []
    if empty:
        notes.append(
            f"{empty} of {len(pages)} pages hold no text" + (f" ({damaged} damaged)" if damaged else "")
        )
    return Document(
        title=_title(reader) or name,
        text=whole,
        unit="page",
        marks=tuple((start, number) for number, start in enumerate(starts, 1)),
        headings=_bookmarks(reader, whole, starts),
        notes=tuple(notes),
    )


def _page_texts(reader: PdfReader) -> tuple[list[str], int]:
    texts, damaged = [], 0
    for page in reader.pages:
        try:
            text = page.extract_text()
        except Exception:
            text = ""
            damaged += 1
        texts.append("\n".join(line.rstrip() for line in clean(text).split("\n")).strip("\n"))
    return texts, damaged


def _title(reader: PdfReader) -> str:
    try:
        return one_line(clean(str(reader.metadata.title or ""))) if reader.metadata else ""
    except Exception:
        return ""


def _bookmarks(reader: PdfReader, text: str, starts: list[int]) -> tuple[Heading, ...]:
    """Headings where the bookmarks point: at their title on the page if it stands there, else at its top."""
    try:
        entries = list(_flat(reader.outline, 1))
        pages = [reader.get_destination_page_number(destination=entry) for entry, _ in entries]
    except Exception:
        return ()
    headings = []
    ends = [*starts[1:], len(text)]
    for (entry, level), page in zip(entries, pages, strict=True):
        title = one_line(clean(str(entry.title or "")))
        if title and page is not None and 0 <= page < len(starts):
            found = text.find(title, starts[page], ends[page])
            start = starts[page] if found < 0 else found
            headings.append(Heading(start, start if found < 0 else found + len(title), level, title))
    return tuple(sorted(headings, key=lambda heading: heading.start))


def _flat(outline: list[Any], level: int) -> Iterator[tuple[Any, int]]:
    for entry in outline:
        if isinstance(entry, list):
            yield from _flat(entry, level + 1)
        else:
            yield entry, level
