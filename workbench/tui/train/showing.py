"""From another tab to a run that was just started there."""

from __future__ import annotations

from textual.app import App


def show_run(app: App[object], name: str | None) -> None:
    """Go to the Train tab, on the run of a name; without one, nothing was started."""
    if name is None:
        return
    from workbench.tui.app import WorkbenchApp
    from workbench.tui.train.actions import RunActions

    assert isinstance(app, WorkbenchApp)
    app.initial_run = name
    for tab in app.screen_stack[0].query(RunActions):
        tab.changed_on_disk(name)
    app.tab = "train"
