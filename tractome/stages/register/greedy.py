"""Calls greedy (Yushkevich et al. 2016; wheel `picsl-greedy`) in a process of its own.

greedy prints to the standard output of the process whatever it is told, cannot be interrupted while it runs, and gives
other results for other numbers of threads in its affine mode. In a process of its own it is silent, Ctrl-C ends it, and
the number of threads is ours to set. Arrays travel through pipes; nothing is written to disk.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.errors import RegistrationError

_PLAN = "plan"
_LPS = np.array([-1.0, -1.0, 1.0])
"""ITK's world has x and y negated against RAS+."""


def run_greedy(
    commands: Sequence[str], images: Mapping[str, tuple[NDArray[Any], Grid]], outputs: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """Run greedy commands one after the other in one fresh process.

    Parameters
    ----------
    commands : sequence of str
        As on greedy's command line; images, matrices and warps are named instead of files.
    images : mapping of str to (volume, Grid)
        What the names in the commands stand for, (x, y, z) each.
    outputs : sequence of str
        Names of the matrices and warps to return.

    Returns
    -------
    dict of str to array
        A matrix as (4, 4) float64, fixed RAS+ mm -> moving RAS+ mm; a warp as (x, y, z, 3) float32, RAS+ mm to add to
        the position of each voxel of the fixed image.

    Raises
    ------
    RegistrationError
        greedy failed or is not installed.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for name, (volume, grid) in images.items():
        arrays[f"volume:{name}"] = np.asarray(volume, dtype=np.float32)
        arrays[f"affine:{name}"] = grid.affine
    plan = json.dumps({"commands": list(commands), "outputs": list(outputs)})
    arrays[_PLAN] = np.frombuffer(plan.encode(), dtype=np.uint8)
    parcel = io.BytesIO()
    np.savez(parcel, **arrays)  # type: ignore[arg-type]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    call = [sys.executable, "-c", "from tractome.stages.register.greedy import serve; serve()"]
    # Popen itself gives a child a quarter of a second after Ctrl-C and then leaves it running.
    with subprocess.Popen(
        call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        try:
            answer, errors = process.communicate(parcel.getvalue())
        except BaseException:
            process.kill()
            process.wait()
            raise
    if process.returncode != 0:
        reason = errors.decode(errors="replace").strip().splitlines()
        message = (
            f"greedy, which registers images, stopped with code {process.returncode}"
            f"{': ' + reason[-1] if reason else ''}. Check the installation (pip install --force-reinstall "
            "picsl-greedy) and the free memory."
        )
        raise RegistrationError(message)
    with np.load(io.BytesIO(answer)) as results:
        return {name: results[name] for name in outputs}


def serve() -> None:
    """Do in the child what `run_greedy` asked for: a parcel of arrays on standard input, one on standard output."""
    parcel = io.BytesIO(sys.stdin.buffer.read())
    # From here on whatever is printed, by C or by Python, goes nowhere; the answer uses the saved descriptor.
    answer_descriptor = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    from picsl_greedy import Greedy3D

    with np.load(parcel) as arrays:
        plan = json.loads(arrays[_PLAN].tobytes().decode())
        names = [key.removeprefix("volume:") for key in arrays.files if key.startswith("volume:")]
        images = {name: _to_itk(arrays[f"volume:{name}"], arrays[f"affine:{name}"]) for name in names}
    results: dict[str, Any] = dict.fromkeys(plan["outputs"])
    log = io.StringIO()
    greedy = Greedy3D()
    for command in plan["commands"]:
        words = command.split()
        known = {name: image for name, image in {**images, **results}.items() if name in words}
        # Handed over once; greedy keeps what it was given or made under its name.
        greedy.execute(command, log, log, **known)
        for name in known:
            images.pop(name, None)
            results.pop(name, None)
    answer = io.BytesIO()
    np.savez(answer, **{name: _from_greedy(greedy[name]) for name in plan["outputs"]})  # type: ignore[arg-type]
    with os.fdopen(answer_descriptor, "wb") as stream:
        stream.write(answer.getvalue())


def _to_itk(volume: NDArray[np.float32], affine: NDArray[np.float64]) -> Any:
    """An array in RAS+ as an ITK image, whose world is LPS+."""
    import SimpleITK

    columns = _LPS[:, None] * affine[:3, :3]
    sizes = np.linalg.norm(columns, axis=0)
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(volume.transpose(2, 1, 0)))
    image.SetSpacing(sizes.tolist())
    image.SetDirection((columns / sizes).ravel().tolist())
    image.SetOrigin((_LPS * affine[:3, 3]).tolist())
    return image


def _from_greedy(result: Any) -> NDArray[Any]:
    """A matrix as it is (greedy's are RAS+), a warp from LPS+ to RAS+."""
    import SimpleITK

    if isinstance(result, np.ndarray):
        return np.asarray(result, dtype=np.float64)
    warp = SimpleITK.GetArrayFromImage(result).transpose(2, 1, 0, 3) * _LPS
    return np.ascontiguousarray(warp, dtype=np.float32)
