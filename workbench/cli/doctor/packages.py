"""Python, the workbench itself and the packages it stands on, told from metadata without importing."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator
from importlib import metadata

from workbench import __version__
from workbench.cli.doctor.findings import note, ok, problem
from workbench.installing import DISTRIBUTION, pip_install, pip_install_extra

OLDEST_PYTHON = (3, 11)
# extra: the package that shows it is there, and what it is for
EXTRAS = {
    "tensorboard": ("tensorboard", "metrics to TensorBoard (run.report_to=[tensorboard])"),
    "wandb": ("wandb", "metrics to Weights & Biases (run.report_to=[wandb])"),
    "mlflow": ("mlflow", "metrics to MLflow (run.report_to=[mlflow])"),
    "trackio": ("trackio", "metrics to Trackio (run.report_to=[trackio])"),
    "tools": ("pydantic-monty", "the sandbox of programs, and tools of MCP servers"),
    "retrieval": ("qdrant-client", "retrieval from PDF files and from a Qdrant server"),
    "cleaning": ("datatrove", "cleaning of data (workbench data clean)"),
    "ray": ("ray", "cleaning on a Ray cluster (executor=ray)"),
}

Row = tuple[str, str, str, str]


def required() -> Iterator[Row]:
    """Python and all required packages, with their versions."""
    version = platform.python_version()
    if sys.version_info < OLDEST_PYTHON:
        yield problem("Python", f"{version} is too old", "install Python 3.11 or newer")
    else:
        yield ok("Python", f"{version} ({sys.executable})")
    yield ok("workbench", __version__)
    missing_metadata = False
    try:
        requirements = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        requirements, missing_metadata = [], True
    if missing_metadata:
        yield note("packages", "the workbench runs from its sources, not installed", pip_install("-e", "."))
    for requirement in requirements:
        parsed = parse_requirement(requirement)
        if parsed:
            yield _package(*parsed)


def parse_requirement(text: str) -> tuple[str, str] | None:
    """Name and least version of a requirement such as `torch>=2.9`; None for those of an extra."""
    match = re.match(r"([A-Za-z0-9._-]+)\s*(?:\(?>=\s*([0-9.]+))?", text)
    if not match or "extra ==" in text:
        return None
    return match[1], match[2] or ""


def _package(name: str, least: str) -> Row:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return problem(name, "is missing", pip_install(name + (f">={least}" if least else "")))
    if least and numbers(version) < numbers(least):
        return problem(name, f"{version} is older than {least}", pip_install("--upgrade", f"{name}>={least}"))
    return ok(name, version)


def numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: 2.15.0+cu130 is (2, 15, 0)."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    parts = [int(part) for part in match[0].split(".")] if match else [0]
    while len(parts) > 1 and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def optional() -> Iterator[Row]:
    """What can be added, and how; and an editor for recipes."""
    import os
    import shutil

    for name, (package, use) in EXTRAS.items():
        try:
            version = metadata.version(package)
            yield ok(name, version if package == name else f"{package} {version}")
        except metadata.PackageNotFoundError:
            yield note(name, f"not installed: {use}", pip_install_extra(name))
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ""
    command = editor.split()[0] if editor.split() else ""
    if command and shutil.which(command):
        yield ok("editor", editor)
    else:
        what = f"“{editor}” is not found" if editor else "neither VISUAL nor EDITOR is set"
        remedy = "export EDITOR=nano (or vim, …); workbench recipe schema prints a schema for its completion"
        yield note("editor", what, remedy)
