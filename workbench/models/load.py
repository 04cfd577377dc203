"""Existing causal language models, from a folder or the hub: safetensors only, no remote code by default."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from workbench.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from workbench.recipe import ModelSection

CONVERT = "where you trust it, convert it: AutoModelForCausalLM.from_pretrained(…).save_pretrained(…)"


def load_model(section: ModelSection) -> PreTrainedModel:
    """The model named by the recipe, in fp32 (the precision its weights are trained in).

    Raises `ModelError` when it is missing, not a causal language model, not in safetensors, cut
    short, or needs code of its own that the recipe does not allow.
    """
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
    try:
        config = AutoConfig.from_pretrained(str(folder) if local else name, **options)
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            str(folder) if local else name,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            attn_implementation=section.attn_implementation,
            **options,
        )
    except Exception as error:
        # transformers, the hub client and safetensors raise some twenty kinds between them; all of
        # them mean that this name gives no model, and their first line says why.
        raise _explain(error, name) from error
    return model


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


def _explain(error: Exception, name: str) -> ModelError:
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
        return ModelError("this is not a causal language model", where=name, hint=first_line[:200])
    return ModelError(
        f"it cannot be loaded: {first_line}", where=name, hint="is the name right, and the hub reachable?"
    )
