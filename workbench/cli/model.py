"""`workbench model …`: look at models."""

from __future__ import annotations

import argparse

from workbench.cli import parser as grammar


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the group to the grammar."""
    from workbench.cli import model_prompt, model_show

    group = grammar.add_group(
        commands, "model", help="look at models", example="workbench model show runs/nano-1/final"
    )
    model_show.add_to(group)
    model_prompt.add_to(group)
