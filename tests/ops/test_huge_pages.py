from __future__ import annotations

import gc
import weakref

import decoders
import torch

from workbench.ops.decode import Row, decode_step
from workbench.ops.huge_pages import HUGE_PAGE, huge_copy, move_to_huge_pages


def test_copies_equal_their_originals_and_begin_at_cache_lines() -> None:
    originals = [
        torch.randn(1000, 700),
        torch.randn(3, 10)[:, ::2],
        torch.randn(7).bfloat16(),
        torch.empty(0, 4),
        torch.tensor(3.0),
    ]
    copies = huge_copy(originals)
    assert copies[0].data_ptr() % HUGE_PAGE == 0
    for original, copy in zip(originals, copies, strict=True):
        assert torch.equal(original, copy) and copy.dtype == original.dtype
        assert copy.is_contiguous() and copy.data_ptr() % 64 == 0


def test_a_tensor_given_twice_is_copied_once() -> None:
    embedding = torch.randn(50, 8)
    first, other, again = huge_copy([embedding, torch.randn(50, 8), embedding])
    assert first.data_ptr() == again.data_ptr() != other.data_ptr()


def test_the_memory_lives_as_long_as_a_copy() -> None:
    numbers = torch.randn(100_000)
    copy = huge_copy([torch.ones(1 << 20), numbers])[1]
    gc.collect()
    copy += 1
    assert torch.equal(copy, numbers + 1)


def test_no_tensors_give_no_copies() -> None:
    assert huge_copy([]) == []


def test_weights_move_one_by_one_and_give_the_same_logits() -> None:
    token = torch.tensor([3])
    small, moved = (decoders.weights_of(decoders.tiny_decoder("qwen3")) for _ in range(2))
    originals = [weakref.ref(layer.qkv) for layer in moved.layers]
    move_to_huge_pages(moved)
    gc.collect()
    assert [original() for original in originals] == [None, None]
    assert moved.head.data_ptr() == moved.embedding.data_ptr()
    expected = decode_step(small, token, [Row([decoders.segment(small, 1)])])
    assert torch.equal(decode_step(moved, token, [Row([decoders.segment(moved, 1)])]), expected)
