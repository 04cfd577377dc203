"""From a vector for each token to one for the text: pooling, and the layers behind it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.nn.functional import linear, normalize

from workbench.errors import ModelError

if TYPE_CHECKING:
    from workbench.inference.loading.pooling import Pooling

ACTIVATIONS = {
    "Identity": lambda vectors: vectors,
    "Tanh": torch.tanh,
    "ReLU": torch.relu,
    "GELU": torch.nn.functional.gelu,
    "Sigmoid": torch.sigmoid,
}


def pooled(hidden: torch.Tensor, mask: torch.Tensor, mode: str) -> torch.Tensor:
    """[B, D] from [B, L, D]; `mask` [B, L] is 1 at tokens, which padding follows."""
    if mode == "cls":
        return hidden[:, 0]
    if mode == "lasttoken":
        return hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(1) - 1]
    shares = mask.unsqueeze(-1).to(hidden.dtype)
    if mode == "max":
        return hidden.masked_fill(shares == 0, -torch.inf).amax(1)
    if mode == "weightedmean":
        # Later tokens have seen more of the text (Muennighoff 2022, SGPT).
        shares = shares * torch.arange(1, hidden.shape[1] + 1, device=hidden.device)[None, :, None]
    total, count = (hidden * shares).sum(1), shares.sum(1)
    return total / (count.sqrt() if mode == "mean_sqrt_len" else count)


class Vectors:
    """Pooling as a model's files say, then its linear layers, then length 1 where they say so; in fp32."""

    def __init__(self, pooling: Pooling, device: torch.device) -> None:
        """Raises `ModelError` when a layer's files are missing, damaged or of a kind not known here."""
        self._pooling = pooling
        self._layers = [_Layer(folder, device) for folder in pooling.dense]

    def __call__(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden = hidden.float()
        vectors = torch.cat([pooled(hidden, mask, mode) for mode in self._pooling.modes], 1)
        for layer in self._layers:
            vectors = layer(vectors)
        return normalize(vectors, dim=1) if self._pooling.normalize else vectors


class _Layer:
    def __init__(self, folder: Path, device: torch.device) -> None:
        try:
            config: dict[str, Any] = orjson.loads((folder / "config.json").read_bytes())
            weights = load_file(folder / "model.safetensors", device=str(device))
            self.weight = weights["linear.weight"].float()
        except (OSError, orjson.JSONDecodeError, SafetensorError, KeyError) as error:
            raise ModelError(
                f"a layer behind the pooling cannot be read: {str(error).splitlines()[0]}", where=str(folder)
            ) from None
        self.bias = weights["linear.bias"].float() if "linear.bias" in weights else None
        name = str(config.get("activation_function", "Tanh")).rpartition(".")[2]
        if name not in ACTIVATIONS:
            raise ModelError(f"its activation is not known here: {name}", where=str(folder))
        self.activation = ACTIVATIONS[name]

    def __call__(self, vectors: torch.Tensor) -> torch.Tensor:
        activated: torch.Tensor = self.activation(linear(vectors, self.weight, self.bias))
        return activated
