"""The process that reads files: a file that hangs or swells a parser takes this process with it, no other.

Runs as `python -m workbench.prompting.retrieval.worker`; `reading` speaks with it. A message is eight bytes
of length, big-endian, and that much JSON.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import struct
import sys
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from workbench.errors import WorkbenchError
from workbench.prompting.retrieval.chunking import Chunking, split
from workbench.prompting.retrieval.extraction.formats import extract

LENGTH = struct.Struct(">Q")
MOST_MEMORY = 4 << 30
"""Bytes of address space: some hundred times the largest file that is read."""


def pack(message: Any) -> bytes:
    """A message as it travels."""
    content = orjson.dumps(message)
    return LENGTH.pack(len(content)) + content


def read(path: Path, chunking: Chunking, maximum_bytes: int) -> dict[str, Any]:
    """A file's text and passages, or under `skipped` why it has none."""
    try:
        with path.open("rb") as file:
            data = file.read(maximum_bytes + 1)
        if len(data) > maximum_bytes:
            return {"skipped": "it grew while it was read"}
        document = extract(data, path)
    except WorkbenchError as error:
        return {"skipped": error.message}
    except OSError as error:
        return {"skipped": error.strerror or "it cannot be read"}
    except (MemoryError, RecursionError) as error:
        return {"skipped": f"reading it needs too much ({type(error).__name__})"}
    return {
        "content": hashlib.sha256(data).hexdigest(),
        "title": document.title,
        "text": document.text,
        "unit": document.unit,
        "notes": document.notes,
        "chunks": [
            {**vars(chunk), "text": document.text[chunk.start : chunk.end]}
            for chunk in split(document, chunking)
        ],
    }


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until there are no more."""
    while len(head := requests.read(LENGTH.size)) == LENGTH.size:
        request = orjson.loads(requests.read(LENGTH.unpack(head)[0]))
        answers.write(
            pack(read(Path(request["path"]), Chunking(**request["chunking"]), request["maximum_bytes"]))
        )
        answers.flush()


def main() -> None:
    """Serve on standard input and output, which nothing else may print to."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # Not every system bounds it.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
