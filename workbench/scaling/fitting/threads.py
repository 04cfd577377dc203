"""Fits on one thread: their matrices are of five columns, and threads that wait for each other on a busy
machine made a fit of 3 seconds one of 4 minutes."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def on_one_thread(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Keeps the linear algebra of a function on the thread that it is called from."""

    @wraps(function)
    def limited(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        # Only libraries that are there already can be limited, and scipy brings its own.
        import scipy.linalg  # noqa: F401
        import scipy.optimize  # noqa: F401
        from threadpoolctl import threadpool_limits

        with threadpool_limits(limits=1):
            return function(*arguments, **options)

    return limited
