"""The last layer of a reward model: how it starts, and where its zero lies.

A reward model is what transformers calls a sequence classifier with one label: it loads with
`AutoModelForSequenceClassification.from_pretrained` and scores a whole row at its last real token.
"""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import nn
from transformers.modeling_layers import GenericForSequenceClassification

from workbench.errors import ModelError
from workbench.models.heads import head_names

LABEL = "reward"
"""What the one output is called in config.json."""

SHIFT = "reward_shift"
"""The key of config.json for what is added to scores, so that reference answers score 0 on average.

The heads of transformers' decoders (`score`) have no bias that could hold it. Plain transformers keeps the
key and does not apply it: its scores differ from ours by this one number, and differences between scores not
at all.
"""


def is_reward_model(config: Any) -> bool:
    """Whether a configuration is that of a reward model: one of ours, or a decoder with one score that says
    nothing of numbers to be predicted, such as TRL's."""
    if getattr(config, "num_labels", 0) != 1:
        return False
    if str(config.id2label.get(0)) == LABEL:
        return True
    kind = getattr(transformers, str((getattr(config, "architectures", None) or [""])[0]), None)
    decoder = isinstance(kind, type) and issubclass(kind, GenericForSequenceClassification)
    return decoder and config.problem_type is None


def carry_over(config: Any, to: Any) -> None:
    """Give a model's configuration what one beside adapters says of scores: padding, and the shift."""
    to.get_text_config().pad_token_id = to.pad_token_id = config.pad_token_id
    setattr(to, SHIFT, reward_shift(config))


@torch.no_grad()
def initialize_reward_head(head: nn.Linear, generator: torch.Generator | None = None) -> None:
    """Weights from N(0, 1/√(d + 1)) (the standard deviation; d the size of hidden states) and a bias of 0.

    Source: Stiennon et al. 2020, appendix; Huang et al. 2024, detail on the reward head.
    """
    # Drawn in fp32 on the CPU, so that a seed means the same weights on every device and in every dtype.
    drawn = torch.randn(head.weight.shape, generator=generator) / (head.in_features + 1) ** 0.5
    head.weight.copy_(drawn)
    if head.bias is not None:
        head.bias.zero_()


def reward_layer(model: Any) -> nn.Linear:
    """The layer that gives the score. Raises `ModelError` where a model has none."""
    layers = [
        layer
        for name in head_names(model)
        for layer in model.get_submodule(name).modules()
        if isinstance(layer, nn.Linear)
    ]
    if not layers or layers[-1].out_features != 1:
        raise ModelError(f"{type(model).__name__} has no layer that gives one score")
    return layers[-1]


def score_in_fp32(layer: nn.Linear) -> None:
    """Have a head compute in fp32 under autocast: bf16 would round scores to one part in 256, and rank
    answers that differ by less as equal."""

    def again(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        if output.dtype == torch.float32:
            return output
        with torch.autocast(output.device.type, enabled=False):
            bias = None if layer.bias is None else layer.bias.float()
            return nn.functional.linear(inputs[0].float(), layer.weight.float(), bias)

    layer.register_forward_hook(again)


def reward_shift(config: Any) -> float:
    """What is to be added to each score of a model with this configuration."""
    return float(getattr(config, SHIFT, None) or 0.0)


def set_reward_shift(config: Any, reference_scores: torch.Tensor) -> float:
    """Have a configuration put reference answers at 0 on average; returns what is added to scores.

    `reference_scores` [N] are what the model says, without a shift, of answers written by people. Source:
    Stiennon et al. 2020; Ouyang et al. 2022, section 3.5.
    """
    if not reference_scores.numel():
        raise ModelError("no reference answers to centre the reward model on", hint="leave centring out")
    # In fp64: the scores may be in bf16, and a thousand of them lose the mean.
    shift = -float(reference_scores.double().mean())
    setattr(config, SHIFT, shift)
    return shift


def padding_for_scores(tokenizer: Any, ends: set[int]) -> int:
    """The token to pad with: one that no row ends with, `ends` being those that rows end with.

    transformers takes the last token that is not padding for the end of a row, and many tokenizers pad with
    the very token that ends a turn: the score would then be read one token early. Raises `ModelError` where
    there is no such token.
    """
    special = sorted(number for number, token in tokenizer.added_tokens_decoder.items() if token.special)
    for found in (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.bos_token_id, *special):
        if found is not None and found not in ends:
            return int(found)
    raise ModelError(
        "the tokenizer has no special token to pad with but those that answers end with",
        where=str(getattr(tokenizer, "name_or_path", "")),
        hint="add a token for padding to it, and rows to the model's embeddings",
    )


def pad_with(model: Any, tokenizer: Any, token: int) -> None:
    """Make model and tokenizer pad with a token, in what is saved of them too."""
    model.config.get_text_config().pad_token_id = token
    model.config.pad_token_id = token
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(token)
    # An embedding made for a configuration with this token would keep its row out of training, so a run that
    # goes on would differ from one never stopped where the token also stands in text.
    embedding = model.get_input_embeddings()
    if getattr(embedding, "padding_idx", None) is not None:
        embedding.padding_idx = None
