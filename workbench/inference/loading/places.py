"""What a name means: a folder, a run, a model that was pulled, a GGUF file, a model on the hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from workbench import paths
from workbench.errors import CheckpointError, ModelError
from workbench.inference.loading.explain import CONVERT
from workbench.store.pulled import find_pulled
from workbench.store.runs import Run

ADAPTER = "adapter_config.json"
CONFIG = "config.json"
STATUS = "status.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt")
FETCHED = ["*.json", "*.jinja", "*.model", "*.txt", "*.safetensors"]
LEFT = ["onnx/*", "openvino/*", "original/*", "consolidated*"]
"""What a hub's folder may hold beside the model: the same weights for other programs."""


@dataclass(frozen=True)
class Place:
    """A folder with a model, and the file in it when that is a GGUF file."""

    folder: Path
    gguf: str | None = None

    @property
    def is_adapter(self) -> bool:
        """Whether it holds adapters for another model."""
        return (self.folder / ADAPTER).is_file() and not any(self.folder.glob("model*.safetensors"))


def find_place(name: str, revision: str | None = None, *, code: bool = False) -> Place:
    """The place that a name means, fetched from the hub where it is nowhere here; with `code`, with the
    Python code beside it. Raises `ModelError` when it means nothing, or holds no weights that are safe."""
    path = Path(name).expanduser()
    if path.is_file():
        return _file(path)
    if _is_model(path):
        return _checked(path)
    for run in (paths.runs_dir() / name, path):
        if (run / STATUS).is_file():
            return _checked(_of_run(Run(run.resolve())))
    if (pulled := find_pulled(name)) is not None:
        return _checked(pulled)
    if path.is_dir():
        return _gguf_in(path)
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or path.suffix == ".gguf":
        raise ModelError(
            "there is no such folder or file",
            where=name,
            hint="name a folder with config.json, a .gguf file, a run, or a model of the hub",
        )
    return _checked(_fetched(name, revision, code))


def _is_model(folder: Path) -> bool:
    return any((folder / file).is_file() for file in (CONFIG, ADAPTER))


def _file(path: Path) -> Place:
    if path.suffix.lower() == ".gguf":
        return Place(path.parent, path.name)
    if path.suffix in PICKLES:
        hint = "pickled weights can run any code when opened; name a folder with model.safetensors"
    else:
        hint = f"name the folder that it is in: {path.parent}"
    raise ModelError("this file is no model by itself", where=str(path), hint=hint)


def _gguf_in(folder: Path) -> Place:
    found = sorted(path.name for path in folder.iterdir() if path.suffix.lower() == ".gguf")
    if len(found) == 1:
        return Place(folder, found[0])
    if found:
        raise ModelError(
            f"the folder holds {len(found)} GGUF files",
            where=str(folder),
            hint=f"name one: {', '.join(found)}",
        )
    raise ModelError(
        "the folder holds no model: no config.json, no adapters, no GGUF file",
        where=str(folder),
        hint="name a folder that transformers or PEFT has saved",
    )


def _of_run(run: Run) -> Path:
    """A run's final model, or its last checkpoint that is whole."""
    if _is_model(run.final_path):
        return run.final_path
    from workbench.training.checkpoint import newest

    try:
        found = newest(run.checkpoints(), warn=lambda text: None)
    except CheckpointError as error:
        raise ModelError(f"no checkpoint of the run is whole: {error.message}", where=str(run.path)) from None
    if found is None:
        raise ModelError(
            "the run has no model yet", where=str(run.path), hint=f"workbench runs follow {run.name}"
        )
    return found.path


def _checked(folder: Path) -> Place:
    kinds = ("model", "adapter_model")
    if any(path for kind in kinds for path in folder.glob(f"{kind}*.safetensors")):
        return Place(folder)
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    if pickled:
        raise ModelError(
            f"its weights are pickled ({pickled[0]}), which can run any code when opened",
            where=str(folder),
            hint=CONVERT,
        )
    if any(path.suffix.lower() == ".gguf" for path in folder.iterdir()):
        return _gguf_in(folder)
    if (folder / "distributed").is_dir():
        raise ModelError(
            "this checkpoint is in parts, as the ranks of its run wrote them",
            where=str(folder),
            hint="the run's final/ is whole; so is every checkpoint once the run goes on with "
            "launch.num_processes 1 and parallel degrees of 1 in its recipe.yaml",
        )
    raise ModelError("the folder holds no model.safetensors", where=str(folder), hint=CONVERT)


def _fetched(name: str, revision: str | None, code: bool) -> Path:
    """The folder of the hub's cache, brought up to date where the hub can be reached."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    wanted = [*FETCHED, "*.py"] if code else FETCHED
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=wanted, ignore_patterns=LEFT))
    except HFValidationError:
        raise ModelError(f"“{name}” is no folder here, no run, and no name of the hub", where=name) from None
    except Exception as error:
        # The HTTP library, the hub's library and the system each have their own errors for this.
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"there is no such folder or run, and it cannot be had from the hub ({first})",
            where=name,
            hint="check the name and the network; a private or gated model needs: hf auth login",
        ) from None
