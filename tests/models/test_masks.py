"""Documents packed into one row are to the model as if each were alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_models import ids_of, model_of

from workbench.errors import ModelError
from workbench.models.encoder_decoder import call_encoder_decoder, check_pair_isolation
from workbench.models.isolation import check_isolation
from workbench.models.masks import block_mask, call_encoder
from workbench.objectives.encoder import check_encoder_isolation

LENGTHS = (5, 14, 1, 9)
PADDING = 3


def packed() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """Ids, positions, document numbers [1, L] of a padded row, and the documents apart."""
    documents = [ids_of(length, 1, seed)[0] for seed, length in enumerate(LENGTHS)]
    ids = torch.cat([*documents, torch.full((PADDING,), 2)])
    positions = torch.cat([torch.arange(length) for length in (*LENGTHS, PADDING)])
    numbers = torch.cat([torch.full((length,), n) for n, length in enumerate(LENGTHS)])
    numbers = torch.cat([numbers, torch.full((PADDING,), -1)])
    return ids[None], positions[None], numbers[None], documents


def test_a_block_mask_by_hand() -> None:
    mask = block_mask(torch.tensor([[0, 0, 1, -1, -1]]))
    expected = ["11000", "11000", "00100", "00011", "00011"]
    assert mask.shape == (1, 1, 5, 5) and mask.dtype == torch.bool
    assert ["".join(str(int(seen)) for seen in row) for row in mask[0, 0].tolist()] == expected
    causal = block_mask(torch.tensor([[0, 0, 1, -1]]), causal=True)
    assert causal[0, 0].int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


def test_a_query_without_keys_sees_something() -> None:
    mask = block_mask(torch.tensor([[0, 1, -1]]), torch.tensor([[0, 0, 1]]))
    assert mask[0, 0].int().tolist() == [[1, 1, 0], [0, 0, 1], [1, 1, 1]]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize(
    ("family", "objective"),
    [
        ("bert", "mlm"),
        ("electra", "mlm"),
        ("modernbert", "mlm"),
        ("bert", "tagging"),
        ("modernbert", "tagging"),
    ],
)
def test_packed_is_unpacked_in_encoders(family: str, objective: str, attention: str) -> None:
    model = model_of(family, objective, attn_implementation=attention)
    ids, positions, numbers, documents = packed()
    with torch.no_grad():
        logits = call_encoder(model, ids, positions, numbers).logits
        assert logits.isfinite().all()
        start = 0
        for document in documents:
            # The longest is longer than ModernBERT's local window of 8, which the mask repeats.
            alone = model(input_ids=document[None]).logits
            torch.testing.assert_close(logits[:, start : start + len(document)], alone, rtol=0, atol=1e-5)
            start += len(document)


def test_segments_reach_the_model_beside_the_mask() -> None:
    model = model_of("bert", "mlm")
    ids, positions, numbers, _ = packed()
    segments = (positions % 2).long()
    with torch.no_grad():
        plain = call_encoder(model, ids, positions, numbers).logits
        told = call_encoder(model, ids, positions, numbers, segments).logits
    assert not torch.allclose(plain, told)


def test_packed_is_unpacked_in_xlnet() -> None:
    model = model_of("xlnet", "plm")
    ids, _, numbers, documents = packed()
    with torch.no_grad():
        logits = model(input_ids=ids, perm_mask=(~block_mask(numbers)[:, 0]).float()).logits
        start = 0
        for document in documents:
            alone = model(input_ids=document[None]).logits
            torch.testing.assert_close(logits[:, start : start + len(document)], alone, rtol=0, atol=1e-5)
            start += len(document)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_is_unpacked_in_t5(attention: str) -> None:
    model = model_of("t5", "denoise", attn_implementation=attention)
    ids, _, numbers, documents = packed()
    # What the decoder says is of another length than what the encoder reads.
    said = [ids_of(length, 1, 20 + length)[0] for length in (3, 4, 6, 2)]
    of = torch.cat([torch.full((len(part),), n) for n, part in enumerate(said)])[None]
    with torch.no_grad():
        logits = call_encoder_decoder(model, ids, torch.cat(said)[None], numbers, of)
        start = 0
        for document, part in zip(documents, said, strict=True):
            alone = model(input_ids=document[None], decoder_input_ids=part[None]).logits
            torch.testing.assert_close(logits[:, start : start + len(part)], alone, rtol=1e-5, atol=1e-5)
            start += len(part)


def test_checks_pass_where_documents_are_kept_apart() -> None:
    for family, objective in (("bert", "mlm"), ("electra", "mlm"), ("modernbert", "mlm")):
        check_encoder_isolation(model_of(family, objective))
    check_pair_isolation(model_of("t5", "denoise"))
    check_isolation(model_of("llama", "clm"))


def test_bart_counts_positions_through_a_row_and_is_refused() -> None:
    with pytest.raises(ModelError, match="does not keep packed documents apart") as caught:
        check_pair_isolation(model_of("bart", "denoise"))
    assert "data.packing=false" in caught.value.hint


def test_an_encoder_that_ignores_the_mask_is_refused() -> None:
    model: Any = model_of("bert", "mlm")
    whole = model.forward
    model.forward = lambda **inputs: whole(**{**inputs, "attention_mask": None})
    with pytest.raises(ModelError, match="does not keep packed documents apart"):
        check_encoder_isolation(model)
