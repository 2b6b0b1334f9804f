"""The whole way on two real scans: through a T1, and through FA alone."""

import numpy as np
import pytest
from runs import Heard

from tractome.io.images import read_labels, read_volume
from tractome.io.regions import read_region_table
from tractome.pipeline import LabelSource, RunOptions, SubjectFiles, find_scan, new_subject, run_subject

pytestmark = pytest.mark.real

ATLAS = "desikan-killiany-83"


def _direction(root):
    from tractome.io.nifti import open_nifti

    file = open_nifti(root / "dwi/sub-01_model-tensor_param-colorfa_dwimap.nii.gz")
    return np.stack(list(file.volumes()), axis=-1), file.grid


@pytest.mark.parametrize(("scan", "has_t1"), [("philips_dwi_t1", True), ("siemens_42vol", False)])
def test_a_real_scan_to_matrices(shared_data, tmp_path, scan, has_t1):
    folder = shared_data / scan
    source = LabelSource(t1=folder / "T1w.nii.gz" if has_t1 else None)
    files = SubjectFiles(find_scan(folder / "dwi.nii.gz"), source)
    heard = Heard()
    with new_subject(tmp_path, files.scan.dwi, None, heard) as ledger:
        records = run_subject(ledger, files, RunOptions())
    assert heard.done == ["fit", "register", "parcellate", "tissue", "track", "connect", "export"]
    assert records["parcellate"].facts["missing"] == []
    assert records["connect"].facts["n_homologous_pairs"] == 41
    assert records["connect"].facts["homologous_strength_correlation"] > 0.6
    root = tmp_path / "sub-01"
    colour, grid = _direction(root)
    world = grid.to_world(np.argwhere(np.ones(grid.shape, dtype=bool)))
    colour = colour.reshape(-1, 3)
    fa = np.linalg.norm(colour, axis=1)
    labels, label_grid = read_labels(root / f"dwi/sub-01_seg-{ATLAS}_dseg.nii.gz")
    regions = read_region_table(root / f"connectivity/sub-01_seg-{ATLAS}_regions.tsv", ATLAS)
    # Between the hemispheres of the cingulate only the corpus callosum has a high FA: it is red.
    near = [
        label_grid.to_world(np.argwhere(labels == regions.labels[row])).mean(axis=0)
        for row, name in enumerate(regions.names)
        if name.startswith(("posteriorcingulate", "isthmuscingulate"))
    ]
    middle = np.mean(near, axis=0)
    callosal = (np.abs(world - middle) < (4, 40, 25)).all(axis=1) & (fa > 0.6)
    assert callosal.sum() > 50
    assert (colour[callosal].argmax(axis=1) == 0).mean() > 0.6
    # The long tracts of the brainstem run up: blue.
    stem = label_grid.to_world(np.argwhere(labels == regions.labels[regions.names.index("brainstem")]))
    voxels = np.unique(np.rint(grid.to_voxel(stem)).astype(int), axis=0)
    voxels = voxels[((voxels >= 0) & (voxels < grid.shape)).all(axis=1)]
    inside = np.ravel_multi_index(tuple(voxels.T), grid.shape)
    strong = inside[fa[inside] > 0.4]
    assert (colour[strong].argmax(axis=1) == 2).mean() > 0.4
    b0, _ = read_volume(root / "dwi/sub-01_desc-b0_dwiref.nii.gz")
    assert b0.shape == grid.shape
