"""Every parameter of every stage: stated once, with default, unit and range.

The command line reads its defaults and help texts from here; nothing changes an options object after it is made.
"""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass
from typing import Any

from tractome.errors import OptionError


def _option(
    default: Any,
    help: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    metadata = {"help": help, "unit": unit, "low": low, "high": high, "choices": choices}
    return dataclasses.field(default=default, metadata=metadata)


class _Checked:
    """Checks each field against the range or the choices in its metadata, at construction."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            for item in value if isinstance(value, tuple) else (value,):
                _check(field.name, item, field.metadata)


def _check(name: str, value: Any, rule: Any) -> None:
    if value is None:
        return
    choices = rule["choices"]
    if choices and value not in choices:
        close = difflib.get_close_matches(str(value), choices, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        message = f"{name} = {value!r} is not known; choose one of: {', '.join(choices)}.{hint}"
        raise OptionError(message)
    low, high, unit = rule["low"], rule["high"], f" {rule['unit']}" if rule["unit"] else ""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if value != value or (low is not None and value < low) or (high is not None and value > high):
            limits = (
                f"between {low:g} and {high:g}"
                if low is not None and high is not None
                else (f"at least {low:g}" if low is not None else f"at most {high:g}")
            )
            message = f"{name} = {value:g}{unit} is out of range; it must be {limits}{unit}."
            raise OptionError(message)


@dataclass(frozen=True, kw_only=True)
class ReadOptions(_Checked):
    """How a scan is read."""

    b0_threshold_s_per_mm2: float = _option(
        50.0, "Volumes with a b-value up to this count as b0.", unit="s/mm2", low=0, high=500
    )
    gradient_nonlinearity: bool = _option(
        True, "Obey the gradient nonlinearity of a grad_dev file, given or beside an HCP scan."
    )


TENSOR_METHODS = ("wls", "ols", "iwls", "robust")
FOD_MODELS = ("auto", "csd", "msmt", "tensor")


@dataclass(frozen=True, kw_only=True)
class FitOptions(_Checked):
    """Tensors and fibre orientation distributions."""

    tensor_method: str = _option(
        "wls",
        "Least squares: weighted, ordinary, iteratively reweighted, or robust (leaves outliers out).",
        choices=TENSOR_METHODS,
    )
    tensor_max_b_s_per_mm2: float = _option(
        1500.0, "Shells above this are left out of the tensor fit when enough volumes remain.", unit="s/mm2", low=100
    )
    tensor_all_volumes: bool = _option(False, "Fit tensors to every volume, whatever its b-value.")
    tensor_outlier_cutoff: float = _option(
        3.0, "The robust fit leaves out residuals above this many standard deviations of the noise.", low=2, high=20
    )
    model: str = _option(
        "auto",
        "Where tracking takes its directions from: csd (one shell), msmt (multi-shell, multi-tissue), "
        "tensor (residual bootstrap, for few directions), or auto.",
        choices=FOD_MODELS,
    )
    lmax: int | None = _option(
        None, "Highest SH order of the FOD; by default from the number of directions.", low=2, high=12
    )
    fod_shell_s_per_mm2: float | None = _option(
        None,
        "b-value of the shell for csd; by default the highest up to 3500 with enough directions.",
        unit="s/mm2",
        low=100,
    )
    normalise: bool = _option(
        False,
        "Multi-tissue intensity normalisation of the FODs of msmt: a smooth field is divided out, so that the tissues "
        "add up to the same everywhere.",
    )
    n_peaks: int = _option(
        0, "Also write an image of so many highest peaks of the orientations; 0 for none.", low=0, high=16
    )
    n_bootstrap_draws: int = _option(100, "Draws per voxel of the tensor's residual bootstrap.", low=10, high=10000)
    bootstrap_seed: int = _option(0, "Seed of the bootstrap's random signs.", low=0, high=2**63 - 1)


DIRECTION_METHODS = ("probabilistic", "second-order", "parallel-transport", "deterministic")
SEED_SOURCES = ("balanced", "white-matter", "interface", "grid", "points", "dynamic")
DEFAULT_STREAMLINES = 100_000


@dataclass(frozen=True, kw_only=True)
class TrackOptions(_Checked):
    """Streamlines."""

    method: str = _option("probabilistic", "How the next direction is chosen.", choices=DIRECTION_METHODS)
    n_streamlines: int | None = _option(
        None,
        f"Accepted streamlines to stop at; by default {DEFAULT_STREAMLINES}, or what all seeds of a grid or of given "
        "points give.",
        low=1,
    )
    n_seeds: int | None = _option(
        None,
        "Seeds to try, in place of a number of accepted streamlines; of a grid or given points the first so many.",
        low=1,
    )
    max_seeds_per_streamline: int = _option(
        1000,
        "Give up when this many seeds per wanted streamline were tried, or 1000 times as many gave none at all.",
        low=1,
    )
    step_size_mm: float | None = _option(
        None,
        "Step; by default a quarter of a voxel, half of one for second-order.",
        unit="mm",
        low=0.01,
        high=10,
    )
    max_angle_deg: float | None = _option(
        None,
        "Largest turn per step; by default 15 for a quarter of a voxel (second-order: 11.25, parallel-transport: 12), "
        "in proportion to the step.",
        unit="deg",
        low=1,
        high=90,
    )
    fod_cutoff: float = _option(
        0.1, "FOD amplitude below which a streamline stops (FODs normalised to the response).", low=0
    )
    fa_threshold: float = _option(0.15, "FA below which a streamline stops when there is no tissue map.", low=0, high=1)
    min_length_mm: float | None = _option(
        None,
        "Shorter streamlines are rejected; by default two voxels with a tissue map, five without.",
        unit="mm",
        low=0,
    )
    max_length_mm: float = _option(250.0, "Longer streamlines are rejected.", unit="mm", low=1)
    backtrack_mm: float = _option(
        10.0, "With a tissue map, how far a stuck streamline goes back to try again; 0 for never.", unit="mm", low=0
    )
    crop_at_interface: bool = _option(
        True, "With a tissue map, end at the grey-white interface, not at the first point in cortex."
    )
    seed_source: str = _option(
        "balanced",
        "Where streamlines start: white matter near their ends, so that long ones are not over-counted (balanced); "
        "all white matter; exactly on its interface with grey matter; a regular grid of points in every voxel of white "
        "matter, each once; given points; or the fibre populations that have too few streamlines so far (dynamic).",
        choices=SEED_SOURCES,
    )
    seed_depth_mm: float = _option(
        8.0, "Balanced seeding: how far from the nearer end a seed may lie, along the streamline.", unit="mm", low=0.1
    )
    seeds_per_axis: int = _option(
        2, "Grid seeding: seeds along each axis of a voxel; 2 for 8 seeds per voxel.", low=1, high=20
    )
    seeds_per_point: int = _option(100, "Given points: how often each is tried.", low=1)
    random_seed: int = _option(0, "Seed of all random numbers: same seed, same bytes.", low=0, high=2**63 - 1)
    n_threads: int = _option(0, "Threads; 0 for all there are. Never changes the result.", low=0)
    block_size: int = _option(5000, "Seeds per block. Never changes the result.", low=1)


@dataclass(frozen=True, kw_only=True)
class ParcellateOptions(_Checked):
    """Which regions, and how they come to the subject."""

    atlas: str | None = _option(
        None,
        "Name of an atlas (see `tractome atlas list`); by default desikan-killiany-83, "
        "or for a label image the regions found in it.",
    )
    min_correlation: float = _option(
        0.6, "Lowest accepted correlation of T1 and warped template over grey and white matter.", low=0, high=1
    )
    min_fa_correlation: float = _option(
        0.6,
        "Lowest accepted correlation of FA and the template's white matter over grey and white matter.",
        low=0,
        high=1,
    )


ASSIGNMENT_METHODS = ("radial", "end-voxel")


@dataclass(frozen=True, kw_only=True)
class ConnectOptions(_Checked):
    """From streamline ends to matrices."""

    assignment: str = _option(
        "radial",
        "How an end is given to a region: nearest within a radius, or its own voxel.",
        choices=ASSIGNMENT_METHODS,
    )
    radius_mm: float = _option(4.0, "Search radius of the radial assignment.", unit="mm", low=0, high=50)


EXPORT_FORMATS = ("npz", "tsv", "csv", "mat", "graphml", "graph", "pyg", "nilearn")


@dataclass(frozen=True, kw_only=True)
class ExportOptions(_Checked):
    """What is written for other tools, and how."""

    formats: tuple[str, ...] = _option(
        ("npz", "tsv", "graph"),
        f"Formats to write, of: {', '.join(EXPORT_FORMATS)}. "
        "graph is a graph in PyTorch Geometric's names that needs only NumPy; pyg needs torch.",
        choices=EXPORT_FORMATS,
    )
    node_features: tuple[str, ...] | None = _option(
        None,
        "Columns of x, by name: centroid, volume, strength, or the mean of a map; "
        "by default centroid, volume, fa, md, strength, as far as there are.",
    )
    edge_features: tuple[str, ...] | None = _option(
        None, "Columns of edge_attr, by measure; by default count, fa, md, length, as far as there are."
    )
    min_count: float = _option(1.0, "Edges with fewer streamlines are left out of graphs.", unit="streamlines", low=0)
    keep_self_connections: bool = _option(False, "Keep the diagonal.")


@dataclass(frozen=True, kw_only=True)
class CompareOptions(_Checked):
    """Two connectomes, or one and the truth."""

    measure: str = _option("count", "Measure whose edges are ranked and correlated.")


PHANTOM_PRESETS = ("standard", "hcp", "clinical", "oblique")
PHANTOM_STORAGE = ("RAS", "LAS", "LPS", "PIR", "oblique")
PHANTOM_LAYOUTS = ("flat", "hcp")
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
    layout: str = _option("flat", "Names of the files: all in one folder, or the HCP's.", choices=PHANTOM_LAYOUTS)
    value_type: str = _option("int16", "How the values of the scan are stored.", choices=VALUE_TYPES)
    uncompressed: bool = _option(False, "Write the scan as .nii.")
    random_seed: int = _option(0, "Seed of wiring and noise.", low=0)
