"""Evaluations on long text made by hand."""

from __future__ import annotations

from typing import Any

TITLES = {"none": "as it is", "linear": "position interpolation ×4", "yarn": "YaRN ×4"}


def nll(value: float, tokens: int = 100) -> dict[str, Any]:
    return {"nll": value, "low": value - 0.1, "high": value + 0.1, "tokens": tokens}


def variant_of(method: str, nlls: tuple[float, ...], found: tuple[int, ...]) -> dict[str, Any]:
    """Four buckets of 256 tokens each, and pass keys at three depths and two lengths, of four trials."""
    places = [{"start": 256 * n, "end": 256 * (n + 1), **nll(value)} for n, value in enumerate(nlls)]
    cells = [(length, depth) for length in (256, 1024) for depth in (0.0, 0.5, 1.0)]
    return {
        "method": method,
        "title": TITLES[method],
        "factor": None if method == "none" else 4.0,
        "extension": None,
        "context": 256 if method == "none" else 1024,
        "positions": places,
        "lengths": [{"length": length, **nll(2.0), "tail": nll(2.1)} for length in (256, 1024)],
        "difference": None if method == "none" else {"nll": -0.25, "low": -0.3, "high": -0.2, "tokens": 400},
        "passkeys": [
            {
                **{"length": length, "depth": depth, "trials": 4, "exact": hits, "low": 0.0, "high": 1.0},
                **{"token_accuracy": hits / 4, "logprob": -0.1 if hits else -5.0},
            }
            for (length, depth), hits in zip(cells, found, strict=True)
        ],
    }


def content_of(model: str = "/models/small", **changes: Any) -> dict[str, Any]:
    """Two variants: one that falls apart behind its 256 tokens, and one that does not."""
    return {
        **{"version": 1, "model": model, "context": 256, "trained": 256, "device": "cpu", "seed": 0},
        **{
            "data": "some \x1b[31mtext",
            "lengths": [256, 1024],
            "windows": 8,
            "documents": 4,
            "joined": False,
        },
        "passkeys": {"style": "text", "digits": 5, "trials": 4, "depths": [0.0, 0.5, 1.0]},
        "variants": [
            variant_of("none", (2.0, 3.0, 4.0, 5.0), (4, 4, 4, 0, 0, 1)),
            variant_of("yarn", (2.1, 2.0, 1.9, 1.9), (4, 4, 4, 3, 2, 4)),
        ],
    } | changes


def cost_of(**changes: Any) -> dict[str, Any]:
    """A model with a window, measured at two lengths, with full attention beside it."""
    point = {"read_peak_bytes": 1 << 20, "read_seconds": 0.5}
    own = [{"length": n, "kept_bytes": 131_072, "token_seconds": 0.008, **point} for n in (256, 16_384)]
    full = [{"length": n, "kept_bytes": 2048 * n, "token_seconds": n / 4e5, **point} for n in (256, 16_384)]
    return {
        **{"model": "/models/\x1b[31msmall", "runner": "PyTorch (4 layers with a window of 64)"},
        **{"kv_dtype": "auto", "device": "cpu", "dtype": "bfloat16", "threads": 2, "trained_length": 256},
        **{"costs": own, "full": full, "created": 1.7e9},
        "training": [{"length": n, "seconds": n / 1e4, "peak_bytes": n * 4096} for n in (256, 16_384)],
    } | changes
