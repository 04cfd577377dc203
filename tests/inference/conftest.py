from __future__ import annotations

import pytest
from repeating_draws import unseeded_draws_repeat as unseeded_draws_repeat


@pytest.fixture(autouse=True)
def draws_repeat(unseeded_draws_repeat: None) -> None:
    """In every test here."""
