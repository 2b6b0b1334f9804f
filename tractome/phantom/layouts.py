"""Where the files of a synthetic subject lie: in one folder, or as the HCP, QSIPrep or a raw BIDS data set has them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tractome.options import PhantomOptions

_PLAIN = {
    "dwi": "dwi",
    "bval": "dwi.bval",
    "bvec": "dwi.bvec",
    "mask": "mask.nii.gz",
    "grad_dev": "grad_dev.nii.gz",
    "t1": "T1w.nii.gz",
    "labels": "labels.nii.gz",
    "tissue": "5tt.nii.gz",
}
_HCP = {
    "dwi": "T1w/Diffusion/data",
    "bval": "T1w/Diffusion/bvals",
    "bvec": "T1w/Diffusion/bvecs",
    "mask": "T1w/Diffusion/nodif_brain_mask.nii.gz",
    "grad_dev": "T1w/Diffusion/grad_dev.nii.gz",
    "t1": "T1w/T1w_acpc_dc_restore.nii.gz",
    # There is no skull: the brain is the whole.
    "t1_brain": "T1w/T1w_acpc_dc_restore_brain.nii.gz",
    "t1_mask": "T1w/brainmask_fs.nii.gz",
    "labels": "T1w/aparc+aseg.nii.gz",
    "tissue": "T1w/5tt.nii.gz",
}
_QSIPREP = {
    "description": "dataset_description.json",
    "dwi": "sub-01/{ses}dwi/{who}_space-ACPC_desc-preproc_dwi",
    "bval": "sub-01/{ses}dwi/{who}_space-ACPC_desc-preproc_dwi.bval",
    "bvec": "sub-01/{ses}dwi/{who}_space-ACPC_desc-preproc_dwi.bvec",
    "table": "sub-01/{ses}dwi/{who}_space-ACPC_desc-preproc_dwi.b",
    "mask": "sub-01/{ses}dwi/{who}_space-ACPC_desc-brain_mask.nii.gz",
    "t1": "sub-01/anat/sub-01_space-ACPC_desc-preproc_T1w.nii.gz",
    "t1_mask": "sub-01/anat/sub-01_space-ACPC_desc-brain_mask.nii.gz",
    "labels": "sub-01/anat/sub-01_space-ACPC_desc-aparcaseg_dseg.nii.gz",
    "tissue": "sub-01/anat/sub-01_space-ACPC_label-5tt_probseg.nii.gz",
}
_BIDS = {
    "description": "dataset_description.json",
    # Inherited by the scans of all sessions.
    "sidecar": "dwi.json",
    "dwi": "sub-01/{ses}dwi/{who}_dwi",
    "bval": "sub-01/{ses}dwi/{who}_dwi.bval",
    "bvec": "sub-01/{ses}dwi/{who}_dwi.bvec",
    "t1": "sub-01/{ses}anat/{who}_T1w.nii.gz",
    # Labels and a corrected T1 as from a segmentation of the anatomy.
    "labels": "derivatives/smriprep/sub-01/anat/sub-01_desc-aparcaseg_dseg.nii.gz",
    "t1_brain": "derivatives/smriprep/sub-01/anat/sub-01_desc-preproc_T1w.nii.gz",
    "tissue": "derivatives/truth/sub-01/anat/sub-01_label-5tt_probseg.nii.gz",
}
LAYOUTS: dict[str, dict[str, str]] = {"plain": _PLAIN, "hcp": _HCP, "qsiprep": _QSIPREP, "bids": _BIDS}
"""Where each file lies in the folder, by layout and role; the scan without its suffix. Truth lies on top.

A role that a layout lacks is not written. ``{ses}`` and ``{who}`` stand for a session's folder and the names in it.
"""

BY_LAYOUT: dict[str, dict[str, Any]] = {
    "plain": {},
    "hcp": {"storage": "LAS", "value_type": "float32", "label_numbers": "freesurfer"},
    "qsiprep": {"storage": "LPS", "value_type": "float32", "label_numbers": "freesurfer"},
    "bids": {"storage": "LAS", "n_sessions": 2, "label_numbers": "freesurfer"},
}
"""Options that go with a layout: how its program stores images and numbers labels."""

DESCRIPTIONS: dict[str, dict[str, Any]] = {
    "qsiprep": {
        "Name": "QSIPrep - a synthetic subject in its layout",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "qsiprep", "Description": "names of files only; made by tractome phantom"}],
    },
    "bids": {
        "Name": "A synthetic subject",
        "BIDSVersion": "1.10.0",
        "DatasetType": "raw",
        "GeneratedBy": [{"Name": "tractome phantom"}],
    },
}
"""Content of ``dataset_description.json``."""

SIDECAR = {"Manufacturer": "synthetic", "PhaseEncodingDirection": "j-", "TotalReadoutTime": 0.05, "EchoTime": 0.08}
"""What the scan's JSON file says; the scan is not distorted."""


def phantom_files(path: str | os.PathLike[str], options: PhantomOptions, session: int = 0) -> dict[str, Path]:
    """Path of each image and gradient file of a phantom's folder, by role; ``grad_dev`` only where there is one.

    Parameters
    ----------
    path : path
    options : PhantomOptions
    session : int
        Which one, from 0.
    """
    names = dict(LAYOUTS[options.layout])
    names["dwi"] += ".nii" if options.uncompressed else ".nii.gz"
    if not options.gradient_nonlinearity:
        names.pop("grad_dev", None)
    if options.label_numbers == "rising" and options.layout in ("qsiprep", "bids"):
        # Numbers from 1 to N are not FreeSurfer's: another name, and a table beside.
        names["labels"] = names["labels"].replace("desc-aparcaseg", "seg-phantom")
        names["regions"] = names["labels"].replace(".nii.gz", ".tsv")
    who = _names(session) if options.n_sessions > 1 else {"ses": "", "who": "sub-01"}
    return {role: Path(path) / name.format_map(who) for role, name in names.items()}


def _names(session: int) -> Mapping[str, str]:
    return {"ses": f"ses-{session + 1}/", "who": f"sub-01_ses-{session + 1}"}
