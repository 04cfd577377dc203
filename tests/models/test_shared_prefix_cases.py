"""Masks and attention that are more than causal and padded: as PEFT has them, or refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import PromptTuningConfig, get_peft_model
from prefix_models import PREFIX, assert_same_step, decoder, prefix_tuned, rows, step
from transformers import BartConfig, BartForConditionalGeneration

from workbench.errors import ModelError
from workbench.models.shared_prefix import attention
from workbench.models.shared_prefix.cache import SharedPrefixCache
from workbench.models.shared_prefix.decoder import prefix_of_prompt, shared_prefixes
from workbench.models.shared_prefix.peft import learned_prefix, undo_shared_prefix, use_shared_prefix
from workbench.models.shared_prefix.prefix import SharedPrefix
from workbench.models.shared_prefix.support import decoder_support, shared_prefix_support

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


@pytest.fixture
def model() -> Any:
    return prefix_tuned(decoder())


def test_a_gap_in_the_padding_is_as_in_peft(model: Any) -> None:
    batch = rows()
    batch["attention_mask"][2, 5:7] = 0
    assert_same_step(model, batch)


def test_rows_of_padding_alone_see_the_prefix(model: Any) -> None:
    batch = rows()
    batch["attention_mask"][0] = 0
    assert_same_step(model, batch)


def test_position_ids_count_from_the_prefix_on_as_in_peft(model: Any) -> None:
    batch = rows()
    batch["position_ids"] = (batch["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    assert_same_step(model, batch)


def test_packed_documents_each_stand_behind_the_prefix(model: Any) -> None:
    ids = rows()["input_ids"][:2, :12]
    use_shared_prefix(model)
    with torch.no_grad():
        first, second = model(input_ids=ids[:, :5]).logits, model(input_ids=ids[:, 5:]).logits
        positions = torch.cat([torch.arange(5), torch.arange(7)])[None]
        packed = model(input_ids=ids, position_ids=positions).logits
    torch.testing.assert_close(packed, torch.cat([first, second], 1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("additive", [False, True])
def test_masks_of_four_dimensions(model: Any, whole: bool, additive: bool) -> None:
    batch = rows()
    use_shared_prefix(model)
    prefix, base = learned_prefix(model), model.get_base_model()
    seen = batch["attention_mask"][:, None, None].bool() & torch.ones(13, 13, dtype=torch.bool).tril()
    mask = torch.cat([torch.ones(4, 1, 13, PREFIX, dtype=torch.bool), seen], -1) if whole else seen
    if additive:
        mask = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
    with torch.no_grad():
        wanted = model(**batch).logits
        cache = SharedPrefixCache(prefix)
        found = base(batch["input_ids"], attention_mask=mask, past_key_values=cache).logits
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", ["Llama", "GPT2"])
def test_attention_s_dropout_and_weights_are_those_of_eager(family: str) -> None:
    rate = {"attn_pdrop": 0.3} if family == "GPT2" else {"attention_dropout": 0.3}
    model = prefix_tuned(decoder(family, **rate))
    batch = rows()
    with torch.no_grad():
        wanted = model(**batch, output_attentions=True).attentions
        found = use_shared_prefix(model)(**batch, output_attentions=True).attentions
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
    model.train()
    losses = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        losses.append(step(model, batch)[0])
    assert torch.equal(losses[0], losses[1]) and not torch.equal(losses[0], losses[2])


@pytest.mark.parametrize(
    ("family", "options"), [("Llama", {}), ("Gemma2", {"attn_logit_softcapping": None, "sliding_window": 64})]
)
def test_padded_rows_without_capped_scores_take_the_operator(
    family: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the prefix was copied")

    monkeypatch.setattr(attention, "concatenated_attention", refuse)
    assert_same_step(prefix_tuned(decoder(family, **options)), rows())


def test_a_common_prompt_is_read_once_for_all_samples() -> None:
    plain = decoder()
    ids = rows()["input_ids"][:1].expand(3, -1)
    options: dict[str, Any] = {"max_new_tokens": 6, "do_sample": True, "top_k": 0, "pad_token_id": 2}
    torch.manual_seed(5)
    wanted = plain.generate(ids, **options)
    cache = SharedPrefixCache(prefix_of_prompt(plain, ids[0, :-1]))
    with shared_prefixes(plain):
        torch.manual_seed(5)
        found = plain.generate(ids, past_key_values=cache, **options)
    assert torch.equal(found, wanted)
    assert cache.layers[0].keys.shape == (3, 2, wanted.shape[1] - 13, 16)
    assert cache.get_seq_length() == 12 + cache.own


def _prefix(layers: int = 2, heads: int = 2, length: int = 5, size: int = 16) -> SharedPrefix:
    return SharedPrefix(tuple((torch.zeros(heads, length, size),) * 2 for _ in range(layers)))


@pytest.mark.parametrize(
    ("prefix", "options", "message"),
    [
        (_prefix(layers=1), {}, "for 1 layers, and the model has 2"),
        (_prefix(heads=4), {}, r"\[4, 5, 16\] do not stand .* \[2, P, 16\] would"),
        (_prefix(size=8), {}, r"\[2, 5, 8\] do not stand"),
        (_prefix(length=60), {}, "60 positions of the prefix and 13 own ones are 73, .* holds 64"),
        (_prefix(), {"attention_mask": torch.ones(4, 9)}, "is for 9 positions, and there are 13, or 18"),
        (_prefix(), {"attention_mask": torch.zeros(4, 18)}, "hides a part of the shared prefix"),
        (
            _prefix(),
            {"attention_mask": torch.ones(4, 1, 13, 9, dtype=torch.bool)},
            r"\[4, 1, 13, 9\] is for 9 keys; there are 13 own ones behind a prefix of 5",
        ),
    ],
)
def test_a_prefix_or_mask_that_does_not_fit_is_named(
    prefix: SharedPrefix, options: dict[str, Any], message: str
) -> None:
    plain = decoder()
    with shared_prefixes(plain), pytest.raises(ModelError, match=message):
        plain(rows()["input_ids"], past_key_values=SharedPrefixCache(prefix), **options)


def test_a_prefix_of_another_model_and_one_longer_than_the_context_are_refused() -> None:
    other = prefix_tuned(decoder(), num_layers=3)
    with pytest.raises(ModelError, match="3 layers × 2 key/value heads × 16, the model of 2 × 2 × 16"):
        use_shared_prefix(other)
    long = prefix_tuned(decoder(), num_virtual_tokens=70)
    with pytest.raises(ModelError, match="70 positions .* context holds 64"):
        use_shared_prefix(long)


def test_packed_documents_that_a_window_would_cut_are_refused() -> None:
    model: Any = use_shared_prefix(prefix_tuned(decoder("Mistral")))
    positions = torch.cat([torch.arange(5), torch.arange(8)])[None]
    with pytest.raises(ModelError, match="window of 9"):
        model(input_ids=rows()["input_ids"], position_ids=positions)


def test_what_has_no_shared_prefix_says_why() -> None:
    model = prefix_tuned(decoder())
    assert shared_prefix_support(model) is None
    assert undo_shared_prefix(model) is model
    prompt = get_peft_model(decoder(), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3))
    assert "PROMPT_TUNING" in str(shared_prefix_support(prompt))
    sizes = {f"{side}_{name}": 1 for side in ("encoder", "decoder") for name in ("layers", "attention_heads")}
    bart = BartForConditionalGeneration(
        BartConfig(vocab_size=9, d_model=8, encoder_ffn_dim=8, decoder_ffn_dim=8, **sizes)
    )
    tuned = prefix_tuned(bart, task_type="SEQ_2_SEQ_LM")
    assert "PEFT's own way is kept" in str(shared_prefix_support(tuned))
    with pytest.raises(ModelError, match="encoder–decoder"):
        use_shared_prefix(tuned)
    assert "cross-attention" in str(decoder_support(bart))
    assert "no model" in str(decoder_support(torch.nn.Linear(1, 1)))
