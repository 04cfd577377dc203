"""A model that is watched: how long its answers took, and what its server could not do as it was asked."""

from __future__ import annotations

from workbench.inference.generation import Model, OnDelta, Request, Response


class Observed:
    """Passes requests on. `responses` are all that came, if kept; `notes` are those of all, each once."""

    def __init__(self, model: Model, *, keep: bool = True) -> None:
        self.model, self.name, self.keep = model, model.name, keep
        self.responses: list[Response] = []
        self.notes: list[str] = []

    async def generate(self, request: Request, on_delta: OnDelta | None = None) -> Response:
        """See `Model.generate`."""
        response = await self.model.generate(request, on_delta)
        if self.keep:
            self.responses.append(response)
        self.notes += [note for note in response.notes if note not in self.notes]
        return response
