"""The native step's threads beside those of Python, and across a fork."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import decoders
import torch
from torch import Tensor

from workbench.ops.decode import DecoderWeights, decode_step


def generated(weights: DecoderWeights, seed: int, threads: int, steps: int = 20) -> Tensor:
    """The logits of some steps of four rows that begin with a cache of their own."""
    rows = [
        decoders.cut(weights, *decoders.random_cache(weights, 40, seed=seed + row), [20], room=steps)
        for row in range(4)
    ]
    tokens, logits = torch.arange(4), []
    for _ in range(steps):
        logits.append(decode_step(weights, tokens, rows, threads=threads))
        decoders.advance(rows)
        tokens = logits[-1].argmax(-1)
    return torch.stack(logits)


def test_threads_of_python_take_turns() -> None:
    weights = decoders.weights_of(decoders.tiny_decoder())
    cases = [(seed, 1 + seed % 3) for seed in range(12)]
    expected = [generated(weights, seed, 1) for seed, _ in cases]
    with ThreadPoolExecutor(4) as pool:
        results = pool.map(lambda case: generated(weights, *case), cases)
    assert all(torch.equal(one, other) for one, other in zip(results, expected, strict=True))


def test_a_forked_child_has_threads_of_its_own() -> None:
    weights = decoders.weights_of(decoders.tiny_decoder())
    expected = generated(weights, 0, 2)
    child = os.fork()
    if child == 0:
        # Nothing of pytest may run here, whatever happens.
        status = 1
        try:
            # torch's own threads do not survive a fork, and it would wait for them.
            torch.set_num_threads(1)
            status = 0 if torch.equal(generated(weights, 0, 2), expected) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert torch.equal(generated(weights, 0, 2), expected)


def test_a_process_ends_while_its_threads_sleep_or_spin() -> None:
    program = (
        "import decoders, torch; from workbench.ops.decode import Row, decode_step;"
        "weights = decoders.weights_of(decoders.tiny_decoder());"
        "rows = [Row([decoders.segment(weights, 1)])];"
        "decode_step(weights, torch.tensor([1]), rows, threads=4)"
    )
    support = os.path.dirname(decoders.__file__)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([support, os.getcwd()])}
    done = subprocess.run([sys.executable, "-c", program], env=environment, timeout=300, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
