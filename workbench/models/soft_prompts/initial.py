"""What virtual tokens begin as: a text, tokens of the vocabulary, or noise.

PEFT leaves the special tokens in that its tokenizer puts around a text, and begins prefixes with noise alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from workbench.errors import ModelError

if TYPE_CHECKING:
    from workbench.recipe import TuningSection


def initial_tokens(tuning: TuningSection, tokenizer: Any) -> list[int] | None:
    """The ids of `num_virtual_tokens` tokens to begin with; None for noise.

    A text's without special tokens, repeated or cut to the number wanted (Lester et al. 2021, section 3.2);
    without a text, random ones that are not special, from torch's global generator. Raises `ModelError` for
    a text that is no token.
    """
    kind, wanted = tuning.prompt_tuning_init, tuning.num_virtual_tokens
    if kind == "RANDOM":
        return None
    special = set(tokenizer.all_special_ids)
    if tuning.prompt_tuning_init_text:
        ids = tokenizer(tuning.prompt_tuning_init_text, add_special_tokens=False)["input_ids"]
        ids = [token for token in ids if token not in special]
        if not ids:
            raise ModelError(
                "the text has no tokens but special ones",
                where="tuning.prompt_tuning_init_text",
                hint="write what the task is, in words",
            )
        return (ids * -(-wanted // len(ids)))[:wanted]
    plain = [token for token in range(len(tokenizer)) if token not in special]
    drawn: list[int] = torch.randint(len(plain), (wanted,)).tolist()
    return [plain[number] for number in drawn]


@torch.no_grad()
def embeddings_of(model: Any, tokens: list[int]) -> torch.Tensor:
    """The input embeddings [P, D] of tokens, in fp32."""
    table = model.get_input_embeddings()
    ids = torch.tensor(tokens, device=table.weight.device)
    return table(ids).detach().float().clone()  # type: ignore[no-any-return]


@torch.no_grad()
def prefix_of(model: Any, tokens: list[int]) -> torch.Tensor:
    """The keys and values [P, 2·L·H·S] that a decoder has after reading tokens, as PEFT lays a prefix out:
    for each token, of each layer the keys of all heads, then the values.

    Real activations train better than noise where data is scarce (Li & Liang 2021, section 7.4). Keys are
    rotated as at the positions 0 … P − 1, which is where the prefix stands.
    """
    was_training = model.training
    model.eval()
    ids = torch.tensor([tokens], device=next(model.parameters()).device)
    cache = model(input_ids=ids, use_cache=True).past_key_values
    model.train(was_training)
    parts = [
        part[0].transpose(0, 1).flatten(1) for layer in cache.layers for part in (layer.keys, layer.values)
    ]
    return torch.cat(parts, dim=1).float()
