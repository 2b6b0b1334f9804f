"""Two images of other contrast, one head: rigid registration of the mean of a shell to the b0 by mutual information."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.stages.preprocess.itk import LPS, one_itk_thread, to_itk

N_BINS = 48


def shell_to_b0(
    b0: NDArray[np.float32], shell: NDArray[np.float32], inside: NDArray[np.bool_], grid: Grid
) -> NDArray[np.float64]:
    """Rigid motion between a b0 and the mean of a shell, (4, 4) float64: b0 world -> shell world, RAS+ mm.

    Mattes' mutual information (SimpleITK) over all voxels inside the brain, one thread: the same bytes every time.
    """
    import SimpleITK

    fixed, moving = to_itk(b0, grid), to_itk(shell, grid)
    method = SimpleITK.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetNumberOfWorkUnits(1)
    method.SetMetricAsMattesMutualInformation(N_BINS)
    method.SetMetricFixedMask(SimpleITK.Cast(to_itk(inside, grid) > 0.5, SimpleITK.sitkUInt8))
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetInterpolator(SimpleITK.sitkLinear)
    centre = grid.to_world(np.argwhere(inside).mean(axis=0)) * LPS
    start = SimpleITK.Euler3DTransform()
    start.SetCenter(centre.tolist())
    method.SetInitialTransform(start, inPlace=True)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=0.5, minStep=1e-3, numberOfIterations=60, gradientMagnitudeTolerance=1e-8
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([2, 1])
    method.SetSmoothingSigmasPerLevel([2.0, 1.0])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    with one_itk_thread():
        method.Execute(fixed, moving)
    rotation = np.array(start.GetMatrix()).reshape(3, 3)
    shift = np.array(start.GetTranslation())
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * LPS[:, None] * LPS
    matrix[:3, 3] = (centre - rotation @ centre + shift) * LPS
    return matrix
