"""How the loops of the numba engine are compiled: at first use, cached on disk, without the GIL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def jit(loop: Callable[..., Any]) -> Callable[..., Any]:
    """The loop, compiled for the arrays that it is called with."""
    compiled: Callable[..., Any]
    try:
        compiled = numba.njit(loop, cache=True, nogil=True, error_model="numpy")
    except RuntimeError:  # nowhere to write a cache: compile in every process
        compiled = numba.njit(loop, nogil=True, error_model="numpy")
    return compiled
