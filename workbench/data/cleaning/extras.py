"""The packages of the extra `cleaning`, named when one is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from workbench.errors import MissingExtraError
from workbench.installing import pip_install_extra


@contextmanager
def needed(package: str, extra: str = "cleaning") -> Iterator[None]:
    """Import inside; a package that is not there is told with how to get it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"cleaning needs the package {package} ({error.name} is missing)",
            hint=pip_install_extra(extra),
        ) from None
