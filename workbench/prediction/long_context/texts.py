"""Pass keys to learn from: running texts, or prompts with completions, in a file of JSON lines."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.data.tokenizer import load_tokenizer
from workbench.errors import UsageError, storage_error
from workbench.prediction.long_context.held_out import filler_of, held_out
from workbench.prediction.long_context.passkeys import Passkeys

if TYPE_CHECKING:
    from workbench.prediction.events import Events


def passkey_texts(request: dict[str, Any], events: Events) -> None:
    """Write `count` pass keys of `shortest` to `longest` tokens into `output`, hidden in the text of
    `sources`. Sends `result`: `output`, `count`, `kind`, `tokens` (their mean length)."""
    shortest, longest = request["shortest"], request["longest"]
    tokenizer = load_tokenizer(request["tokenizer"], revision=None, trust_remote_code=False)
    style = request["style"]
    store = held_out(request, tokenizer, events.progress)[0] if style == "text" else None
    filler = filler_of(store, request["seed"]) if store is not None else ()
    passkeys = Passkeys(tokenizer, style, request["digits"], filler)
    least = len(_encode(tokenizer, passkeys.text(0, 0.0, (0,))))
    if longest < least:
        raise UsageError(
            f"{longest:,} tokens are too few for a pass key, which takes {least:,}",
            where="--length",
            hint=f"--length {least}-{2 * least}",
        )
    drawn, sizes = np.random.default_rng(request["seed"]), []
    path = Path(request["output"]).expanduser()
    # Under another name until it is whole: half of it would be learnt from as well.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("w", encoding="utf-8") as file:
            for number in range(request["count"]):
                # Evenly by logarithm: short ones are where a model begins to learn to look back.
                ends = np.log([max(shortest, least), longest + 1])
                length = min(longest, int(np.exp(drawn.uniform(*ends))))
                prompt, answer = passkeys.text(length, float(drawn.random()), (request["seed"], number))
                sizes.append(len(_encode(tokenizer, (prompt, answer))))
                record = {"text": prompt + answer}
                if request["kind"] == "prompt_completion":
                    record = {"prompt": prompt, "completion": answer}
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
                events.progress("writing", number + 1, request["count"])
        unfinished.replace(path)
    except OSError as error:
        raise storage_error(error, path) from None
    finally:
        # Nothing is there where it became the file, or could not be made.
        with contextlib.suppress(OSError):
            unfinished.unlink()
    events.send(
        "result",
        output=str(path),
        count=request["count"],
        kind=request["kind"],
        tokens=float(np.mean(sizes)),
        longest=max(sizes),
    )


def _encode(tokenizer: Any, parts: tuple[str, str]) -> list[int]:
    found: list[int] = tokenizer("".join(parts), add_special_tokens=False)["input_ids"]
    return found
