"""An Ollama Modelfile beside a GGUF file: template, stops, sampling, what the system says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.data import turn_ends
from workbench.exporting.go_templates import go_template

if TYPE_CHECKING:
    from workbench.exporting.llama_cpp.plan import Plan

NAME = "Modelfile"
LONGEST = 8192
"""Of the context that is asked for: memory grows with it, and whoever wants more can say so."""
SAMPLING = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "repeat_penalty",
}
"""Settings of a generation configuration, and what Ollama calls them."""
SYSTEM = re.compile(r"<\|im_start\|>system\n(.*?)<\|im_end\|>", re.DOTALL)
UNKNOWN = (
    "# No TEMPLATE stands here, for none is known that does in Ollama's language what this model's chat\n"
    "# template does. Ollama takes one of its own where it recognises the template in the GGUF file, else\n"
    "# it sends the bare text.\n"
)


def write_modelfile(folder: Path, file: str, plan: Plan) -> list[str]:
    """Write it; returns notes."""
    tokenizer = plan.tokenizer
    template = turn_ends.template_of(tokenizer)
    lines, notes = [f"FROM ./{file}\n"], []
    if template is not None:
        # Where texts get their first token from the program, the template must not write another.
        bos = "" if plan.frame.bos else tokenizer.bos_token or ""
        text = go_template(tokenizer, template, bos=bos, eos=tokenizer.eos_token or "")
        if text is None:
            lines.append(UNKNOWN)
            notes.append("Ollama's own language has no template here that does the same: see the Modelfile")
        else:
            lines.append(f'TEMPLATE """{text}"""\n')
            if system := system_of(tokenizer):
                lines.append(f'SYSTEM """{system}"""\n')
    for stop in _stops(plan):
        lines.append(f"PARAMETER stop {_quoted(stop)}\n")
    lines.append(f"PARAMETER num_ctx {min(plan.context, LONGEST)}\n")
    lines += [f"PARAMETER {key} {value:g}\n" for key, value in _sampling(plan.source.generation)]
    (folder / NAME).write_text("".join(lines), encoding="utf-8")
    return notes


def _stops(plan: Plan) -> list[str]:
    """The texts of all tokens that end an answer, and what ends one without being a token."""
    ends = turn_ends.end_tokens(plan.tokenizer, plan.configs())
    text = turn_ends.end_text(plan.tokenizer)
    return [*(str(plan.tokenizer.convert_ids_to_tokens(token)) for token in ends), *([text] if text else [])]


def _sampling(generation: Any) -> list[tuple[str, float]]:
    if generation is None:
        return []
    if generation.do_sample is False:
        return [("temperature", 0.0)]
    found = [(ours, getattr(generation, theirs, None)) for theirs, ours in SAMPLING.items()]
    return [(name, float(value)) for name, value in found if value is not None]


def system_of(tokenizer: Any) -> str | None:
    """What the template has the system say where a conversation says nothing."""
    text = turn_ends.rendered(tokenizer, (turn_ends.USER,)) or ""
    match = SYSTEM.search(text)
    return match[1] if match else None


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
