"""Checks that several types make of their arrays, once, at construction."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.errors import TractomeError


def frozen(array: Any, dtype: Any) -> NDArray[Any]:
    """Return `array` as a read-only C-contiguous array of `dtype`, without a copy where none is needed."""
    result = np.ascontiguousarray(array, dtype=dtype)
    if result is array:
        # A view: setting the flag must not freeze an array that the caller still owns.
        result = result.view()
    result.flags.writeable = False
    return result


def require_shape(array: NDArray[Any], shape: tuple[int | None, ...], what: str, error: type[TractomeError]) -> None:
    """Raise `error` unless `array` has `shape`; None stands for any length."""
    fits = array.ndim == len(shape) and all(
        want is None or have == want for have, want in zip(array.shape, shape, strict=True)
    )
    if not fits:
        wanted = " x ".join("n" if want is None else str(want) for want in shape)
        message = f"{what} has shape {' x '.join(map(str, array.shape))}; it must be {wanted}."
        raise error(message)
