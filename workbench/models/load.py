"""Existing models, from a folder or the hub: safetensors only, no remote code by default."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from transformers import AutoConfig

from workbench.errors import ModelError
from workbench.models.attention.attend import use_blocks
from workbench.models.build import TASKS
from workbench.models.frame import without_weights
from workbench.models.heads import head_names, renew_head, set_head
from workbench.models.purpose import Purpose
from workbench.models.replaced_token import GENERATOR, ReplacedTokenModel
from workbench.models.reward_head import initialize_reward_head, reward_layer
from workbench.models.rope_scaling import extend, is_moving
from workbench.models.rope_scaling_dynamic import use_exact_dynamic

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from workbench.recipe import ModelSection

ADAPTER = "adapter_config.json"
CONVERT = "where you trust it, convert it: AutoModel….from_pretrained(…).save_pretrained(…)"

CLASSES = {
    "clm": "AutoModelForCausalLM",
    "mlm": "AutoModelForMaskedLM",
    "plm": "XLNetLMHeadModel",
    "denoise": "AutoModelForSeq2SeqLM",
    **TASKS,
}
WORDS = {
    "clm": "a causal language model",
    "mlm": "a masked language model",
    "plm": "an XLNet language model",
    "rtd": "an ELECTRA generator and discriminator",
    "denoise": "an encoder–decoder",
    "classification": "an encoder that takes a classification layer",
    "regression": "an encoder that takes a regression layer",
    "reward": "a decoder that takes a layer for scores",
    "tagging": "an encoder that takes a tagging layer",
    "span_extraction": "an encoder that takes a span layer",
}
DROPOUTS = (
    *(
        "dropout",
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
        "attention_dropout",
        "classifier_dropout",
    ),
    *("embedding_dropout", "mlp_dropout", "dropout_rate", "summary_last_dropout"),
    *("resid_pdrop", "embd_pdrop", "attn_pdrop", "seq_classif_dropout", "hidden_dropout"),
)


def load_config(section: ModelSection) -> Any:
    """The configuration of the model named by the recipe, its positions stretched as the recipe says. Raises
    `ModelError`."""
    name, options = _place(section)
    try:
        config = AutoConfig.from_pretrained(name, **options)
    except Exception as error:
        # See `load_model`.
        raise _explain(error, name, Purpose("clm")) from error
    return _stretched(config, section, name)


def _stretched(config: Any, section: ModelSection, name: str) -> Any:
    if (extension := section.rope_extension) is not None:
        extend(config, extension, name)
    return config


def load_model(
    section: ModelSection, purpose: Purpose | None = None, *, complete: bool = False
) -> PreTrainedModel | ReplacedTokenModel:
    """The model named by the recipe, in fp32 (the precision its weights are trained in), with the head
    of the purpose.

    Weights that the folder lacks are drawn anew, from torch's global generator, and so is a head that was
    trained for another task or other labels; their names stand in the attribute `new_weights` of what is
    returned. A reward model has no dropout. With `complete`, as of a checkpoint, there may be none, and
    dropout stays as it was. Raises `ModelError` when it is missing, not of the right kind, not in
    safetensors, cut short, or needs code of its own that the recipe does not allow.
    """
    purpose = purpose or Purpose("clm")
    name, options = _place(section)
    _check_weights(name)
    dropout = None if complete else 0.0 if purpose.objective == "reward" else section.dropout
    try:
        if purpose.objective == "rtd":
            model: Any = _load_pair(name, section, dropout)
        else:
            model = _load(name, section, purpose, dropout, options)
    except ModelError:
        raise
    except Exception as error:
        # transformers, the hub client and safetensors raise some twenty kinds between them; all of
        # them mean that this name gives no model, and their first line says why.
        raise _explain(error, name, purpose) from error
    if complete and model.new_weights:
        raise ModelError(f"the checkpoint lacks weights: {', '.join(model.new_weights[:3])}", where=name)
    _own_memory(model)
    loaded: PreTrainedModel | ReplacedTokenModel = model
    return loaded


def load_frame(section: ModelSection, purpose: Purpose | None = None) -> PreTrainedModel | None:
    """The model named by the recipe as `load_model` gives it, but without its weights, which nobody reads: as
    a frame (see `workbench.models.frame`), for weights that come from elsewhere, all of them. None for a pair
    of models, weights in a format of their own, and code that comes with them. Raises `ModelError`."""
    purpose = purpose or Purpose("clm")
    if purpose.objective == "rtd" or section.trust_remote_code:
        return None
    name, options = _place(section)
    _check_weights(name)
    try:
        config = _stretched(AutoConfig.from_pretrained(name, **options), section, name)
        if getattr(config, "quantization_config", None) is not None:
            return None
        set_head(config, purpose)
        if section.dropout is not None:
            _set_dropout(config, section.dropout)
        config.name_or_path = name
        kind = getattr(transformers, _class_name(config, purpose, name))
        made = getattr(kind, "from_config", None) or kind._from_config
        with without_weights():
            model: Any = made(config, dtype=torch.float32, attn_implementation=_attention(config, section))
        model.eval()
        if model.can_generate():
            # As transformers does where it reads weights too.
            names = ("cache_dir", "proxies", "token", "generation_config")
            given: dict[str, Any] = dict.fromkeys(names) | options
            switches = ("force_download", "local_files_only", "from_pipeline")
            given |= dict.fromkeys(switches, False) | {"subfolder": "", "from_auto_class": True}
            model.adjust_generation_fn(pretrained_model_name_or_path=name, **given)
    except ModelError:
        raise
    except Exception as error:
        # See `load_model`.
        raise _explain(error, name, purpose) from error
    model.new_weights = []
    if is_moving(config):
        use_exact_dynamic(model)
    use_blocks(model)
    frame: PreTrainedModel = model
    return frame


def _attention(config: Any, section: ModelSection) -> str | None:
    return "eager" if config.model_type == "xlnet" else section.attn_implementation


def _own_memory(model: Any) -> None:
    """Copy weights out of the mapped file: tensors lie there at odd addresses, and products of a vector
    round differently by address, so a run that goes on would differ in the last bit from one never stopped.
    """
    for weights in [*model.parameters(), *model.buffers()]:
        weights.data = weights.data.clone()


def _load(
    name: str, section: ModelSection, purpose: Purpose, dropout: float | None, options: dict[str, Any]
) -> Any:
    config = _stretched(AutoConfig.from_pretrained(name, **options), section, name)
    same_labels = set_head(config, purpose)
    if dropout is not None:
        _set_dropout(config, dropout)
    was = (config.architectures or [""])[0]
    kind = getattr(transformers, _class_name(config, purpose, name))
    model, info = kind.from_pretrained(
        name,
        config=config,
        dtype=torch.float32,
        use_safetensors=True,
        attn_implementation=_attention(config, section),
        ignore_mismatched_sizes=purpose.is_task,
        output_loading_info=True,
        **options,
    )
    new = set(info["missing_keys"])
    if purpose.is_task:
        head = tuple(f"{part}." for part in head_names(model))
        odd = sorted(entry[0] for entry in info["mismatched_keys"] if not entry[0].startswith(head))
        if odd:
            raise ModelError(f"its weights do not fit its config.json: {odd[0]}", where=name)
        # Outputs of the same number, but for other labels or another task, would load without a word.
        if not same_labels or was != type(model).__name__:
            new |= set(renew_head(model))
        if purpose.objective == "reward" and new:
            initialize_reward_head(reward_layer(model))
    model.new_weights = sorted(new)
    if is_moving(config):
        use_exact_dynamic(model)
    use_blocks(model)
    return model


def _place(section: ModelSection) -> tuple[str, dict[str, Any]]:
    """The folder or hub name, checked as far as that goes without reading weights, and how to read it."""
    name = section.model_name_or_path
    assert name is not None
    folder = Path(name).expanduser()
    local = folder.is_dir()
    if not local and (name.startswith((".", "/", "~")) or name.count("/") > 1):
        raise ModelError(
            "there is no such model folder", where=name, hint="name a folder with config.json in it"
        )
    if local:
        _check_folder(folder)
    options = {"revision": section.revision, "trust_remote_code": section.trust_remote_code}
    # Absolute, for it is what adapters remember of the model that they were trained for.
    return (str(folder.absolute()) if local else name), options


def _class_name(config: Any, purpose: Purpose, name: str) -> str:
    if purpose.next_sentence_prediction:
        if config.model_type != "bert":
            raise ModelError("only BERT predicts next sentences", where=name)
        return "BertForPreTraining"
    if purpose.objective == "plm" and config.model_type != "xlnet":
        raise ModelError(f"this is not {WORDS['plm']}", where=name, hint=f"it is of type {config.model_type}")
    if config.model_type == "xlnet" and purpose.objective == "span_extraction":
        return "XLNetForQuestionAnsweringSimple"
    return CLASSES[purpose.objective]


def _set_dropout(config: Any, dropout: float) -> None:
    for name in DROPOUTS:
        if hasattr(config, name):
            setattr(config, name, dropout)


def _load_pair(name: str, section: ModelSection, dropout: float | None) -> ReplacedTokenModel:
    if not (Path(name) / GENERATOR / "config.json").is_file():
        raise ModelError(
            "replaced token detection trains a generator too, and the folder holds none",
            where=name,
            hint=f"name a checkpoint of such a run (with a folder {GENERATOR}/), or start a new model",
        )
    dropouts = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout")
    overrides = {} if dropout is None else dict.fromkeys(dropouts, dropout)
    return ReplacedTokenModel.from_pretrained(
        name, attn_implementation=section.attn_implementation, **overrides
    )


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise ModelError(
            "the folder holds no config.json", where=str(folder), hint="name a transformers model folder"
        )
    # A checkpoint also holds the optimiser's state in safetensors.
    if not any(path for kind in ("model", "adapter_model") for path in folder.glob(f"{kind}*.safetensors")):
        pickles = [path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern)]
        if pickles:
            raise ModelError(
                f"its weights are pickled ({pickles[0]}), which can run any code when opened",
                where=str(folder),
                hint=CONVERT,
            )
        if (folder / "distributed").is_dir():
            raise ModelError(
                "this checkpoint is in parts, as the ranks of its run wrote them",
                where=str(folder),
                hint="the run's final/ is whole",
            )
        raise ModelError("the folder holds no model.safetensors", where=str(folder))


def _check_weights(name: str) -> None:
    """Refuse a folder of adapters, which transformers would open as if they were part of the model."""
    folder = Path(name)
    if (folder / ADAPTER).is_file() and not any(folder.glob("model*.safetensors")):
        raise ModelError(
            "the folder holds adapters, not a model",
            where=name,
            hint=f"name the model that they were trained for: base_model_name_or_path in {ADAPTER}",
        )


def _explain(error: Exception, name: str, purpose: Purpose) -> ModelError:
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    kind = type(error).__name__
    if kind == "SafetensorError":
        return ModelError(f"a weight file is damaged or cut short: {first_line}", where=name)
    if "trust_remote_code" in str(error):
        return ModelError(
            "this model comes with Python code of its own",
            where=name,
            hint="set model.trust_remote_code=true only if you trust its author",
        )
    if "safetensors" in str(error):
        return ModelError("the model has no safetensors weights", where=name, hint=CONVERT)
    if "Unrecognized configuration class" in str(error):
        return ModelError(f"this is not {WORDS[purpose.objective]}", where=name, hint=first_line[:200])
    return ModelError(
        f"it cannot be loaded: {first_line}", where=name, hint="is the name right, and the hub reachable?"
    )
