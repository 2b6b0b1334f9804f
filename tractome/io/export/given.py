"""What a writer is given: one connectome with its graph, or a set of graphs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.connectome import Connectome
from tractome.datatypes.graph import BrainGraph, GraphSet
from tractome.io.atomic import write_json
from tractome.io.matrices import matrix_sidecar


@dataclass(frozen=True, eq=False)
class Export:
    """One connectome on its way to other tools.

    Parameters
    ----------
    prefix : Path
        Folder and beginning of every file name, such as ``graph/sub-01_seg-desikan``.
    original : Connectome
        As it was made: what the format ``npz`` writes.
    connectome : Connectome
        Its edges chosen and scaled (`tractome.stages.export.prepare`): what every other format writes.
    graph : BrainGraph
        Of that connectome.
    weight : str
        The edge measure: the one matrix of formats that hold one.
    sidecar : mapping
        What goes into every JSON sidecar besides the measure's own line: options, hashes of inputs, version.
    """

    prefix: Path
    original: Connectome
    connectome: Connectome
    graph: BrainGraph
    weight: str
    sidecar: Mapping[str, Any] = field(default_factory=dict)

    def path(self, ending: str) -> Path:
        """Path of a file of this export."""
        return self.prefix.with_name(f"{self.prefix.name}_{ending}")

    def matrix(self, name: str, absent: float) -> NDArray[np.float64]:
        """One matrix, with `absent` where there is no value."""
        matrix = self.connectome.matrices[name].copy()
        matrix[np.isnan(matrix)] = absent
        return matrix

    def matrices(self, absent: float) -> dict[str, NDArray[np.float64]]:
        """Every matrix, with `absent` where there is no value."""
        return {name: self.matrix(name, absent) for name in self.connectome.matrices}

    def about(self, name: str, absent: str) -> dict[str, Any]:
        """What explains one matrix: its measure, the choices made, where it comes from."""
        kept = self.connectome.metadata.get("self_connections", "dropped")
        own = {**matrix_sidecar(self.connectome, name), "SelfConnections": kept, "AbsentValue": absent}
        return {**self.sidecar, **own}

    def write_about(self, path: Path, absent: str, more: Mapping[str, Any] | None = None) -> Path:
        """Write what explains all matrices of a file, and `more`, beside it as JSON; the path of that."""
        beside = path.with_suffix(".json")
        every = {name: self.about(name, absent) for name in self.connectome.matrices}
        write_json(beside, {**(more or {}), "EdgeMeasure": self.weight, "Measures": every})
        return beside


@dataclass(frozen=True, eq=False)
class ExportSet:
    """Many subjects' graphs on their way to other tools.

    Parameters
    ----------
    prefix : Path
        Folder and beginning of every file name.
    graphs : GraphSet
    connectomes : tuple of Connectome
        Of the same subjects, edges chosen and scaled.
    weight : str
        The edge measure.
    sidecar : mapping
        What goes into every JSON sidecar.
    """

    prefix: Path
    graphs: GraphSet
    connectomes: tuple[Connectome, ...]
    weight: str
    sidecar: Mapping[str, Any] = field(default_factory=dict)

    def path(self, ending: str) -> Path:
        """Path of a file of this export."""
        return self.prefix.with_name(f"{self.prefix.name}_{ending}")
