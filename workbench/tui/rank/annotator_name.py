"""Under whose name rankings are written down."""

from __future__ import annotations

import getpass
import os

from workbench.tui.settings import annotator_setting

VARIABLE = "WORKBENCH_ANNOTATOR"
FALLBACK = "me"


def annotator_name() -> str:
    """`$WORKBENCH_ANNOTATOR`, else the name given in the interface, else that of the user's account."""
    for name in (os.environ.get(VARIABLE, ""), annotator_setting(), _account()):
        if name.strip():
            return name.strip()
    return FALLBACK


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""
