"""Every error that a user can cause, on one page.

Each says *what* was wrong, *where*, and what would be right (`hint`). They are raised anywhere and
shown once, at the edge: the command line prints `render()` on standard error and exits with
`exit_code`, the interface shows a notification, a training worker stores `as_dict()` in its status.
"""

from __future__ import annotations


class WorkbenchError(Exception):
    """Base of all errors with a cause outside the program. Exit code 1."""

    title = "Error"
    exit_code = 1

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def render(self) -> str:
        """The error as up to three plain lines: what, where, what would be right."""
        lines = [f"{self.title}: {self.message}"]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.hint:
            lines.append(f"  try:   {self.hint}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, str]:
        """The same parts for `status.json`, so that the interface can lay them out."""
        return {"title": self.title, "message": self.message, "where": self.where, "hint": self.hint}


class UsageError(WorkbenchError):
    """A command was called the wrong way. Exit code 2."""

    title = "Usage"
    exit_code = 2


class RecipeError(UsageError):
    """A recipe or override that cannot be used: unknown key, wrong type, impossible combination."""

    title = "Recipe"


class DataError(WorkbenchError):
    """A source that cannot be read or holds nothing to train on; `where` names file and line."""

    title = "Data"


class ModelError(WorkbenchError):
    """A model or tokenizer that cannot be built, found or safely loaded."""

    title = "Model"


class RunError(WorkbenchError):
    """A run folder that is missing, taken, busy or in the wrong state for what was asked."""

    title = "Run"


class CheckpointError(WorkbenchError):
    """A checkpoint that is incomplete, damaged or of another run."""

    title = "Checkpoint"


class TrainingError(WorkbenchError):
    """A run that cannot go on: the loss is not finite, memory is exhausted."""

    title = "Training"


class ServerError(WorkbenchError):
    """An inference server that cannot be reached, refuses, or breaks off; `where` names it."""

    title = "Server"


class PromptError(UsageError):
    """A prompt, template, technique or its settings that cannot be used."""

    title = "Prompt"


class ToolError(WorkbenchError):
    """A tool, or a server of tools, that cannot be set up."""

    title = "Tool"


class StorageError(WorkbenchError):
    """The disk refused: full, read-only, no permission."""

    title = "Storage"


class TerminalError(WorkbenchError):
    """A terminal that cannot show the interface."""

    title = "Terminal"


class MissingExtraError(WorkbenchError):
    """An optional package is needed; `hint` is the command that installs it."""

    title = "Missing package"


def storage_error(error: OSError, where: object) -> StorageError:
    """Turn an `OSError` met while writing `where` into one clear sentence."""
    import errno

    reasons = {
        errno.ENOSPC: ("the disk is full", "free some space, or choose another folder with WORKBENCH_HOME"),
        errno.EDQUOT: ("your disk quota is used up", "free some space, or choose another folder"),
        errno.EROFS: ("the file system is read-only", "choose another folder with WORKBENCH_HOME"),
        errno.EACCES: ("permission denied", "choose a folder you may write with WORKBENCH_HOME"),
        errno.EPERM: ("permission denied", "choose a folder you may write with WORKBENCH_HOME"),
        errno.ENOTDIR: ("a file stands where a folder is needed", "move it, or set WORKBENCH_HOME"),
    }
    message, hint = reasons.get(error.errno or 0, (error.strerror or str(error), ""))
    return StorageError(message, where=str(where), hint=hint)
