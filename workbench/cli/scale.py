"""`workbench scale …`: plan a study of scaling, run it, fit laws to it, predict the loss of larger runs."""

from __future__ import annotations

import argparse

from workbench.cli import parser as grammar

EXAMPLE = """workbench scale plan tiny-decoders
workbench scale run tiny-decoders
workbench scale fit tiny-decoders
workbench scale predict tiny-decoders --parameters 1e6 --tokens 2e7"""


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the group to the grammar."""
    from workbench.cli import (
        scale_emergence,
        scale_fit,
        scale_laws,
        scale_plan,
        scale_predict,
        scale_run,
        scale_studies,
    )

    group = grammar.add_group(
        commands,
        "scale",
        help="scaling laws: plan, run and fit studies; predict larger runs",
        example=EXAMPLE,
    )
    for module in (
        scale_plan,
        scale_run,
        scale_fit,
        scale_predict,
        scale_emergence,
        scale_studies,
        scale_laws,
    ):
        module.add_to(group)
