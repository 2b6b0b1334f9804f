"""Tissue maps of real scans: against each other, and by what they do to streamlines."""

from __future__ import annotations

import numpy as np
import pytest
from heads import dice
from runs import Heard

from tractome.io.images import read_tissue
from tractome.options import TissueOptions, TrackOptions
from tractome.pipeline import (
    LabelSource,
    RunOptions,
    SubjectFiles,
    TissueFiles,
    find_scan,
    new_subject,
    run_subject,
    tissue_subject,
)

pytestmark = pytest.mark.real


def run(folder, out, source, t1=None):
    """A run with one source of tissue; its records, ledger and notes."""
    files = SubjectFiles(find_scan(folder / "dwi.nii.gz"), LabelSource(t1=t1))
    options = RunOptions(tissue=TissueOptions(tissue_source=source), track=TrackOptions(n_streamlines=10_000))
    heard = Heard()
    with new_subject(out, files.scan.dwi, None, heard) as ledger:
        return run_subject(ledger, files, options), ledger


@pytest.mark.parametrize("scan", ["siemens_3mm", "siemens_42vol"])
def test_the_scan_alone_brings_streamlines_to_regions(shared_data, tmp_path, scan):
    folder = shared_data / scan
    without, _ = run(folder, tmp_path, "none")
    with_map, _ = run(folder, tmp_path, "auto")
    assert "tissue" not in without and with_map["tissue"].facts["source"] == "dwi"
    before, after = without["connect"].facts, with_map["connect"].facts
    assert after["unassigned_share"] < 0.5 * before["unassigned_share"]
    # Of 10,000 streamlines the correlation is known to about 0.006.
    assert after["homologous_strength_correlation"] > before["homologous_strength_correlation"] - 0.015
    # Accepted streamlines per seed: not all are rejected.
    share = [
        records["track"].facts["n_accepted"] / records["track"].facts["n_seeds"] for records in (without, with_map)
    ]
    assert share[1] > 0.6 * share[0]
    volumes = with_map["tissue"].facts["volumes_ml"]
    assert 0.6 < volumes["white"] / volumes["cortical_grey"] < 1.2 and 25 < volumes["subcortical_grey"] < 70


def test_a_t1_and_the_scan_alone_agree(shared_data, tmp_path):
    folder = shared_data / "philips_dwi_t1"
    records, ledger = run(folder, tmp_path, "auto", folder / "T1w.nii.gz")
    assert records["tissue"].facts["source"] == "t1"
    assert records["connect"].facts["unassigned_share"] < 0.2
    assert records["connect"].facts["homologous_strength_correlation"] > 0.95
    volumes = records["tissue"].facts["volumes_ml"]
    assert 450 < volumes["white"] < 650 and 550 < volumes["cortical_grey"] < 800, "ml, of an adult"
    t1 = read_tissue(ledger.subject.tissue)
    with new_subject(tmp_path, folder / "dwi.nii.gz", None, Heard()) as ledger:
        tissue_subject(ledger, TissueOptions(tissue_source="dwi"), TissueFiles())
    scan = read_tissue(ledger.subject.tissue)
    inside = np.argwhere(scan.fractions.sum(axis=3) > 0.5)
    voxels = np.rint(t1.grid.to_voxel(scan.grid.to_world(inside))).astype(int)
    voxels = np.clip(voxels, 0, np.array(t1.grid.shape) - 1)
    one, two = t1.fractions[tuple(voxels.T)], scan.fractions[tuple(inside.T)]
    both = one.sum(axis=1) > 0.5
    overlap = [dice(one[both, tissue], two[both, tissue]) for tissue in range(4)]
    assert overlap[0] > 0.7 and overlap[1] > 0.75 and overlap[2] > 0.78 and overlap[3] > 0.6, overlap
