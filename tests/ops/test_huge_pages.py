from __future__ import annotations

import gc

import pytest
import torch

from workbench.ops.huge_pages import HUGE_PAGE, HugePages, aligned_bytes


def test_copies_equal_their_originals_and_begin_at_cache_lines() -> None:
    originals = [
        torch.randn(1000, 700),
        torch.randn(3, 10)[:, ::2],
        torch.randn(7).bfloat16(),
        torch.empty(0, 4),
        torch.tensor(3.0),
    ]
    pages = HugePages(sum(map(aligned_bytes, originals)))
    copies = [pages.copy(original) for original in originals]
    assert copies[0].data_ptr() % HUGE_PAGE == 0
    for original, copy in zip(originals, copies, strict=True):
        assert torch.equal(original, copy) and copy.dtype == original.dtype
        assert copy.is_contiguous() and copy.data_ptr() % 64 == 0


def test_parts_lie_one_after_another() -> None:
    parts = [torch.randn(3, 8), torch.randn(8, 5).T, torch.randn(1, 8)]
    whole = HugePages(1 << 12).copy(*parts)
    assert torch.equal(whole, torch.cat(parts)) and whole.is_contiguous()


def test_the_memory_lives_as_long_as_a_copy() -> None:
    numbers = torch.randn(100_000)
    pages = HugePages(8 << 20)
    pages.copy(torch.ones(1 << 20))
    copy = pages.copy(numbers)
    del pages
    gc.collect()
    copy += 1
    assert torch.equal(copy, numbers + 1)


def test_what_does_not_fit_is_refused_and_does_no_harm() -> None:
    pages = HugePages(100)
    first = pages.copy(torch.ones(10))
    with pytest.raises(ValueError, match="100"):
        pages.copy(torch.ones(10))
    pages.copy(torch.ones(9))
    assert torch.equal(first, torch.ones(10))
