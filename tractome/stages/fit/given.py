"""Responses that were given, fitted to the shells of a scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.diffusion import SHELL_TOLERANCE_S_PER_MM2, GradientTable
from tractome.datatypes.response import ModelChoice, Response, ResponseTable
from tractome.errors import GradientError, OptionError
from tractome.options import FitOptions
from tractome.stages.fit.model import choose_model, default_lmax, n_distinct_directions

TISSUES = {1: ("wm",), 2: ("wm", "csf"), 3: ("wm", "gm", "csf")}
"""Which tissues a number of response files stands for, in order."""


def given_response(tables: Sequence[ResponseTable], gradients: GradientTable, options: FitOptions) -> Response:
    """Responses from files in place of estimated ones, and the model that they mean.

    Parameters
    ----------
    tables : sequence of ResponseTable
        One (single fibre) for csd; two (white matter, CSF) or three (white matter, grey matter, CSF) for msmt.
    gradients : GradientTable
    options : FitOptions

    Returns
    -------
    Response

    Raises
    ------
    OptionError
        The model asked for cannot use so many responses, or the order asked for is above theirs.
    GradientError
        The rows are not the shells of the scan.
    """
    if len(tables) not in TISSUES:
        message = (
            f"{len(tables)} response files were given. Give one (single fibre), two (white matter, CSF) or three "
            "(white matter, grey matter, CSF), in this order."
        )
        raise OptionError(message)
    model = "csd" if len(tables) == 1 else "msmt"
    if options.model not in ("auto", model):
        message = (
            f"{len(tables)} response file{'s' if len(tables) > 1 else ''} belong to model = {model}, but "
            f"model = {options.model} was asked for. Leave the model out, or give the responses that it needs."
        )
        raise OptionError(message)
    return _single_shell(tables[0], gradients, options) if model == "csd" else _tissues(tables, gradients, options)


def _single_shell(table: ResponseTable, gradients: GradientTable, options: FitOptions) -> Response:
    wanted = options.fod_shell_s_per_mm2
    if wanted is None and table.bvals is not None and len(table.bvals) == 1:
        wanted = float(table.bvals[0])
        _require_shells(table, np.array([wanted]), _shell_bvals(gradients), gradients)
    choice = choose_model(gradients, replace(options, model="csd", fod_shell_s_per_mm2=wanted))
    b = choice.shells_s_per_mm2[0]
    if table.bvals is None:
        if len(table.zonal) != 1:
            message = (
                f"{table.name} has {len(table.zonal)} rows and no line '# Shells:' that says which is b = {b:.0f}. "
                "Give a file with that line, or with the one row of the shell."
            )
            raise GradientError(message)
        row = 0
    else:
        row = int(np.argmin(np.abs(table.bvals - b)))
        _require_shells(table, np.array([b]), table.bvals[row : row + 1], gradients)
    lmax = _lmax(table, choice.lmax, options)
    reason = f"response from {table.name}, b = {b:.0f}"
    return Response(
        ModelChoice("csd", (b,), lmax, reason), np.array([b]), {"wm": table.zonal[row : row + 1, : lmax // 2 + 1]}
    )


def _tissues(tables: Sequence[ResponseTable], gradients: GradientTable, options: FitOptions) -> Response:
    if len({len(table.zonal) for table in tables}) != 1:
        rows = ", ".join(f"{table.name} {len(table.zonal)}" for table in tables)
        message = f"The responses of one scan have a row per shell each; got {rows} rows. Give files of one scan."
        raise GradientError(message)
    found = _shell_bvals(gradients)
    if not gradients.is_b0.any():
        message = f"Responses of several tissues begin with b0; the scan has {gradients.describe()}. Use one response."
        raise GradientError(message)
    shells = _shells_of(tables, found, gradients, options)
    names = TISSUES[len(tables)]
    for name, table in list(zip(names, tables, strict=True))[1:]:
        if table.zonal.shape[1] != 1 and table.zonal[:, 1:].any():
            message = (
                f"{table.name} stands for {name.upper()} and has {table.zonal.shape[1]} columns; grey matter and CSF "
                "have one. Give white matter first, then grey matter, then CSF."
            )
            raise GradientError(message)
    n_directions = sum(
        n_distinct_directions(gradients.bvecs[list(shell.volumes)])
        for shell in gradients.shells
        if shell.b_s_per_mm2 in shells
    )
    lmax = _lmax(tables[0], options.lmax or default_lmax(n_directions), options)
    reason = "responses from " + ", ".join(table.name for table in tables)
    n_columns = {"wm": lmax // 2 + 1}
    zonal = {name: table.zonal[:, : n_columns.get(name, 1)] for name, table in zip(names, tables, strict=True)}
    return Response(ModelChoice("msmt", shells, lmax, reason), np.array([0.0, *shells]), zonal)


def _shells_of(
    tables: Sequence[ResponseTable], found: NDArray[np.float64], gradients: GradientTable, options: FitOptions
) -> tuple[float, ...]:
    """The scan's weighted shells that the rows after the first stand for."""
    named = [table for table in tables if table.bvals is not None]
    n_shells = len(tables[0].zonal) - 1
    if named:
        bvals = np.asarray(named[0].bvals)
        if bvals[0] > SHELL_TOLERANCE_S_PER_MM2:
            message = f"The first row of {named[0].name} is b = {bvals[0]:.0f}; it must be b0. Check the file."
            raise GradientError(message)
        for table in named:
            _require_shells(table, bvals[1:], found, gradients)
            _require_shells(table, bvals, np.asarray(table.bvals), gradients)
        shells = tuple(float(found[np.argmin(np.abs(found - b))]) for b in bvals[1:])
        unused = [b for b in found if b not in shells]
        own = choose_model(gradients, replace(options, model="msmt")).shells_s_per_mm2
        if any(b in own for b in unused):
            message = (
                f"{named[0].name} has no row for b = {', '.join(f'{b:.0f}' for b in unused)}; the scan has "
                f"{gradients.describe()}. Give responses of all its shells."
            )
            raise GradientError(message)
    elif n_shells != len(found):
        message = (
            f"{tables[0].name} has {n_shells + 1} rows; the scan has b0 and {len(found)} shells "
            f"({gradients.describe()}). One row per shell is needed, from b0 up."
        )
        raise GradientError(message)
    else:
        shells = tuple(float(b) for b in found)
    return shells


