"""Modelfiles for Ollama. What Go makes of the templates is compared by a benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from exported_models import decoder
from family_templates import SMOLLM2
from transformers import GenerationConfig

from workbench.data.chat_templates import chat_template, known_templates
from workbench.exporting.go_templates import go_template, of_ours


@pytest.fixture
def written(tokenizer: Any, save: Any, exported: Any, tmp_path: Path) -> Any:
    """`written(template)` is the Modelfile of a model that learnt with it, and what was said."""
    kept = tokenizer.chat_template

    def write(template: str | None) -> tuple[str, str]:
        tokenizer.chat_template = template
        settings = GenerationConfig(do_sample=True, temperature=0.3, top_k=40)
        told = exported(save(decoder("Llama", tokenizer), tokenizer, settings), "ollama", dtype="q8_0")
        return (tmp_path / "out" / "Modelfile").read_text(), " ".join(told["notes"])

    yield write
    tokenizer.chat_template = kept


def test_a_template_that_does_the_same_is_found(written: Any) -> None:
    text, _ = written(SMOLLM2)
    assert text.startswith("FROM ./model-q8_0.gguf\n")
    assert f'TEMPLATE """{of_ours("chatml")}"""\n' in text
    assert 'SYSTEM """You are a helpful AI assistant named SmolLM, trained by Hugging Face"""\n' in text
    assert 'PARAMETER stop "<|im_end|>"\n' in text and 'PARAMETER stop "<|eos|>"\n' in text
    assert "PARAMETER temperature 0.3\nPARAMETER top_k 40\n" in text.replace("PARAMETER top_p", "#")
    assert "PARAMETER num_ctx 256\n" in text


def test_an_end_that_is_no_token_is_a_stop_too(written: Any) -> None:
    text, told = written(chat_template("gemma"))
    assert 'PARAMETER stop "<end_of_turn>"\n' in text and "ends with the text <end_of_turn>" in told


def test_one_that_is_not_known(written: Any) -> None:
    text, told = written("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
    assert "TEMPLATE" not in text.replace("# No TEMPLATE", "") and "no template here" in told


@pytest.mark.parametrize("name", known_templates())
def test_every_shipped_template_has_one(tokenizer: Any, name: str) -> None:
    found = go_template(tokenizer, chat_template(name), bos="<s>", eos="</s>")
    assert found is not None and found.count("{{") == found.count("}}") > 0
    assert "$BOS" not in found and "$EOS" not in found
