"""Showing an error that a user can cause: once, as a notification with its what, where and try."""

from __future__ import annotations

from textual.app import App

from workbench.errors import WorkbenchError
from workbench.tui.text import strip_control

SECONDS = 12.0


def notice_text(error: WorkbenchError) -> str:
    """The parts of an error as lines; the title stands above them in the notification."""
    parts = [error.message]
    if error.where:
        parts.append(f"where: {error.where}")
    if error.hint:
        parts.append(f"try: {error.hint}")
    return strip_control("\n".join(parts))


def notify_error(app: App[None], error: WorkbenchError) -> None:
    """Show an error; safe to call from a thread."""
    app.notify(notice_text(error), title=error.title, severity="error", timeout=SECONDS, markup=False)


def notify(app: App[None], message: str) -> None:
    """Say in one line what was done."""
    app.notify(strip_control(message), markup=False, timeout=4)
