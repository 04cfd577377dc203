"""Keys and values in few bits: how far they may be from what they were."""

from __future__ import annotations

import pytest
import torch

from workbench.inference.engine.kv_codecs import GROUP, KvDtype, codec_of
from workbench.models.estimate.cache import GROUP as RECKONED_GROUP
from workbench.models.estimate.cache import CacheDtype, vector_bytes


def vectors(size: int) -> torch.Tensor:
    """Of many magnitudes, some of them constant or 0."""
    generator = torch.Generator().manual_seed(0)
    found = torch.randn(200, size, generator=generator) * 10 ** torch.linspace(-3, 3, 200)[:, None]
    found[0], found[1] = 0, 5
    return found


@pytest.mark.parametrize("size", [32, 64, 96, 20])
def test_errors_are_half_a_step(size: int) -> None:
    """Steps in fp16 are up to 1/1024 wider than they need be; rounding in fp32 comes on top."""
    x, more = vectors(size), 1 + 2.0**-9
    int8, int4 = (codec_of(kind, torch.float32) for kind in ("int8", "int4"))
    error = (int8.decode(int8.encode(x)) - x).abs()
    assert bool((error <= x.abs().amax(-1, keepdim=True) / 254 * more + 1e-7).all())
    width = GROUP if size % GROUP == 0 else size
    groups = x.unflatten(-1, (-1, width))
    spread = groups.amax(-1, keepdim=True) - groups.amin(-1, keepdim=True)
    # The least number is rounded to fp16, which the step makes up for above it, and the code 0 below.
    slack = groups.abs().amax(-1, keepdim=True) * 2.0**-11
    error = (int4.decode(int4.encode(x)) - x).abs().unflatten(-1, (-1, width))
    assert bool((error <= spread / 30 * more + 2 * slack + 1e-7).all())


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_bf16_is_rounded_once(kind: KvDtype) -> None:
    """What is decoded for bf16 is the nearest to what is decoded in fp32."""
    x = vectors(64).bfloat16()
    exact, rounded = (codec_of(kind, dtype) for dtype in (torch.float32, torch.bfloat16))
    parts = rounded.encode(x)
    assert torch.equal(rounded.decode(parts), exact.decode(parts).bfloat16())
    assert rounded.decode(parts).dtype == torch.bfloat16


@pytest.mark.parametrize(("kind", "named"), [("int8", "int8"), ("int4", "int4"), ("auto", "bf16")])
def test_bytes_are_those_that_are_reckoned(kind: KvDtype, named: CacheDtype) -> None:
    assert RECKONED_GROUP == GROUP
    for size in (32, 64, 20):
        parts = codec_of(kind, torch.bfloat16).encode(torch.zeros(1, size))
        assert sum(part.numel() * part.element_size() for part in parts) == vector_bytes(size, named)
