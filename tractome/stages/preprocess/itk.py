"""What both uses of SimpleITK share: images, and one thread so that equal work gives equal bytes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid

LPS = np.array([-1.0, -1.0, 1.0])
"""ITK's world has x and y negated against RAS+."""


def to_itk(volume: NDArray[Any], grid: Grid) -> Any:
    """A volume on a grid in RAS+ as an ITK image, whose world is LPS+; shears of the grid are left out."""
    import SimpleITK

    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(volume.transpose(2, 1, 0), dtype=np.float32))
    image.SetSpacing(grid.voxel_sizes_mm.tolist())
    image.SetDirection((grid.rotation * LPS[:, None]).ravel().tolist())
    image.SetOrigin((LPS * grid.affine[:3, 3]).tolist())
    return image


@contextmanager
def one_itk_thread() -> Iterator[None]:
    """Keep ITK to one thread: it adds up what its threads find in the order in which they finish."""
    import SimpleITK

    before = SimpleITK.ProcessObject.GetGlobalDefaultNumberOfThreads()
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
