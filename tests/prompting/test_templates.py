"""Templates: what they need, what they read like, what they may not do."""

from __future__ import annotations

from typing import Any

import pytest

from workbench.errors import PromptError
from workbench.prompting.templates import TemplateProblem, render, variables_in


@pytest.mark.parametrize(
    ("template", "needed"),
    [
        ("{{ a }} and {{ b.c }} and {{ d[0] }}", {"a": True, "b": True, "d": True}),
        ("{% for x in xs %}{{ loop.index }}{{ x }}{% endfor %}", {"xs": True}),
        ("{% set y = 1 %}{{ y }}", {}),
        ("{{ a|default('x') }}", {"a": False}),
        ("{{ a|default('x') }} {{ a }}", {"a": True}),
        ("{% if a is defined %}{{ a }}{% endif %}", {"a": False}),
        ("{% if a %}{{ a }}{% endif %}", {"a": True}),
        ("{% for n in range(3) %}{{ n }}{% endfor %}", {}),
        ("{% raw %}{{ a }}{% endraw %}", {}),
        ("no variables", {}),
    ],
)
def test_variables_are_found_with_whether_they_are_needed(template: str, needed: dict[str, bool]) -> None:
    assert variables_in(template, "here") == needed


@pytest.mark.parametrize(
    "value",
    [
        "{{ 7 * 7 }}{% for %}",
        "\x1b[31mred\x1b[0m \x1b]0;title\x07",
        "[bold red]markup[/] [link=http://x]",
        "<b>&amp;</b>",
        "{# comment #} }} %}",
        "\u202egnp.exe",
    ],
)
def test_values_stay_as_they_are(value: str) -> None:
    assert render("<{{ a }}>", {"a": value}, "here") == f"<{value}>"


def test_blocks_leave_no_blank_lines() -> None:
    template = "A:\n{% for x in xs %}\n  {{ x }}\n{% endfor %}\nend"
    assert render(template, {"xs": [1, 2]}, "here") == "A:\n  1\n  2\nend"


@pytest.mark.parametrize(
    ("template", "line"),
    [("{{ a", 1), ("x\ny\n{% for %}", 3), ("{% if a %}", 1), ("a\n{{ b|nofilter }}", 2), ("{% endfor %}", 1)],
)
def test_a_template_that_cannot_be_read_names_its_line(template: str, line: int) -> None:
    with pytest.raises(TemplateProblem, match="cannot be read") as caught:
        variables_in(template, "here")
    assert caught.value.line == line
    assert "{{ name }}" in caught.value.hint


@pytest.mark.parametrize(
    ("template", "variables", "message"),
    [
        ("{{ a.b }}", {"a": {}}, "not there: 'dict object' has no attribute 'b'"),
        ("{{ a[3] }}", {"a": []}, "not there"),
        ("{{ a.__class__.__mro__ }}", {"a": ""}, "may not"),
        ("{{ a.append(1) }}", {"a": []}, "may not"),
        ("{{ ''.__class__ }}", {}, "may not"),
        ("{{ self.__init__.__globals__ }}", {}, "may not|not there"),
        ("{{ a / 0 }}", {"a": 1}, "division by zero"),
        ("{{ a() }}", {"a": "x"}, "not callable"),
        ("{{ a + 1 }}", {"a": "x"}, "fails"),
        ("{% include '/etc/passwd' %}", {}, "no loader"),
        ("{{ range(100000000)|list }}", {}, "too big"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", {}, "memory"),
        ("{{ 'x' * 20000000 }}", {}, "20,000,000 characters"),
    ],
)
def test_templates_fail_with_one_clear_error(template: str, variables: dict[str, Any], message: str) -> None:
    with pytest.raises(PromptError, match=message) as caught:
        render(template, variables, "qa.yaml")
    assert caught.value.where == "qa.yaml"
