"""The prompts of a session, from a file: texts, instructions, conversations up to their last answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from workbench.errors import DataError
from workbench.prompting.rows import SUFFIXES, read_rows
from workbench.prompting.validation import did_you_mean
from workbench.store.preferences.contents import Content, Prompt, prompt_digest
from workbench.store.preferences.exchange.records import checked_content, read_records, text_of

FILES = (*SUFFIXES, ".json", ".txt")
COLUMNS = ("prompt", "messages", "conversations", "instruction")
"""The columns that are taken for prompts without being named, the first that is there."""
ROLES = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bard": "assistant",
    "bing": "assistant",
}
"""What ShareGPT's files call who speaks."""
HINT = '"prompt" is a text, or [{"role": "user", "content": "…"}, …]'


@dataclass(frozen=True)
class PromptFile:
    """What was read: `column` is where the prompts stood, `repeated` how many were there already, `cut` of
    how many conversations the last answer was left out."""

    prompts: tuple[Prompt, ...]
    column: str
    repeated: int = 0
    cut: int = 0

    def in_words(self) -> str:
        """It in a line."""
        count = len(self.prompts)
        where = f" from the column “{self.column}”" if self.column else ", one a line"
        parts = [f"{count:,} prompt{'s' * (count != 1)}{where}"]
        parts += [f"{self.repeated:,} repeated ones left out"] if self.repeated else []
        parts += [f"the last answers of {self.cut:,} left out"] if self.cut else []
        return ", ".join(parts)


def read_prompts(
    path: Path,
    *,
    column: str | None = None,
    system_column: str = "system",
    limit: int | None = None,
    system: str | None = None,
) -> PromptFile:
    """The prompts of a file, each once, at most `limit` of them.

    `column` names the one that holds them; else it is the first there is of `COLUMNS`. A conversation is a
    prompt up to its last answer. `system` is the system message of prompts that have none of their own, in
    the `system_column` or their messages. Raises `DataError` naming file and line.
    """
    found: dict[str, Prompt] = {}
    repeated = cut = 0
    for row, where in _rows(path):
        if column is None:
            column = _detected(row, where)
        content, shortened = _content(row, column, where)
        prompt = _with_system(content, row, system_column, system, where)
        digest = prompt_digest(prompt)
        if digest in found:
            repeated += 1
            continue
        found[digest] = prompt
        cut += shortened
        if limit is not None and len(found) >= limit:
            break
    if not found:
        raise DataError("the file holds no prompts", where=str(path), hint=HINT)
    return PromptFile(tuple(found.values()), "" if path.suffix == ".txt" else column or "", repeated, cut)


def _rows(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    if path.is_dir():
        raise DataError("this is a folder", where=str(path), hint="name a file of prompts")
    if not path.exists():
        raise DataError("there is no such file", where=str(path))
    if path.suffix not in FILES:
        raise DataError(
            f"“{path.name}” is no file of prompts", where=str(path), hint=f"a name ends in {', '.join(FILES)}"
        )
    if path.suffix == ".json":
        return read_records(path)
    return _lines(path) if path.suffix == ".txt" else read_rows(path)


def _lines(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """A text file's lines, each a prompt."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield {"prompt": line.strip()}, f"{path}:{number}"
    except UnicodeDecodeError as error:
        raise DataError(f"not a text file (byte {error.start} is not UTF-8)", where=str(path)) from None
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror or error}", where=str(path)) from None


def _detected(row: Mapping[str, Any], where: str) -> str:
    for name in COLUMNS:
        if row.get(name) is not None:
            return name
    raise DataError(
        f"none of the columns {', '.join(map(str, row)) or '(none)'} is known to hold prompts",
        where=where,
        hint=f"name it (--column), or call it one of {', '.join(COLUMNS)}",
    )


def _content(row: Mapping[str, Any], column: str, where: str) -> tuple[Content, bool]:
    """The prompt of a row, and whether its last answer was left out."""
    value = row.get(column)
    if value is None:
        raise DataError(
            f"the row has {'nothing in' if column in row else 'no'} column “{column}”",
            where=where,
            hint=did_you_mean(column, row) or f"the columns are {', '.join(map(str, row))}",
        )
    if column == "instruction" and row.get("input"):
        # Alpaca's way: what the instruction is about stands beside it.
        value = f"{value}\n\n{row['input']}"
    if isinstance(value, str) and column in ("messages", "conversations"):
        # In a CSV file, messages are JSON.
        value = _parsed(value, column, where)
    if isinstance(value, list):
        value = [_message(message) for message in value]
    content = checked_content(value, f"“{column}”", where)
    if isinstance(content, str):
        if not content.strip():
            raise DataError("the prompt is empty", where=where, hint="remove the row, or give it its prompt")
        return content, False
    return _open_ended(content, where)


def _parsed(text: str, column: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise DataError(f"“{column}” is neither messages nor their JSON", where=where, hint=HINT) from None


def _message(value: Any) -> Any:
    """A message of ShareGPT's as one of the usual form; another as it is."""
    if isinstance(value, dict) and "from" in value and "role" not in value:
        speaker = str(value["from"])
        return {"role": ROLES.get(speaker, speaker), "content": value.get("value", "")}
    return value


def _open_ended(messages: Sequence[dict[str, Any]], where: str) -> tuple[Content, bool]:
    """A conversation up to its last answer, so that it waits for one."""
    end = len(messages)
    while end and messages[end - 1]["role"] == "assistant":
        end -= 1
    if not any(message["role"] != "system" for message in messages[:end]):
        raise DataError("nobody asks anything in this conversation", where=where, hint=HINT)
    return list(messages[:end]), end < len(messages)


def _with_system(
    content: Content, row: Mapping[str, Any], column: str, system: str | None, where: str
) -> Prompt:
    own = text_of(row, column, where)
    if not isinstance(content, str) and content[0]["role"] == "system":
        return Prompt(content)
    tools = row.get("tools")
    prompt = Prompt(content, own or system)
    return replace(prompt, tools=tools) if isinstance(tools, list) and tools else prompt
