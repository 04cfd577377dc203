"""One file format each: a reader is a function in its own file, and an entry in `READERS`.

`READERS` give the text of a file, for pre-training; `file_records` gives whole records.
"""

from __future__ import annotations

from workbench.data.documents import Reader
from workbench.data.readers.conll import SUFFIXES, read_conll
from workbench.data.readers.delimited import read_delimited
from workbench.data.readers.file_records import file_records
from workbench.data.readers.json_array import read_json
from workbench.data.readers.json_lines import read_json_lines
from workbench.data.readers.parquet import read_parquet
from workbench.data.readers.text import read_text

RECORD_READERS: dict[str, Reader] = {
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".json": read_json,
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".parquet": read_parquet,
    **dict.fromkeys(SUFFIXES, read_conll),
}
"""Formats that hold many records, of which one column is the text."""

_PROSE = (".txt", ".text", ".md", ".markdown", ".rst", ".org", ".adoc", ".tex")
_CODE = (".py", ".pyi", ".c", ".h", ".cc", ".cpp", ".hpp", ".cu", ".cuh", ".rs", ".go", ".java", ".kt")
_SCRIPTS = (".js", ".ts", ".sh", ".sql", ".r", ".jl", ".lua", ".rb", ".pl", ".scala", ".swift", ".hs")

TEXT_READERS: dict[str, Reader] = dict.fromkeys((*_PROSE, *_CODE, *_SCRIPTS), read_text)
"""Formats where the file is the document."""

READERS: dict[str, Reader] = {**RECORD_READERS, **TEXT_READERS}

FORMATS = (
    "records: .jsonl .json .csv .tsv .parquet .conll; text: "
    + " ".join((*_PROSE, ".py …"))
    + "; also .gz, .zst"
)

__all__ = ["FORMATS", "READERS", "RECORD_READERS", "TEXT_READERS", "file_records", "read_text"]
