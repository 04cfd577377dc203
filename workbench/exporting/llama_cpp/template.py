"""The chat template in a GGUF file: the very one the model learnt with, in words that every reader knows."""

from __future__ import annotations

import re
from typing import Any

from workbench.data.turn_ends import template_of
from workbench.exporting.conversation import does_the_same

TAG = re.compile(r"\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}")
"""transformers' mark around what the assistant says, of which masks for training are made; other programs'
readers of templates stumble over it, or ignore it."""


def portable_template(tokenizer: Any) -> str | None:
    """Its chat template with the marks written as a condition that always holds, so that blanks are cut as
    before and every text is the same; None where there is none."""
    template = template_of(tokenizer)
    if template is None or TAG.search(template) is None:
        return template
    plain = TAG.sub(lambda tag: f"{{%{tag[1]} {'endif' if tag[2] else 'if true'} {tag[3]}%}}", template)
    assert does_the_same(tokenizer, template, plain)
    return plain
