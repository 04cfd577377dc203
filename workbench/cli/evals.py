"""`workbench evals …`: the table of its commands."""

from __future__ import annotations

import argparse

from workbench.cli import evals_compare, evals_list, evals_show
from workbench.cli import parser as grammar

EXAMPLE = """workbench evals list
workbench evals show my-evaluation --wrong
workbench evals compare zero-shot with-cot"""


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the group to the grammar."""
    group = grammar.add_group(
        commands, "evals", help="see and compare evaluations of prompts", example=EXAMPLE
    )
    for module in (evals_list, evals_show, evals_compare):
        module.add_to(group)
