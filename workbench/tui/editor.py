"""The user's own editor, with the interface out of the way while it runs."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from textual.app import App, SuspendNotSupported

from workbench.errors import UsageError, storage_error

FALLBACKS = ("nano", "vim", "vi")


class EditorError(UsageError):
    """There is no editor, or it did not end well."""

    title = "Editor"


def find_editor() -> list[str]:
    """The command line of `$VISUAL`, `$EDITOR` or a common editor. Raises `EditorError`."""
    for variable in ("VISUAL", "EDITOR"):
        wish = os.environ.get(variable, "").strip()
        if not wish:
            continue
        try:
            command = shlex.split(wish)
        except ValueError:
            command = [wish]
        if shutil.which(command[0]):
            return command
        raise EditorError(
            f"the editor “{command[0]}” is not installed", where=f"${variable}", hint="set it to one that is"
        )
    for name in FALLBACKS:
        if shutil.which(name):
            return [name]
    raise EditorError(
        "there is no editor on this machine", hint="install one and name it: export EDITOR=nano"
    )


def edit(app: App[None], text: str, name: str = "recipe.yaml") -> str:
    """Have the user edit `text`; returns what it became. Raises `EditorError` and `StorageError`."""
    command = find_editor()
    try:
        with tempfile.TemporaryDirectory(prefix="workbench-") as folder:
            path = Path(folder, name)
            path.write_text(text, encoding="utf-8")
            with app.suspend():
                code = subprocess.run([*command, str(path)], check=False).returncode
            if code:
                raise EditorError(f"{command[0]} ended with status {code}", hint="nothing was changed")
            return path.read_text(encoding="utf-8", errors="replace")
    except SuspendNotSupported:
        raise EditorError("this terminal cannot be lent to an editor") from None
    except OSError as error:
        raise storage_error(error, error.filename or tempfile.gettempdir()) from None