def _shell_bvals(gradients: GradientTable) -> NDArray[np.float64]:
    return np.array([shell.b_s_per_mm2 for shell in gradients.shells])


def _require_shells(
    table: ResponseTable, wanted: NDArray[np.float64], found: NDArray[np.float64], gradients: GradientTable
) -> None:
    """Raise unless every b-value of `wanted` is among `found`, within the tolerance of one shell."""
    for b in wanted:
        if not len(found) or np.abs(found - b).min() > SHELL_TOLERANCE_S_PER_MM2:
            listed = "no line '# Shells:'" if table.bvals is None else ", ".join(f"{each:.0f}" for each in table.bvals)
            message = (
                f"The response {table.name} is for b = {listed}, the scan has {gradients.describe()}: they do not "
                f"meet at b = {b:.0f}. Give a response of the scan's own shells, or estimate it (without --response)."
            )
            raise GradientError(message)


def _lmax(table: ResponseTable, wanted: int, options: FitOptions) -> int:
    """Order of the FOD: not above the response's, which has nothing to say there."""
    highest = 2 * (int(table.zonal.shape[1]) - 1)
    if highest < 2:
        message = (
            f"The response {table.name} has one column: it is isotropic and cannot tell directions. "
            "Give the response of white matter first."
        )
        raise GradientError(message)
    if options.lmax is not None and options.lmax > highest:
        message = (
            f"lmax = {options.lmax} was asked for, but the response {table.name} ends at lmax {highest} "
            f"({table.zonal.shape[1]} columns). Ask for lmax {highest} or less, or give a response of more columns."
        )
        raise OptionError(message)
    return min(wanted - wanted % 2, highest)
