"""`workbench context …`: the table of its commands."""

from __future__ import annotations

import argparse

from workbench.cli import context_cost, context_eval, context_list, context_passkeys, context_show
from workbench.cli import parser as grammar

EXAMPLE = """workbench context eval nano-1 --rope-scaling all --rope-factor 4
workbench context show nano-1 nano-1-yarn
workbench context cost nano-window-1
workbench context passkeys keys.jsonl --tokenizer nano-1 --length 64-240"""


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the group to the grammar."""
    group = grammar.add_group(
        commands,
        "context",
        help="how far models read, and what it takes: perplexity by position, pass keys, cost",
        example=EXAMPLE,
    )
    for module in (context_eval, context_cost, context_show, context_list, context_passkeys):
        module.add_to(group)
