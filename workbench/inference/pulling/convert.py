"""`python -m workbench.inference.pulling.convert FILE.gguf FOLDER [SAMPLING]`: GGUF to a transformers folder.

SAMPLING is a JSON object for its generation_config.json, which a GGUF file has none of.
Quantised weights are written as bf16, which holds the four or eight bits that they had.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def convert(gguf: Path, folder: Path, sampling: dict[str, Any]) -> None:
    """Write model, tokenizer, chat template and settings of sampling to `folder`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    place = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**place)
    unpacked = GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.bfloat16, quantization_config=unpacked)
    if sampling:
        model.generation_config.update(do_sample=True, **sampling)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]), json.loads("".join(sys.argv[3:]) or "{}"))
