"""GGUF files that `workbench export` writes, loaded in llama.cpp and compared with transformers in fp32.

    python tests/benchmarks/export_llama_cpp.py --llama-python PYTHON [--model FOLDER]
        [--sentencepiece-python PYTHON] [--texts 400] [--only KIND …]

PYTHON has llama-cpp-python; FOLDER is a transformers folder of a Llama (SmolLM2); the other PYTHON has
sentencepiece, which then learns a tokenizer of Llama 2's kind. Small decoders with random weights are made
here, of every kind and tokenizer that is written. Prints JSON for each: how many of the texts have the same
tokens, the largest difference of logits over their spread, and how many greedy tokens are the same.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))

import torch
from exported_models import LLAMA3_ROPE, STEPS, byte_level, corpus, decoder, ours, sentencepiece
from odd_texts import odd_texts
from transformers import AutoModelForCausalLM, AutoTokenizer

from workbench.data.chat_templates import chat_template
from workbench.data.turn_ends import rendered, special_tokens
from workbench.exporting.conversation import PROBES
from workbench.exporting.export import export

PEER = Path(__file__).with_name("export_llama_cpp_peer.py")
NEW = 24
LEARN = """
import json, sys, sentencepiece as sp
sp.SentencePieceTrainer.train(input=sys.argv[1], model_prefix=sys.argv[2], vocab_size=900, model_type="bpe",
    byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
    allow_whitespace_only_pieces=True, split_digits=True, minloglevel=2)
made = sp.SentencePieceProcessor(model_file=sys.argv[2] + ".model")
print(json.dumps({made.id_to_piece(i): made.get_score(i) for i in range(3 + 256, made.vocab_size())}))
"""


def check(python: str, folder: Path, work: Path, count: int, dtypes: tuple[str, ...]) -> dict[str, Any]:
    """Export a model folder in each number format, and compare."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = odd_texts(count, [token for token in special_tokens(tokenizer) if token])
    wanted = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    longest = sorted(wanted, key=len)[-40:-4:12]
    prompts = [ids[:200] for ids in longest]
    result: dict[str, Any] = {"texts": len(texts)}
    chats = [list(talk) for talk in PROBES] if tokenizer.chat_template else []
    chats = [talk for talk in chats if rendered(tokenizer, talk) is not None]
    said = [str(rendered(tokenizer, talk)) for talk in chats]
    for dtype in dtypes:
        target = work / f"{folder.name}-{dtype}"
        told = export(
            name=str(folder), format="gguf", to=str(target), dtype=dtype, progress=lambda *told: None
        )
        file = next(target.glob("*.gguf"))
        asked = {"file": str(file), "texts": [*texts, *said], "prompts": prompts, "new": NEW, "chats": chats}
        done = subprocess.run(
            [python, str(PEER)], input=json.dumps(asked), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"llama.cpp failed on {file}:\n{done.stderr[-2000:]}")
        found = json.loads(done.stdout)
        result[dtype] = {
            **_tokens(tokenizer, texts, wanted, found),
            **_chats(tokenizer, said, found),
            "notes": told["notes"],
            **_numbers(model, prompts, found),
        }
    return result


def _tokens(
    tokenizer: Any, texts: list[str], wanted: list[list[int]], found: dict[str, Any]
) -> dict[str, Any]:
    """Texts with the same tokens; with what is added to them; and of those that NFC leaves as they are."""
    same = [one == two for one, two in zip(wanted, found["tokens"][: len(texts)], strict=True)]
    framed = [
        tokenizer(text)["input_ids"] == ids
        for text, ids in zip(texts, found["framed"][: len(texts)], strict=True)
    ]
    composed = [unicodedata.is_normalized("NFC", text) for text in texts]
    both = sum(one and two for one, two in zip(same, composed, strict=True))
    other = [place for place, is_same in enumerate(same) if not is_same]
    return {
        "same_tokens": sum(same),
        "same_with_added_tokens": sum(framed),
        "composed_same": f"{both} of {sum(composed)}",
        "first_other": [
            {"text": texts[place], "here": wanted[place], "llama.cpp": found["tokens"][place]}
            for place in other[:2]
        ],
    }


