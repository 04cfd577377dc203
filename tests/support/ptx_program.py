"""PTX, read: the instructions of one kernel, its parameters, its shared memory."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

SIZES = {"8": 1, "16": 2, "32": 4, "64": 8}


@dataclass(frozen=True)
class Instruction:
    """One instruction: `guard` is a predicate such as `%p1` or `!%p1`, `operation` its dotted parts."""

    operation: tuple[str, ...]
    operands: tuple[str, ...]
    guard: str
    text: str


@dataclass
class Program:
    """A kernel's instructions, labels, parameters (offset, bytes) and shared variables (offset)."""

    instructions: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    parameters: dict[str, tuple[int, int]] = field(default_factory=dict)
    shared: dict[str, int] = field(default_factory=dict)


def read(text: str, symbol: str) -> Program:
    """The kernel `symbol` of a PTX text."""
    text = re.sub(r"//[^\n]*", "", text)
    program = Program()
    at = 0
    for align, bits, name, count in re.findall(r"\.shared \.align (\d+) \.b(\d+) (\w+)\[(\d*)\]", text):
        at = -(-at // int(align)) * int(align)
        program.shared[name] = at  # dynamic memory (no count) begins where the rest ends
        at += SIZES[bits] * int(count or 0)
    head = re.search(rf"\.entry {re.escape(symbol)}\s*\(([^)]*)\)", text)
    assert head, f"no kernel {symbol}"
    offset = 0
    for part in filter(None, (part.strip() for part in head[1].split(","))):
        found = re.search(r"\.param (?:\.align (\d+) )?\.[bsuf](\d+) (\w+)(?:\[(\d+)\])?", part)
        assert found, part
        size = SIZES[found[2]]
        align = int(found[1] or size)
        offset = -(-offset // align) * align
        program.parameters[found[3]] = (offset, size * int(found[4] or 1))
        offset += size * int(found[4] or 1)
    for line in _statements(_body(text[head.end() :])):
        while label := re.match(r"(\$\w+):\s*", line):
            program.labels[label[1]] = len(program.instructions)
            line = line[label.end() :]
        if line and not line.startswith("."):
            program.instructions.append(_instruction(line))
    return program


def _body(text: str) -> str:
    begin = text.index("{") + 1
    depth, at = 1, begin
    while depth:
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        at += 1
    return text[begin : at - 1]


def _statements(body: str) -> list[str]:
    return [" ".join(part.split()) for part in re.split(r";|(?<=:)\n", body)]


def _instruction(line: str) -> Instruction:
    found = re.fullmatch(r"(?:@(!?%\w+) )?([a-z][\w.:]*)\s*(.*)", line)
    assert found, f"not understood: {line}"
    operands = tuple(part.strip() for part in re.split(r",(?![^{]*\})", found[3]) if part.strip())
    return Instruction(tuple(found[2].split(".")), operands, found[1] or "", line)


def names(operand: str) -> list[str]:
    """The registers, or numbers, in an operand such as `{%r1, %r2}`."""
    return [part.strip() for part in operand.strip("{}").split(",")]
