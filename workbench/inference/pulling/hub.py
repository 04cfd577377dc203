"""A model from the hub: its safetensors, configuration and tokenizer, never pickles or code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from workbench.errors import ModelError

PATTERNS = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "tokenizer*", "*/config.json"]
REFUSED = ["*.bin", "*.pt", "*.pth", "*.py", "*.h5", "*.msgpack", "onnx/*", "openvino/*", "original/*"]
SECONDS = 10.0


def fetch(name: str, revision: str | None, target: Path, say: Callable[[str], None]) -> None:
    """Download a repository into `target`. Raises `ModelError` when it, or the hub, cannot be had."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    say(f"asking the hub for {name}")
    try:
        files = [
            entry.rfilename
            for entry in HfApi().model_info(name, revision=revision, timeout=SECONDS).siblings or ()
        ]
        if not any(file.endswith(".safetensors") for file in files):
            raise ModelError(
                "the repository holds no safetensors", where=name, hint="pickled weights are not loaded here"
            )
        say(f"fetching {name}")
        snapshot_download(
            name, revision=revision, local_dir=target, allow_patterns=PATTERNS, ignore_patterns=REFUSED
        )
    except (HfHubHTTPError, HFValidationError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403, 404):
            raise ModelError(
                "the hub has no such model, or it is not for you",
                where=name,
                hint="a gated one needs your token: huggingface-cli login",
            ) from None
        raise ModelError(f"the hub refuses: {_first(error)}", where=name) from None
    except ModelError:
        raise
    except Exception as error:
        # Whatever the network library of the day raises when there is no network.
        raise ModelError(f"the hub cannot be reached: {_first(error)}", where=name) from None


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
