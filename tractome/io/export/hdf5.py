"""A connectome as HDF5, for h5py, MATLAB's h5read, Julia and R (rhdf5)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.io.atomic import replacing
from tractome.io.export.given import Export


def write_hdf5(export: Export) -> list[Path]:
    """Write ``matrices/NAME`` (N, N), NaN where there is no value, with what each means as attributes.

    ``regions/`` holds name, label, hemisphere, structure, network and template centroid of every row; ``nodes/`` the
    subject's centroid_mm, volume_mm3 and other features. Strings are UTF-8 of fixed length; no pickle, no dates.
    """
    import h5py

    connectome, path = export.connectome, export.path("connectome.h5")
    regions = connectome.regions
    with replacing(path) as temporary, h5py.File(temporary, "w", track_order=True) as file:
        file.attrs["about"] = json.dumps(dict(export.sidecar), sort_keys=True, ensure_ascii=False)
        file.attrs["metadata"] = json.dumps(connectome.metadata, sort_keys=True, ensure_ascii=False)
        file.attrs["atlas"] = regions.atlas
        file.attrs["edge_measure"] = export.weight
        file.attrs["n_streamlines"] = connectome.n_streamlines
        file.attrs["n_unassigned"] = connectome.n_unassigned
        for name, matrix in connectome.matrices.items():
            measure = connectome.measures[name]
            stored = _store(file, f"matrices/{name}", matrix)
            stored.attrs["unit"], stored.attrs["definition"] = measure.unit, measure.definition
            stored.attrs["is_mean"] = measure.is_mean
        _store(file, "regions/label", regions.labels)
        for column in ("names", "hemispheres", "structures", "networks"):
            _store(file, f"regions/{column.removesuffix('s')}", _utf8(getattr(regions, column)))
        _store(file, "regions/template_centroid_mm", regions.centroids_mm)
        _store(file, "nodes/centroid_mm", connectome.centroids_mm)
        _store(file, "nodes/volume_mm3", connectome.volumes_mm3)
        for name, values in connectome.node_features.items():
            _store(file, f"nodes/{name}", values)
    return [path]


def _store(file: Any, name: str, values: NDArray[Any]) -> Any:
    return file.create_dataset(name, data=values, track_times=False)


def _utf8(names: tuple[str, ...]) -> NDArray[Any]:
    import h5py

    encoded = [name.encode("utf-8") for name in names]
    kind = h5py.string_dtype("utf-8", max(1, *(len(name) for name in encoded)))
    return np.array(encoded, dtype=kind)
