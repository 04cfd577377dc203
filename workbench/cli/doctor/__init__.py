"""`workbench doctor`: what this machine has and lacks, each with what would help."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from workbench.cli import parser as grammar

if TYPE_CHECKING:
    from workbench.cli.doctor.findings import Finding


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the grammar."""
    parser = grammar.add_command(
        commands,
        "doctor",
        run,
        help="say what this machine has and lacks",
        description="Say what this machine has and lacks. Exit code 1 when something required is missing.",
        example="workbench doctor\nworkbench doctor --json\nworkbench doctor --kernels",
    )
    parser.add_argument(
        "--kernels", action="store_true", help="only the fused operators: verify each path here, and time it"
    )
    grammar.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Handle `workbench doctor`."""
    from dataclasses import asdict

    from workbench.cli import render
    from workbench.cli.doctor.findings import PROBLEM, examine, section_text

    findings: list[Finding] = []
    for section, found in examine(kernels_only=args.kernels):
        findings += found
        if not args.json:
            # The probe of torch takes seconds: show what is known already.
            print(section_text(section, found), flush=True)
    problems = [finding for finding in findings if finding.level == PROBLEM]
    if args.json:
        print(render.as_json({"ok": not problems, "findings": [asdict(finding) for finding in findings]}))
    elif problems:
        names = ", ".join(finding.name for finding in problems)
        render.talk(f"{len(problems)} problem{'s' if len(problems) > 1 else ''}: {names}")
    return 1 if problems else 0
