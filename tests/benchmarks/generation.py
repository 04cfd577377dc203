"""Generation against transformers' `generate` and llama.cpp: one stream, and 16 samples of one prompt.

    python tests/benchmarks/generation.py MODEL [--bf16 MODEL.BF16.gguf] [--q8 MODEL.Q8_0.gguf]
        [--llama-python PYTHON] [--rounds 3]

MODEL is a transformers folder; the GGUF files hold the same model, and PYTHON is one that has
llama-cpp-python. Every round starts each contestant once in a process of its own, so that what else the
machine does meets them alike. Prints JSON: tokens a second of the decoding alone and of the whole request,
time to the first token, memory (at most, at the end, and of that what is mapped from no file), and the ratios
of ours to the others'.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

NEW = 64
SCRIPT = Path(__file__).with_name("generation_peers.py")


def measure(python: str, kind: str, model: str, precision: str, samples: int) -> dict[str, Any]:
    """One process's requests."""
    command = [python, str(SCRIPT), kind, model, precision, str(samples), "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise SystemExit(f"{kind} failed:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(lines[-1].removeprefix("RESULT "))
    return result


def summary(results: list[dict[str, Any]], samples: int) -> dict[str, float]:
    """Medians over all requests of all rounds."""
    requests = [request for result in results for request in result["requests"]]
    whole = statistics.median(total for _, total in requests)
    told = {"request_seconds": round(whole, 3), "tokens_per_second_whole": round(samples * NEW / whole, 1)}
    if all(first for first, _ in requests):
        decode = statistics.median(total - first for first, total in requests)
        told["first_token_seconds"] = round(statistics.median(first for first, _ in requests), 3)
        told["tokens_per_second"] = round(samples * (NEW - 1) / decode, 1)
    for name in ("peak_mib", "resident_mib", "anonymous_mib"):
        told[name] = round(statistics.median(result[name] for result in results))
    return told


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--bf16", help="the model as a BF16 GGUF file")
    parser.add_argument("--q8", help="the model as a Q8_0 GGUF file")
    parser.add_argument("--llama-python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--samples", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--precisions", nargs="+", default=["bfloat16", "float32"])
    options = parser.parse_args()
    contestants = [
        (f"{kind} {precision}", sys.executable, kind, options.model, precision)
        for precision in options.precisions
        for kind in ("ours", "transformers")
    ]
    for name, file in (("bf16", options.bf16), ("q8_0", options.q8)):
        if file:
            contestants.append((f"llama.cpp {name}", options.llama_python, "llama.cpp", file, name))
    told: dict[str, Any] = {}
    for samples in options.samples:
        found: dict[str, list[dict[str, Any]]] = {}
        for _ in range(options.rounds):
            for name, python, kind, model, precision in contestants:
                found.setdefault(name, []).append(measure(python, kind, model, precision, samples))
        table = {name: summary(results, samples) for name, results in found.items()}
        ratios = {}
        for precision in options.precisions:
            mine = table[f"ours {precision}"]
            for name, row in table.items():
                if not name.startswith("ours"):
                    entry = {"whole_request": round(row["request_seconds"] / mine["request_seconds"], 2)}
                    if "tokens_per_second" in row:
                        entry["decoding"] = round(mine["tokens_per_second"] / row["tokens_per_second"], 2)
                    entry["memory"] = round(mine["peak_mib"] / row["peak_mib"], 2)
                    ratios[f"ours {precision} / {name}"] = entry
        told[f"{samples} samples"] = {"measured": table, "ours_against": ratios}
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
