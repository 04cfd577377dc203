"""Where a checkpoint is: its files, in a folder of this machine or on the hub."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import ModelError
from workbench.inspection.weights import TensorInfo, of_hub

if TYPE_CHECKING:
    from workbench.inspection.requests import Progress

PICKLES = (".bin", ".pt", ".pth", ".ckpt")
SMALL_FILES = ["*.json", "*.jinja", "*.model", "*.txt"]
MOST_FILES = 2_000


@dataclass(frozen=True)
class Place:
    """A folder and its files, each with its size in bytes; `gguf` is the file that was meant or found.

    `remote` holds the tensors of a model on the hub, whose weights were not fetched.
    """

    folder: Path
    files: list[tuple[str, int]]
    gguf: Path | None = None
    remote: list[TensorInfo] | None = field(default=None)

    def has(self, name: str) -> bool:
        """Whether a file is there to be read."""
        return (self.folder / name).is_file()


def find_place(name: str, revision: str | None, progress: Progress) -> Place:
    """What a name means. Raises `ModelError` where it means nothing."""
    path = Path(name).expanduser()
    try:
        if path.is_file():
            return _file(path)
        if path.is_dir():
            return _folder(path)
    except OSError as error:
        raise ModelError(f"it cannot be read: {error.strerror}", where=str(path)) from None
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or path.suffix == ".gguf":
        raise ModelError(
            "there is no such folder or file",
            where=name,
            hint="name a folder with config.json, or a .gguf file",
        )
    return _hub(name, revision, progress)


def _file(path: Path) -> Place:
    if path.suffix.lower() == ".gguf":
        return Place(path.parent, [(path.name, path.stat().st_size)], gguf=path)
    hint = f"name the folder that it is in: {path.parent}"
    if path.name.endswith(PICKLES):
        hint = "pickled weights can run any code when opened; name a folder with model.safetensors"
    raise ModelError("this file is no checkpoint by itself", where=str(path), hint=hint)


def _folder(path: Path) -> Place:
    files: list[tuple[str, int]] = []
    for file in sorted(path.rglob("*")):
        if file.is_file() and len(files) < MOST_FILES:
            files.append((file.relative_to(path).as_posix(), file.stat().st_size))
    names = [name for name, _ in files if "/" not in name]
    ours = any(name in names for name in ("config.json", "adapter_config.json"))
    weights = [name for name in names if name.endswith((".safetensors", *PICKLES))]
    ggufs = [name for name in names if name.lower().endswith(".gguf")]
    if ggufs and not weights:
        return Place(path, files, gguf=path / ggufs[0])
    if not ours and not weights:
        raise ModelError(
            "the folder holds no model: neither config.json nor weights",
            where=str(path),
            hint="a finished run's model is in its folder “final”",
        )
    return Place(path, files)


def _hub(name: str, revision: str | None, progress: Progress) -> Place:
    from huggingface_hub import HfApi, get_safetensors_metadata, snapshot_download

    progress("asking the hub", 0, None)
    try:
        info = HfApi().model_info(name, revision=revision, files_metadata=True, timeout=20)
        folder = Path(snapshot_download(name, revision=info.sha, allow_patterns=SMALL_FILES))
        files = sorted((file.rfilename, int(file.size or 0)) for file in info.siblings or [])
        stored = any(path.endswith(".safetensors") for path, _ in files)
        remote = of_hub(get_safetensors_metadata(name, revision=info.sha)) if stored else []
        return Place(folder, files, remote=remote)
    except Exception as error:
        # The HTTP library, the hub's library and the system each have their own errors for this.
        return _kept(name, revision, error)


def _kept(name: str, revision: str | None, reason: Exception) -> Place:
    """The copy of an earlier download, where the hub cannot be asked."""
    from huggingface_hub import snapshot_download

    try:
        return _folder(Path(snapshot_download(name, revision=revision, local_files_only=True)))
    except ModelError:
        raise
    except Exception:
        first = (str(reason).strip().splitlines() or [type(reason).__name__])[0]
        raise ModelError(
            f"there is no such folder, and it cannot be had from the hub ({first})",
            where=name,
            hint="check the name and the network; a private or gated model needs: hf auth login",
        ) from None
