"""`workbench runs …`: the table of its commands."""

from __future__ import annotations

import argparse

from workbench.cli import parser as grammar
from workbench.cli import (
    runs_compare,
    runs_control,
    runs_events,
    runs_export,
    runs_list,
    runs_ranks,
    runs_remove,
    runs_show,
)

EXAMPLE = """workbench runs list
workbench runs follow nano-1
workbench runs compare nano-1 nano-2"""


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the group to the grammar."""
    group = grammar.add_group(commands, "runs", help="see and steer training runs", example=EXAMPLE)
    for module in (
        runs_list,
        runs_show,
        runs_events,
        runs_ranks,
        runs_control,
        runs_remove,
        runs_compare,
        runs_export,
    ):
        module.add_to(group)
