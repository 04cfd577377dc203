"""A decoder on long text, as it is and with its positions stretched by several methods, one after another."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from workbench.models.rope_scaling import is_moving
from workbench.prediction.long_context import positions, retrieval
from workbench.prediction.long_context.held_out import filler_of, held_out
from workbench.prediction.long_context.passkeys import Passkeys
from workbench.prediction.long_context.planning import Plan, plan_of
from workbench.prediction.long_context.scoring import Scorer
from workbench.prediction.long_context.variants import about, describe, open_variant, title_of
from workbench.prediction.long_context.windows import Windows, windows_of
from workbench.prediction.opening import device_of

if TYPE_CHECKING:
    from workbench.data.token_store import TokenStore
    from workbench.prediction.events import Events

VERSION = 1


def long_context(request: dict[str, Any], events: Events) -> None:
    """Evaluate a decoder on long text. Sends `result`, which `workbench.store.long_context` describes.

    `model` is its folder, `recipe` that of its run, `sources` other text; `methods` are mappings with the
    arguments of `RopeExtension`, an empty one for the model as it is.
    """
    began = time.monotonic()
    device = device_of(request["device"])
    plan = plan_of(request)
    windows: Windows | None = None
    passkeys: Passkeys | None = None
    source, found, first = "", [], None
    for number, method in enumerate(plan.methods):
        opened = open_variant(request["model"], device, method, plan.longest)
        if not number:
            windows, passkeys, source = _material(request, plan, opened.tokenizer, events)
        told = _Told(events, f"{title_of(method)} ({number + 1} of {len(plan.methods)})")
        told.begin(_work(opened.model, plan, windows, passkeys))
        own = about(opened, method)
        scorer, moving = Scorer(opened.model, plan.batch_tokens), is_moving(opened.model.config)
        if windows is not None:
            read = positions.positions(scorer, windows, plan.lengths, plan.buckets, told.add, moving=moving)
            first = first or read
            own |= {"positions": read.positions, "lengths": read.lengths}
            own["difference"] = (
                None if read is first else positions.difference(read, first, windows.documents)
            )
        if windows is not None and plan.stride:
            own["sliding"] = positions.sliding(scorer, windows, plan.lengths, plan.stride, told.add)
        if passkeys is not None:
            lengths = passkey_lengths(plan, passkeys)
            own["passkeys"] = retrieval.retrieval(
                scorer, passkeys, lengths, plan.depths, plan.trials, told.add
            )
        found.append(own)
    events.send(
        "result",
        version=VERSION,
        model=request["model"],
        context=plan.context,
        trained=plan.trained,
        device=describe(device),
        data=source,
        lengths=plan.lengths,
        windows=0 if windows is None else len(windows.rows),
        documents=0 if windows is None else windows.count,
        joined=windows is not None and windows.joined,
        passkeys=None if passkeys is None else plan.about_passkeys,
        seed=plan.seed,
        seconds=round(time.monotonic() - began, 1),
        variants=found,
    )


def _material(
    request: dict[str, Any], plan: Plan, tokenizer: Any, events: Events
) -> tuple[Windows | None, Passkeys | None, str]:
    """Windows of held-out text, what makes pass keys, and where the text is from."""
    windows = passkeys = None
    needs_text = plan.has_positions or plan.style == "text"
    store: TokenStore | None = None
    source = "no text"
    if needs_text:
        store, source = held_out(request, tokenizer, events.progress)
    if plan.has_positions:
        windows = windows_of(store, plan.longest, plan.windows, plan.seed, join=request["join"])
    if plan.has_passkeys:
        filler = () if store is None or plan.style != "text" else filler_of(store, plan.seed)
        passkeys = Passkeys(tokenizer, plan.style, plan.digits, filler)
        # Refused before anything is read, where the shortest has no room for one.
        passkeys.prompt(min(passkey_lengths(plan, passkeys)), 0.0, (0,))
    return windows, passkeys, source


def passkey_lengths(plan: Plan, passkeys: Passkeys) -> list[int]:
    """The lengths of texts with pass keys: of those that nobody named only the ones that hold a key, if any
    do."""
    if plan.are_named:
        return plan.lengths
    return [length for length in plan.lengths if passkeys.has_room(length)] or plan.lengths


def _work(model: Any, plan: Plan, windows: Windows | None, passkeys: Passkeys | None) -> int:
    """Tokens that one variant reads."""
    total = 0
    if windows is not None:
        total += positions.work(windows, plan.lengths, moving=is_moving(model.config))
        total += positions.sliding_work(windows, plan.lengths, plan.stride) if plan.stride else 0
    if passkeys is not None:
        lengths = passkey_lengths(plan, passkeys)
        total += retrieval.work(lengths, plan.depths, plan.trials)
    return total


class _Told:
    """How many tokens of one variant are read."""

    def __init__(self, events: Events, what: str) -> None:
        self.events, self.what, self.done, self.total = events, what, 0, 0

    def begin(self, total: int) -> None:
        """So many will be read."""
        self.total = total
        self.add(0)

    def add(self, tokens: int) -> None:
        """So many more are read."""
        self.done += tokens
        self.events.progress(self.what, min(self.done, self.total), self.total)
