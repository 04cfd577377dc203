"""Chat templates that mark what the assistant says, shipped for the model families whose own do not."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from workbench.errors import DataError
from workbench.paths import resources

LARGEST = 1 << 20
"""Characters of a template at most."""


@cache
def known_templates() -> tuple[str, ...]:
    """The names of those that the package carries."""
    return tuple(sorted(path.stem for path in (resources("presets") / "templates").glob("*.jinja")))


def chat_template(name: str) -> str:
    """The text of a template by its name, or of a file (relative to the working folder).

    Raises `DataError` where there is neither.
    """
    if name in known_templates():
        return (resources("presets") / "templates" / f"{name}.jinja").read_text(encoding="utf-8")
    path = Path(name).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"there is no chat template “{name}”: {error.strerror if isinstance(error, OSError) else error}",
            where="data.chat_template",
            hint=f"name one of {', '.join(known_templates())}, or a file with a Jinja template",
        ) from None
    if not text.strip() or len(text) > LARGEST:
        raise DataError("the file holds no chat template", where=str(path))
    return text
