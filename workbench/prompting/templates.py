"""Jinja templates: which variables they need, and what they read like with values in them.

Templates may come from strangers, so they run in Jinja's sandbox; whatever stands in a value stays as it
is, braces and markup included.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from workbench.errors import PromptError

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

LONGEST_TEXT = 10_000_000
"""Characters. More is a template that has gone wrong."""


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )


class TemplateProblem(PromptError):
    """A template that cannot be read; `line` counts from 1 in its own text."""

    def __init__(self, message: str, line: int, *, where: str = "", hint: str = "") -> None:
        super().__init__(message, where=where, hint=hint)
        self.line = line


def variables_in(template: str, where: str) -> dict[str, bool]:
    """The variables a template takes from outside, and whether it cannot do without them.

    It can where it asks whether a variable `is defined`, or uses it only with `default`. Raises
    `TemplateProblem`.
    """
    from jinja2 import TemplateSyntaxError, meta, nodes

    environment = _environment()
    try:
        # Compiled too: an unknown filter shows only then.
        environment.from_string(template)
        tree = environment.parse(template)
        names = meta.find_undeclared_variables(tree) - environment.globals.keys()
    except TemplateSyntaxError as error:
        raise TemplateProblem(
            f"the template cannot be read: {error.message}",
            error.lineno,
            where=where,
            hint="a variable is {{ name }}; braces that are meant literally stand in {% raw %}…{% endraw %}",
        ) from None
    tests = [test.node for test in tree.find_all(nodes.Test) if test.name in ("defined", "undefined")]
    fills = [use.node for use in tree.find_all(nodes.Filter) if use.name in ("default", "d")]
    tested = {node.name for node in tests if isinstance(node, nodes.Name)}
    filled = Counter(node.name for node in fills if isinstance(node, nodes.Name))
    used = Counter(use.name for use in tree.find_all(nodes.Name))
    return {name: name not in tested and used[name] > filled[name] for name in sorted(names)}


def render(template: str, variables: Mapping[str, Any], where: str) -> str:
    """A template with values in it. Raises `PromptError`."""
    from jinja2 import TemplateError, TemplateSyntaxError, UndefinedError
    from jinja2.exceptions import SecurityError

    try:
        text = str(_compiled(template).render(dict(variables)))
    except UndefinedError as error:
        raise PromptError(
            f"the template asks for something that is not there: {error.message}", where=where
        ) from None
    except SecurityError as error:
        raise PromptError(f"the template does what templates may not: {error.message}", where=where) from None
    except TemplateSyntaxError as error:
        raise TemplateProblem(
            f"the template cannot be read: {error.message}", error.lineno, where=where
        ) from None
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise PromptError(f"the template fails: {error}", where=where) from None
    except (RecursionError, MemoryError):
        raise PromptError("the template needs more memory than there is", where=where) from None
    if len(text) > LONGEST_TEXT:
        raise PromptError(f"the template makes a text of {len(text):,} characters", where=where)
    return text


@lru_cache(maxsize=256)
def _compiled(template: str) -> Any:
    return _environment().from_string(template)
