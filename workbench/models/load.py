"""Existing models, from a folder or the hub: safetensors only, no remote code by default."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from transformers import AutoConfig, ElectraForMaskedLM, ElectraForPreTraining

from workbench.errors import ModelError
from workbench.models.build import TASKS
from workbench.models.purpose import Purpose
from workbench.models.replaced_token import GENERATOR, ReplacedTokenModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from workbench.recipe import ModelSection

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
    """The configuration of the model named by the recipe. Raises `ModelError`."""
    name, options = _place(section)
    try:
        return AutoConfig.from_pretrained(name, **options)
    except Exception as error:
        # See `load_model`.
        raise _explain(error, name, Purpose("clm")) from error


def load_model(
    section: ModelSection, purpose: Purpose | None = None, *, complete: bool = False
) -> PreTrainedModel | ReplacedTokenModel:
    """The model named by the recipe, in fp32 (the precision its weights are trained in), with the head
    of the purpose.

    Weights that the folder lacks are drawn anew, from torch's global generator; their names stand in the
    attribute `new_weights` of what is returned. With `complete`, as of a checkpoint, none may be missing.
    Raises `ModelError` when it is missing, not of the right kind, not in safetensors, cut short, or needs
    code of its own that the recipe does not allow.
    """
    purpose = purpose or Purpose("clm")
    name, options = _place(section)
    try:
        if purpose.objective == "rtd":
            return _load_pair(name, section)
        config = AutoConfig.from_pretrained(name, **options)
        _set_head(config, purpose)
        if section.dropout is not None and not complete:
            _set_dropout(config, section.dropout)
        kind = getattr(transformers, _class_name(config, purpose))
        model, info = kind.from_pretrained(
            name,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            attn_implementation="eager" if config.model_type == "xlnet" else section.attn_implementation,
            ignore_mismatched_sizes=purpose.is_task,
            output_loading_info=True,
            **options,
        )
    except ModelError:
        raise
    except Exception as error:
        # transformers, the hub client and safetensors raise some twenty kinds between them; all of
        # them mean that this name gives no model, and their first line says why.
        raise _explain(error, name, purpose) from error
    new = sorted({*info["missing_keys"], *(entry[0] for entry in info["mismatched_keys"])})
    if complete and new:
        raise ModelError(f"the checkpoint lacks weights: {', '.join(new[:3])}", where=name)
    model.new_weights = new
    loaded: PreTrainedModel = model
    return loaded


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
    return (str(folder) if local else name), options


def _class_name(config: Any, purpose: Purpose) -> str:
    if purpose.next_sentence_prediction and config.model_type == "bert":
        return "BertForPreTraining"
    if config.model_type == "xlnet" and purpose.objective == "span_extraction":
        return "XLNetForQuestionAnsweringSimple"
    return CLASSES[purpose.objective]


def _set_head(config: Any, purpose: Purpose) -> None:
    """The labels of the purpose; a head trained for the same labels in the same order is kept."""
    if purpose.objective == "regression":
        config.num_labels, config.problem_type = 1, "regression"
    elif purpose.labels:
        config.id2label = dict(enumerate(purpose.labels))
        config.label2id = {label: number for number, label in enumerate(purpose.labels)}
        config.problem_type = "single_label_classification" if purpose.objective == "classification" else None


def _set_dropout(config: Any, dropout: float) -> None:
    for name in DROPOUTS:
        if hasattr(config, name):
            setattr(config, name, dropout)


def _load_pair(name: str, section: ModelSection) -> ReplacedTokenModel:
    folder = Path(name)
    if not (folder / GENERATOR / "config.json").is_file():
        raise ModelError(
            "replaced token detection trains a generator too, and the folder holds none",
            where=name,
            hint=f"name a checkpoint of such a run (with a folder {GENERATOR}/), or start a new model",
        )
    options = {"dtype": torch.float32, "use_safetensors": True}
    parts = []
    for kind, place in ((ElectraForMaskedLM, folder / GENERATOR), (ElectraForPreTraining, folder)):
        config = AutoConfig.from_pretrained(place)
        if section.dropout is not None:
            _set_dropout(config, section.dropout)
        config._attn_implementation = section.attn_implementation
        parts.append(kind.from_pretrained(place, config=config, **options))
    pair = ReplacedTokenModel(parts[0], parts[1])
    pair.new_weights = []  # type: ignore[assignment]
    return pair


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise ModelError(
            "the folder holds no config.json", where=str(folder), hint="name a transformers model folder"
        )
    if not any(folder.glob("*.safetensors")):
        pickles = [path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern)]
        if pickles:
            raise ModelError(
                f"its weights are pickled ({pickles[0]}), which can run any code when opened",
                where=str(folder),
                hint=CONVERT,
            )
        raise ModelError("the folder holds no model.safetensors", where=str(folder))


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