def _chats(tokenizer: Any, said: list[str], found: dict[str, Any]) -> dict[str, str]:
    """Conversations with the same text, and with the same tokens."""
    count = len(said)
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in said]
    tokens = found["tokens"][len(found["tokens"]) - count :]
    return {
        "chats_same": f"{sum(map(str.__eq__, said, found['chats']))} of {count}",
        "chats_same_tokens": f"{sum(map(list.__eq__, ids, tokens))} of {count}",
    }


def _numbers(model: Any, prompts: list[list[int]], found: dict[str, Any]) -> dict[str, Any]:
    """Logits and greedy texts."""
    apart, alike = 0.0, 0
    with torch.no_grad():
        for prompt, logits, written in zip(prompts, found["logits"], found["greedy"], strict=True):
            mine = model(torch.tensor([prompt])).logits[0, -1]
            theirs = torch.tensor(logits)[: len(mine)]
            apart = max(apart, float((mine - theirs).abs().max() / mine.std()))
            ids = list(prompt)
            for _ in range(NEW):
                ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
            alike += sum(one == two for one, two in zip(ids[len(prompt) :], written, strict=True))
    return {"logits_apart": float(f"{apart:.2e}"), "greedy_same": f"{alike} of {NEW * len(prompts)}"}


def small_models(work: Path, learnt: dict[str, float] | None) -> dict[str, Path]:
    """Folders with a model of each kind."""
    texts = list(corpus())
    own = ours(work / "own", texts)
    talking = ours(work / "talking", texts)
    talking.chat_template = chat_template("chatml")
    pieces, first = (sentencepiece(learnt, texts, legacy=legacy) for legacy in (True, False))
    instructed = sentencepiece(learnt, texts, legacy=False)
    instructed.chat_template = chat_template("mistral")
    yarn = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 64}
    linear = {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}
    made: dict[str, tuple[Any, str, dict[str, Any]]] = {
        "llama": (own, "Llama", {}),
        "llama-chat": (talking, "Llama", {"tie_word_embeddings": True}),
        "llama-rope-llama3": (own, "Llama", {"rope_parameters": LLAMA3_ROPE, "head_dim": 32}),
        "llama-rope-linear": (own, "Llama", {"rope_parameters": linear}),
        "llama-rope-yarn": (own, "Llama", {"rope_parameters": yarn}),
        "llama-biases": (own, "Llama", {"attention_bias": True, "mlp_bias": True}),
        "mistral-sentencepiece": (pieces, "Mistral", {"sliding_window": None}),
        "llama-sentencepiece-first": (first, "Llama", {}),
        "mistral-sentencepiece-chat": (instructed, "Mistral", {"sliding_window": None}),
        "qwen2": (byte_level("qwen2", texts), "Qwen2", {}),
        "qwen3": (byte_level("qwen2", texts), "Qwen3", {"head_dim": 32}),
        **{f"pre-{pre}": (byte_level(pre, texts), "Llama", {}) for pre in STEPS},
    }
    folders = {}
    for name, (tokenizer, kind, values) in made.items():
        folders[name] = work / name
        decoder(kind, tokenizer, **values).save_pretrained(folders[name])
        tokenizer.save_pretrained(folders[name])
    return folders


def main() -> None:
    """Print the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--llama-python", default=sys.executable)
    parser.add_argument("--sentencepiece-python")
    parser.add_argument("--model")
    parser.add_argument("--texts", type=int, default=400)
    parser.add_argument("--only", nargs="*")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        learnt = None
        if asked.sentencepiece_python:
            (work / "texts.txt").write_text("".join(corpus()))
            command = [asked.sentencepiece_python, "-c", LEARN, str(work / "texts.txt"), str(work / "learnt")]
            learnt = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        for kind, folder in small_models(work, learnt).items():
            if not asked.only or kind in asked.only:
                results[kind] = check(asked.llama_python, folder, work, asked.texts, ("f32",))
        if asked.model:
            kinds = ("f32", "bf16", "q8_0")
            results["model"] = check(asked.llama_python, Path(asked.model), work, asked.texts, kinds)
    print(json.dumps(results, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
