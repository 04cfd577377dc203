"""How to add a package to the environment that this process runs in."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import sys
from pathlib import Path

DISTRIBUTION = "llm-workbench"


def pip_install(*arguments: str) -> str:
    """The shell's command that installs `arguments` into this environment, whether it is activated or not.

    A bare `pip` is often another environment's: it is named only where the shell would find this one's.
    An environment without pip (as uv makes them) is told by uv's command.
    """
    words = " ".join(shlex.quote(argument) for argument in arguments)
    found = shutil.which("pip")
    if found and Path(found).parent == Path(sys.executable).parent:
        return f"pip install {words}"
    python = shlex.quote(sys.executable)
    if importlib.util.find_spec("pip") is None:
        return f"uv pip install --python {python} {words}"
    return f"{python} -m pip install {words}"


def pip_install_extra(name: str) -> str:
    """The command that adds the extra `name` of the workbench."""
    return pip_install(f"{DISTRIBUTION}[{name}]")
