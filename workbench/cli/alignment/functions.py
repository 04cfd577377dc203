"""What the small path learns: to say what a function does, from those of this machine's Python."""

from __future__ import annotations

import ast
import sysconfig
import warnings
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import DataError

LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idle_test", "lib2to3", "encodings"}
SHORTEST, LONGEST = 12, 100
"""Characters of a first sentence that is taken."""
MAX_SIGNATURE = 80


@dataclass(frozen=True)
class Function:
    """A function's first line, and the first sentence of what its author wrote about it."""

    signature: str
    sentence: str

    @property
    def prompt(self) -> str:
        """What stands before the sentence in the file."""
        return f'{self.signature}\n    """'


def documented_functions() -> list[Function]:
    """Functions of the standard library with a first sentence, each first line once, in the order of files.

    Raises `DataError` where this Python carries no sources.
    """
    root = Path(sysconfig.get_paths()["stdlib"])
    found: dict[str, str] = {}
    for path in sorted(root.rglob("*.py")):
        if LEFT_OUT.isdisjoint(path.relative_to(root).parts):
            for signature, sentence in _functions_of(path):
                found.setdefault(signature, sentence)
    if not found:
        raise DataError(
            "this Python carries no documented sources of its standard library",
            where=str(root),
            hint="install those, or align on data of your own: see Alignment in the README",
        )
    return [Function(*pair) for pair in found.items()]


def _functions_of(path: Path) -> list[tuple[str, str]]:
    try:
        with warnings.catch_warnings():
            # Old escapes in old files.
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    pairs = [(_signature(node), first_sentence(ast.get_docstring(node) or "")) for node in functions]
    return [(signature, said) for signature, said in pairs if said and len(signature) <= MAX_SIGNATURE]


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    names = (argument.arg for argument in node.args.posonlyargs + node.args.args + node.args.kwonlyargs)
    return f"def {node.name}({', '.join(name for name in names if name not in ('self', 'cls'))}):"


def first_sentence(docstring: str) -> str:
    """The first sentence, on one line, where it is one and begins with a word; else nothing."""
    paragraph = " ".join(docstring.split("\n\n")[0].split())
    end = paragraph.find(". ")
    sentence = paragraph if end < 0 else paragraph[: end + 1]
    fits = SHORTEST <= len(sentence) <= LONGEST and sentence.endswith(".") and sentence.isascii()
    return sentence if fits and sentence[0].isalpha() and sentence[0].isupper() else ""
