"""Which way a file is read: by its name, and by its first bytes where those say more."""

from __future__ import annotations

from pathlib import PurePath

from workbench.errors import DataError
from workbench.prompting.retrieval.extraction.code import SUFFIXES, definitions
from workbench.prompting.retrieval.extraction.decoding import decode
from workbench.prompting.retrieval.extraction.document import Document, Heading, line_marks
from workbench.prompting.retrieval.extraction.html import read_html
from workbench.prompting.retrieval.extraction.markdown import markdown_headings
from workbench.prompting.retrieval.extraction.pdf import read_pdf

VERSION = 1
"""Goes up when the same file gives another text or other headings, so that collections read it again."""

MARKDOWN = frozenset({".markdown", ".md", ".mdown", ".mdx"})
HTML = frozenset({".htm", ".html", ".xhtml"})

LONGEST_MEAN_LINE = 400
"""Characters a line. Code that people write has some 40; a minified script or a search index thousands."""


def extract(data: bytes, path: PurePath) -> Document:
    """The text of a file, whatever its format. Raises `DataError` saying why there is none."""
    suffix = path.suffix.lower()
    if suffix == ".pdf" or data.startswith(b"%PDF-"):
        return read_pdf(data, path.name)
    if suffix in HTML:
        return read_html(data, path.name)
    text, notes = decode(data)
    if not text.strip():
        raise DataError("it is empty")
    title = path.name
    headings: tuple[Heading, ...] = ()
    if suffix in SUFFIXES:
        if len(text) > LONGEST_MEAN_LINE * (text.count("\n") + 1):
            raise DataError("it is minified code, which nobody reads")
        headings = definitions(text)
    if suffix in MARKDOWN:
        headings = markdown_headings(text)
        title = next((heading.title for heading in headings if heading.level == 1), title)
    return Document(title, text, "line", line_marks(text), headings, notes)
