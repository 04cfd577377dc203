"""`workbench data …`: look at sources, at tokens, and at rows as they are trained on."""

from __future__ import annotations

import argparse

from workbench.cli import parser as grammar


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the group to the grammar."""
    from workbench.cli.data import clean, inspect, show, tokenize, tokenizer

    group = grammar.add_group(
        commands,
        "data",
        help="look at sources, tokens, and rows as they are trained on; clean a corpus",
        example="workbench data show reviews.csv\nworkbench data inspect bert-nano --rows 2",
    )
    for module in (show, inspect, tokenize, tokenizer, clean):
        module.add_to(group)
