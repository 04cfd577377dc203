"""What a model is there for, from its configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.errors import ModelError
from workbench.models.reward_head import is_reward_model

if TYPE_CHECKING:
    from workbench.inference.loading.loaded import Head, Kind

ENDINGS: tuple[tuple[str, Kind, Head | None], ...] = (
    ("XLNetLMHeadModel", "embedder", None),
    ("ElectraForPreTraining", "embedder", None),
    ("ForCausalLM", "decoder", None),
    ("LMHeadModel", "decoder", None),
    ("ForMaskedLM", "encoder", "fill_mask"),
    ("ForPreTraining", "encoder", "fill_mask"),
    ("ForSequenceClassification", "encoder", "classification"),
    ("ForTokenClassification", "encoder", "tagging"),
)
"""By the end of a class's name; the first that fits."""
OF_TASK: dict[str, tuple[Kind, Head | None]] = {
    "CAUSAL_LM": ("decoder", None),
    "SEQ_2_SEQ_LM": ("encoder_decoder", None),
    "SEQ_CLS": ("encoder", "classification"),
    "TOKEN_CLS": ("encoder", "tagging"),
    "FEATURE_EXTRACTION": ("embedder", None),
}
"""What PEFT calls a model."""
AUTO_CLASSES = {
    "decoder": "AutoModelForCausalLM",
    "encoder_decoder": "AutoModelForSeq2SeqLM",
    "fill_mask": "AutoModelForMaskedLM",
    "classification": "AutoModelForSequenceClassification",
    "regression": "AutoModelForSequenceClassification",
    "reward": "AutoModelForSequenceClassification",
    "tagging": "AutoModelForTokenClassification",
    "embedder": "AutoModel",
}


def kind_of(config: Any, name: str, task: str | None = None) -> tuple[Kind, Head | None]:
    """The kind and the head; `task` is what adapters on it were trained for. Raises `ModelError`."""
    kind, head = OF_TASK.get(task or "") or _by_class(config, name)
    if head == "classification" and (config.problem_type == "regression" or config.num_labels == 1):
        head = "reward" if is_reward_model(config) else "regression"
    return kind, head


def _by_class(config: Any, name: str) -> tuple[Kind, Head | None]:
    architecture = str((getattr(config, "architectures", None) or [""])[0])
    for ending, kind, head in ENDINGS:
        if architecture.endswith(ending):
            return kind, head
    if "ForQuestionAnswering" in architecture:
        raise ModelError(
            "it finds answers in texts, which is not served", where=name, hint="workbench predict does that"
        )
    writes = not architecture or architecture.endswith(("ForConditionalGeneration", "MTModel"))
    if writes and config.is_encoder_decoder:
        return "encoder_decoder", None
    if writes and _is_causal(config):
        return "decoder", None
    return "embedder", None


def _is_causal(config: Any) -> bool:
    """Whether transformers has a decoder of this type; encoders that can be made one are none."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    kind = config.model_type
    return kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES


def labels_of(config: Any, head: Head | None) -> tuple[str, ...]:
    """The names of a head's outputs, in their order."""
    if head not in ("classification", "tagging"):
        return ()
    return tuple(str(config.id2label[number]) for number in range(config.num_labels))


def class_of(config: Any, kind: Kind, head: Head | None) -> str:
    """The name of the class of transformers that opens it."""
    architecture = str((getattr(config, "architectures", None) or [""])[0])
    # The automatic class of T5 would open the decoder too.
    if kind == "embedder" and architecture.endswith("EncoderModel"):
        return architecture
    return AUTO_CLASSES[head or kind]
