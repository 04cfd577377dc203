"""Opening a file as bytes, unpacked if need be, so that whatever is wrong with it has a clear name."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from workbench.errors import DataError

COMPRESSED = (".gz", ".zst")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def inner_suffix(path: Path) -> str:
    """The suffix that names the format, in lower case: `.jsonl` for `a.jsonl.gz`."""
    name = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    return name.suffix.lower()


@contextmanager
def open_binary(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a plain, `.gz` or `.zst` file, buffered. Errors of reading it come out as `DataError`."""
    try:
        with _open(path) as stream:
            yield stream
    except EOFError:
        raise _cut_short(path) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"the file is no sound gzip file ({error})", where=str(path)) from None
    except OSError as error:
        raise reading_error(error, path) from None


def _open(path: Path) -> BinaryIO:
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return cast(BinaryIO, gzip.open(path, "rb"))
    if suffix == ".zst":
        import pyarrow as pa

        stream = pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")
        return cast(BinaryIO, io.BufferedReader(stream, 1 << 20))
    return path.open("rb", buffering=1 << 20)


def _cut_short(path: Path) -> DataError:
    return DataError(
        "the compressed file ends in the middle",
        where=str(path),
        hint="it was copied or downloaded incompletely; get it again",
    )


def reading_error(error: OSError, path: Path) -> DataError:
    """Say why `path` could not be read."""
    if isinstance(error, PermissionError):
        return DataError(
            "no permission to read it", where=str(path), hint=f"allow it with: chmod u+r “{path}”"
        )
    if isinstance(error, FileNotFoundError):
        return DataError("the file is gone", where=str(path))
    text = error.strerror or str(error)
    if "runcated" in text:
        return _cut_short(path)
    return DataError(f"it cannot be read: {text}", where=str(path))


def decode(data: bytes, where: str, offset: int = 0) -> str:
    """UTF-8 text, or a `DataError` that names the first bad byte. `data` begins at `offset`."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise not_text(where, offset + error.start, data[error.start]) from None


def not_text(where: str, offset: int, byte: int) -> DataError:
    """The error for a byte that no UTF-8 text holds at this place."""
    hint = "save it as UTF-8, for example: iconv -f latin1 -t utf-8 OLD > NEW"
    if offset == 0 and byte in (0xFF, 0xFE):
        hint = "it looks like UTF-16; save it as UTF-8: iconv -f utf-16 -t utf-8 OLD > NEW"
    return DataError(f"it is not UTF-8 text: byte 0x{byte:02x} at offset {offset:,}", where=where, hint=hint)


def decoded_lines(file: BinaryIO, where: str, offset: int = 0, first: int = 1) -> Iterator[str]:
    """The lines of a file with their line ends, a byte order mark left out. A bad byte is told with its line.

    `first` is the number of the line that the file stands at, `offset` its bytes before that.
    """
    for number, line in enumerate(file, first):
        text = decode(line, f"{where}:{number}", offset)
        yield text.removeprefix("\ufeff") if offset == 0 else text
        offset += len(line)


def decoded_blocks(file: BinaryIO, where: str, size: int = 1 << 20) -> Iterator[str]:
    """A file in pieces of about `size` bytes, never cut inside a character, a byte order mark left out."""
    offset, carry = 0, b""
    while block := file.read(size):
        data = carry + block
        end = safe_end(data)
        text = decode(data[:end], where, offset)
        yield text.removeprefix("\ufeff") if offset == 0 else text
        offset += end
        carry = data[end:]
    if carry:
        yield decode(carry, where, offset)


def safe_end(data: bytes) -> int:
    """The longest prefix, in bytes, that does not end inside a UTF-8 character."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte >= 0xC0:
            width = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(data) - back if width > back else len(data)
        if byte < 0x80:
            break
    return len(data)
