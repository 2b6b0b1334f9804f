"""The parameters of a synthetic subject."""

from __future__ import annotations

from dataclasses import dataclass

from tractome.option_fields import Checked as _Checked
from tractome.option_fields import option as _option

PHANTOM_PRESETS = ("standard", "hcp", "clinical", "oblique")
PHANTOM_STORAGE = ("RAS", "LAS", "LPS", "PIR", "oblique")
PHANTOM_LAYOUTS = ("plain", "hcp", "qsiprep", "bids")
LABEL_NUMBERS = ("rising", "freesurfer")
VALUE_TYPES = ("int16", "float32")


@dataclass(frozen=True, kw_only=True)
class PhantomOptions(_Checked):
    """A synthetic subject with known wiring."""

    voxel_size_mm: float = _option(2.0, "Voxel size of the scan.", unit="mm", low=0.5, high=8)
    slice_thickness_mm: float | None = _option(
        None, "Voxel size from foot to head; by default the voxel size.", unit="mm", low=0.5, high=10
    )
    anatomy_voxel_size_mm: float | None = _option(
        None, "Voxel size of labels and tissue map; by default they are on the grid of the scan.", unit="mm", low=0.5
    )
    field_of_view_mm: tuple[float, ...] | None = _option(
        None, "Three sizes of the imaged box; by default it fits the head.", unit="mm", low=20, high=400
    )
    t1_voxel_size_mm: float = _option(1.0, "Voxel size of the T1-like image.", unit="mm", low=0.5, high=10)
    n_cortical: int = _option(68, "Cortical regions (even: half in each hemisphere).", low=4, high=1000)
    n_deep: int = _option(14, "Deep grey regions (even).", low=0, high=40)
    n_bundles: int = _option(140, "Long bundles.", low=1, high=5000)
    n_u_fibres: int = _option(60, "Short bundles between neighbouring cortical regions.", low=0, high=5000)
    median_fibres: int = _option(500, "Median number of fibres of a long bundle.", low=20, high=10_000)
    shells: tuple[float, ...] = _option((1000.0, 2000.0), "b-values.", unit="s/mm2", low=100)
    directions: tuple[int, ...] = _option((32, 32), "Directions per shell.", low=6)
    n_b0: int = _option(6, "b0 volumes.", low=1)
    b0_value_s_per_mm2: float = _option(
        0.0, "b-value of the b0 volumes; above 0 they have directions too.", unit="s/mm2", low=0, high=50
    )
    b_jitter_s_per_mm2: tuple[float, ...] | None = _option(
        None,
        "By how much the b-values of each shell differ from its own, in steps of 5; by default not at all.",
        unit="s/mm2",
        low=0,
        high=100,
    )
    gradient_nonlinearity: float = _option(
        0.0,
        "Largest error of the gradients 100 mm from the brain's centre, as a share; above 0 the signal obeys it and "
        "grad_dev.nii.gz says so.",
        low=0,
        high=0.3,
    )
    snr: float = _option(30.0, "Signal-to-noise ratio of the b0 in white matter; 0 for none.", low=0)
    storage: str = _option("RAS", "Order of the voxel axes.", choices=PHANTOM_STORAGE)
    lesion: bool = _option(False, "A lesion in the left hemisphere that cuts every bundle through it.")
    label_numbers: str = _option(
        "rising",
        "Labels 1 to N; or those of FreeSurfer's aparc+aseg, with white matter, ventricles and CSF (needs 68 cortical "
        "and 14 or 16 deep regions).",
        choices=LABEL_NUMBERS,
    )
    layout: str = _option(
        "plain",
        "Names of the files: all in one folder, the HCP's, QSIPrep's, or raw BIDS. On the command line a layout brings "
        "its program's storage, labels and sessions; options that are given override them.",
        choices=PHANTOM_LAYOUTS,
    )
    n_sessions: int = _option(
        1, "Scans of the same head, each with noise of its own (layouts qsiprep and bids).", low=1, high=9
    )
    value_type: str = _option("int16", "How the values of the scan are stored.", choices=VALUE_TYPES)
    uncompressed: bool = _option(False, "Write the scan as .nii.")
    random_seed: int = _option(0, "Seed of wiring and noise.", low=0)
