"""Plain text: the file is the document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from workbench.data.documents import Found, Tally
from workbench.data.opening import UTF16_MARKS, decode, not_text, open_binary, safe_end

BLOCK = 16 << 20
"""A longer file becomes several documents of at most this many bytes, cut at line ends.

So memory stays bounded whatever the file; the price is one extra document boundary in four million tokens.
"""


def read_text(path: Path, column: str, tally: Tally) -> Iterator[Found]:
    """Yield the text of a file; `column` does not apply."""
    name = str(path)
    with open_binary(path) as file:
        offset, carry = 0, b""
        while True:
            data = carry + file.read(BLOCK - len(carry))
            last = len(data) < BLOCK
            end = len(data) if last else data.rfind(b"\n") + 1 or safe_end(data)
            if end or offset == 0:
                yield _text(data[:end], name, offset), name if offset == 0 else f"{name} (from byte {offset})"
            if last:
                return
            tally.cut_files += offset == 0
            offset += end
            carry = data[end:]


def _text(data: bytes, name: str, offset: int) -> str:
    if offset == 0 and data[:2] in UTF16_MARKS:
        raise not_text(name, 0, data[0])
    text = decode(data, name, offset)
    zero = data.find(b"\0")
    if zero >= 0:
        raise not_text(name, offset + zero, 0)
    return text.removeprefix("\ufeff") if offset == 0 else text
