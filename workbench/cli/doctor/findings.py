"""A finding of the doctor, and the sections in which they are made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from workbench.cli import render

OK, NOTE, PROBLEM = "ok", "note", "problem"
STYLES = {OK: "green", NOTE: "yellow", PROBLEM: "red"}


@dataclass(frozen=True)
class Finding:
    """One line: `note` is worth knowing, `problem` keeps something required from working."""

    section: str
    name: str
    level: str
    text: str
    remedy: str = ""


Check = Callable[[], Iterable[tuple[str, str, str, str]]]


def ok(name: str, text: str) -> tuple[str, str, str, str]:
    """All is well."""
    return (name, OK, text, "")


def note(name: str, text: str, remedy: str = "") -> tuple[str, str, str, str]:
    """Worth knowing; nothing required is touched."""
    return (name, NOTE, text, remedy)


def problem(name: str, text: str, remedy: str) -> tuple[str, str, str, str]:
    """Something required is missing or broken."""
    return (name, PROBLEM, text, remedy)


def sections() -> list[tuple[str, Check]]:
    """What is examined, in the order it is shown."""
    from workbench.cli.doctor import compiler, hardware, home, packages, session, torch_probe

    return [
        ("program", packages.required),
        ("home", home.check),
        ("machine", hardware.check),
        ("terminal", session.terminal),
        ("session", session.survival),
        ("torch", torch_probe.check),
        ("compiler", compiler.check),
        ("optional", packages.optional),
    ]


def kernel_sections() -> list[tuple[str, Check]]:
    """What is examined of the fused operators, which takes a while."""
    from workbench.cli.doctor import kernels

    return [("kernels", kernels.check)]


def examine(*, kernels_only: bool = False) -> Iterator[tuple[str, list[Finding]]]:
    """Run every section; one that breaks is itself a finding and keeps no other from running."""
    for section, check in kernel_sections() if kernels_only else sections():
        try:
            found = [Finding(section, *row) for row in check()]
        except Exception as error:
            text = f"could not be examined: {type(error).__name__}: {error}"
            found = [Finding(section, section, NOTE, text)]
        yield section, found


def section_text(section: str, found: list[Finding]) -> str:
    """A section for a person."""
    width = max((len(finding.name) for finding in found), default=0)
    lines = [render.style(section, "bold")]
    for finding in found:
        mark = render.style(f"{finding.level:7}", STYLES[finding.level])
        lines.append(f"  {mark}  {finding.name:{width}}  {render.literal(finding.text)}".rstrip())
        if finding.remedy:
            lines.append(f"  {' ' * (11 + width)}{render.literal(finding.remedy)}")
    return "\n".join(lines)
