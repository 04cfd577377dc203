"""New models, as transformers configurations, so that whatever is built loads anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import transformers
from transformers import ElectraConfig

import workbench.models.attention  # noqa: F401  (its type of model is known then)
from workbench.errors import ModelError
from workbench.models.attention.attend import use_blocks
from workbench.models.configs import config_of, generator_config
from workbench.models.purpose import Purpose
from workbench.models.replaced_token import ReplacedTokenModel
from workbench.models.reward_head import initialize_reward_head, reward_layer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from workbench.recipe import ModelSection

PRETRAINING = {
    ("bert", "mlm"): "BertForMaskedLM",
    ("modernbert", "mlm"): "ModernBertForMaskedLM",
    ("electra", "mlm"): "ElectraForMaskedLM",
    ("xlnet", "plm"): "XLNetLMHeadModel",
    ("t5", "denoise"): "T5ForConditionalGeneration",
    ("bart", "denoise"): "BartForConditionalGeneration",
}
"""The class of a model for each family and objective; decoders have the one of their configuration, replaced
token detection a pair of its own."""

TASKS = {
    "classification": "AutoModelForSequenceClassification",
    "regression": "AutoModelForSequenceClassification",
    "reward": "AutoModelForSequenceClassification",
    "tagging": "AutoModelForTokenClassification",
    "span_extraction": "AutoModelForQuestionAnswering",
}
"""The automatic class that gives an encoder a task's last layer, and a decoder that of a reward model."""


def build_model(
    section: ModelSection, tokenizer: Any, purpose: Purpose | None = None
) -> PreTrainedModel | ReplacedTokenModel:
    """A randomly initialised model in fp32, seeded by torch's global generator.

    Its family and shape are the section's, its head the purpose's (causal language modelling if none is
    given). Raises `ModelError` when the family has no head for the purpose.
    """
    purpose = purpose or Purpose("clm")
    config = config_of(section, tokenizer, purpose)
    if purpose.objective == "rtd" and isinstance(config, ElectraConfig):
        return ReplacedTokenModel.from_config(config, generator_config(config, section))
    if purpose.is_task and purpose.objective in section.about.trained_by:
        return _started(_task_model(config, purpose), section)
    if section.family == "llama" and purpose.objective == "clm":
        return _started(transformers.AutoModelForCausalLM.from_config(config), section)
    name = PRETRAINING.get((section.family, purpose.objective))
    if name is None:
        raise ModelError(
            f"{section.family} is not trained by {purpose.objective}",
            where="model.family",
            hint=f"objectives of {section.family}: {', '.join(section.about.objectives)}",
        )
    if purpose.next_sentence_prediction:
        if section.family != "bert":
            raise ModelError("only BERT predicts next sentences", where="model.family", hint="use bert")
        name = "BertForPreTraining"
    model: PreTrainedModel = getattr(transformers, name)(config)
    return model


def _started(model: Any, section: ModelSection) -> PreTrainedModel:
    """A decoder with the initial weights and the attention that are its section's."""
    if section.family == "llama":
        if section.init == "depth_scaled":
            scale_by_depth(model, section.num_hidden_layers)
        use_blocks(model)
    started: PreTrainedModel = model
    return started


@torch.no_grad()
def scale_by_depth(model: Any, layers: int) -> None:
    """Divide the matrices that each layer adds to the residual stream with by √(2 · layers), so that the
    stream's variance does not grow with the depth (Radford et al. 2019, GPT-2, section 2.3)."""
    for name, weight in model.named_parameters():
        if name.endswith(("self_attn.o_proj.weight", "mlp.down_proj.weight")):
            weight.mul_((2 * layers) ** -0.5)


def _task_model(config: Any, purpose: Purpose) -> PreTrainedModel:
    if config.model_type == "xlnet" and purpose.objective == "span_extraction":
        model: PreTrainedModel = transformers.XLNetForQuestionAnsweringSimple(config)
    else:
        model = getattr(transformers, TASKS[purpose.objective]).from_config(config)
    if purpose.objective == "reward":
        initialize_reward_head(reward_layer(model))
    return model
