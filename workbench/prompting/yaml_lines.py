"""On which line of a YAML text something stands."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from workbench.recipe.yaml_file import CoreLoader


def line_of(text: str, location: Sequence[str | int], inside: int = 0) -> int:
    """The line, counted from 1, of what stands at a way of keys and numbers, or of what is nearest to it.

    `inside` counts lines within a text that stands there, from 1, so that line 2 of a block is found.
    """
    node = yaml.compose(text, Loader=CoreLoader)
    line = 0
    for part in location:
        if isinstance(node, yaml.MappingNode):
            pair = next((pair for pair in node.value if pair[0].value == str(part)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line
        else:
            break
    if inside and isinstance(node, yaml.ScalarNode):
        block = node.style in ("|", ">")
        line = node.start_mark.line + (inside if block else inside - 1)
    return line + 1
