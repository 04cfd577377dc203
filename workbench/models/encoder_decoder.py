"""An encoder and a decoder (T5, BART) on rows of several documents that do not see each other."""

from __future__ import annotations

from typing import Any

import torch

from workbench.errors import ModelError
from workbench.models.frame import device_of
from workbench.models.masks import additive_mask, block_mask


def call_encoder_decoder(
    model: Any,
    input_ids: torch.Tensor,
    decoder_input_ids: torch.Tensor,
    document_ids: torch.Tensor,
    decoder_document_ids: torch.Tensor,
) -> torch.Tensor:
    """Logits [B, M, V] of the decoder.

    `input_ids`, `document_ids` [B, L]; `decoder_input_ids`, `decoder_document_ids` [B, M]; −1 is padding.
    A token of the encoder sees its own document, one of the decoder its own up to itself and the encoder's
    part of it.

    transformers has one mask for the encoder and for what the decoder sees of it, which are different
    here. So the encoder is called first, and the model with what it answered. Where a wrapper for several
    processes is called, gradients are exchanged all the same: it takes them where they are added up, at
    each weight, whatever led there.
    """
    inner = getattr(model, "module", model)
    if hasattr(inner, "unshard"):
        # Weights that are sharded are there only within a forward of the whole: both calls are one.
        arguments = (input_ids, decoder_input_ids, document_ids, decoder_document_ids)
        found: torch.Tensor = _as_one_forward(inner)(*arguments)
        return found
    return _call(inner, model, input_ids, decoder_input_ids, document_ids, decoder_document_ids)


def _as_one_forward(sharded: Any) -> Any:
    if "forward_documents" not in vars(sharded):
        from torch.distributed.fsdp import register_fsdp_forward_method

        sharded.forward_documents = lambda *arguments: _call(sharded, sharded.forward, *arguments)
        register_fsdp_forward_method(sharded, "forward_documents")
    return sharded.forward_documents


def _call(
    inner: Any,
    model: Any,
    input_ids: torch.Tensor,
    decoder_input_ids: torch.Tensor,
    document_ids: torch.Tensor,
    decoder_document_ids: torch.Tensor,
) -> torch.Tensor:
    kind = next(inner.parameters()).dtype
    hidden = inner.get_encoder()(
        input_ids=input_ids, attention_mask=additive_mask(block_mask(document_ids), kind), return_dict=True
    )
    logits: torch.Tensor = model(
        encoder_outputs=hidden,
        attention_mask=additive_mask(block_mask(decoder_document_ids, document_ids), kind),
        decoder_input_ids=decoder_input_ids,
        decoder_attention_mask=additive_mask(block_mask(decoder_document_ids, causal=True), kind),
        use_cache=False,
    ).logits
    return logits


@torch.no_grad()
def check_pair_isolation(model: Any, length: int = 8) -> None:
    """Raise `ModelError` unless the second of two packed documents is to the model as if it were alone.

    Not so where positions run through a row, as in BART, or where masks of pairs of tokens are not heeded.
    """
    generator = torch.Generator().manual_seed(0)
    vocabulary = int(model.get_input_embeddings().weight.shape[0])
    ids = torch.randint(0, vocabulary, (1, 2 * length), generator=generator).to(device_of(model))
    documents = torch.arange(2, device=ids.device).repeat_interleave(length)[None]
    was_training = model.training
    model.eval()
    try:
        packed = call_encoder_decoder(model, ids, ids, documents, documents)[:, length:]
        second, own = ids[:, length:], documents[:, length:]
        alone = call_encoder_decoder(model, second, second, own, own)
    finally:
        model.train(was_training)
    difference = (packed - alone).abs().max().item()
    if not difference <= 1e-4 * max(alone.abs().max().item(), 1.0):
        raise ModelError(
            f"{type(model).__name__} does not keep packed documents apart (logits differ by "
            f"{difference:.2g} from those of a document alone)",
            hint="set data.packing=false, or data.isolate_documents=false to train across boundaries",
        )
