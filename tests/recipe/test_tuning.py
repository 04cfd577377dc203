"""What a recipe may say of tuning, and what it is told where it may not."""

from __future__ import annotations

from typing import Any

import pytest

from workbench.errors import RecipeError
from workbench.recipe import validate

BASE: dict[str, Any] = {"model": {"model_name_or_path": "some/model"}, "data": {"packing": False}}


def recipe(objective: str = "clm", model: Any = None, **tuning: Any) -> Any:
    given = {**BASE, "objective": {"name": objective}, "tuning": tuning}
    return validate(given | ({} if model is None else {"model": model}), "test")


@pytest.mark.parametrize(
    ("tuning", "said"),
    [
        ({"method": "prompt", "prompt_tuning_init": "TEXT"}, "TEXT needs the text"),
        ({"method": "prompt", "prompt_tuning_init": "RANDOM", "prompt_tuning_init_text": "x"}, "not used by"),
        ({"method": "prompt", "prefix_projection": True}, "prefix_projection belongs to method prefix"),
        ({"method": "prompt", "r": 4}, "r belongs to method lora"),
        ({"method": "full", "num_virtual_tokens": 3}, "belongs to method prompt or prefix, not to full"),
        ({"method": "prefix", "encoder_hidden_size": 8}, "prefix_projection=true"),
        ({"method": "prompt", "model": {}}, "adapts an existing model"),
        ({"method": "prompt", "objective": "classification"}, "writes nothing"),
        (
            {"method": "prefix", "objective": "denoise", "prompt_tuning_init": "SAMPLE_VOCAB"},
            "begins as noise",
        ),
        ({"method": "prefix", "num_virtual_tokens": 0}, "greater than or equal to 1"),
    ],
)
def test_what_does_not_fit_is_refused(tuning: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        recipe(**tuning)


def test_packed_rows_hide_the_prompt_from_later_documents() -> None:
    with pytest.raises(RecipeError, match=r"set data.packing=false"):
        validate({**BASE, "data": {}, "tuning": {"method": "prompt"}}, "test")


def test_what_fits_stands() -> None:
    section = recipe(method="prefix", prefix_projection=True, encoder_hidden_size=8).tuning
    assert section.is_soft_prompt and section.is_adapter and section.virtual_tokens == 20
    assert recipe(method="lora", r=4).tuning.virtual_tokens == 0
