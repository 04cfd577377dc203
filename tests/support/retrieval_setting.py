"""Small documents, PDF files made here, and embedders whose vectors are known."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path


def pdf(*pages: str, title: str = "") -> bytes:
    """A PDF file whose pages hold these lines of text, written out by hand."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", ""]
    kids = []
    for text in pages:
        lines = "\n".join(f"({_escaped(line)}) Tj T*" for line in text.split("\n"))
        stream = f"BT /F1 12 Tf 14 TL 50 750 Td {lines} ET" if text else ""
        page, contents = len(objects) + 1, len(objects) + 2
        kids.append(f"{page} 0 R")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {contents} 0 R "
            "/Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    objects.append(f"<< /Title ({_escaped(title)}) >>")
    file = io.BytesIO(b"%PDF-1.4\n")
    file.seek(0, io.SEEK_END)
    offsets = []
    for number, content in enumerate(objects, 1):
        offsets.append(file.tell())
        file.write(f"{number} 0 obj\n{content}\nendobj\n".encode("latin-1"))
    start = file.tell()
    file.write(f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode())
    file.write("".join(f"{offset:010d} 00000 n \n" for offset in offsets).encode())
    info = f" /Info {len(objects)} 0 R" if title else ""
    file.write(f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R{info} >>\n".encode())
    file.write(f"startxref\n{start}\n%%EOF\n".encode())
    return file.getvalue()


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")


def encrypted_pdf(*pages: str, password: str) -> bytes:
    """The same, with a password for reading it."""
    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter(clone_from=PdfReader(stream=io.BytesIO(pdf(*pages))))
    writer.encrypt(user_password=password, owner_password="owner", algorithm="RC4-128")
    file = io.BytesIO()
    writer.write(stream=file)
    return file.getvalue()


def pdf_with_bookmarks(*pages: str, bookmarks: Sequence[tuple[str, int]]) -> bytes:
    """The same, with bookmarks as (title, number of the page from 0)."""
    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter(clone_from=PdfReader(stream=io.BytesIO(pdf(*pages))))
    for title, page in bookmarks:
        writer.add_outline_item(title=title, page_number=page)
    file = io.BytesIO()
    writer.write(stream=file)
    return file.getvalue()


def write_files(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """A folder with these files, named by their paths in it."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


class TopicEmbedder:
    """One dimension a topic: how often a text speaks of it, in whatever words. `texts` is all it was sent."""

    def __init__(self, topics: Sequence[Sequence[str]], name: str = "topics") -> None:
        self.name = name
        self.topics = topics
        self.texts: list[str] = []

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Counts of each topic's words, and a little of nothing in particular."""
        self.texts += texts
        return [
            [*(sum(text.lower().count(word) for word in words) for words in self.topics), 0.01]
            for text in texts
        ]
