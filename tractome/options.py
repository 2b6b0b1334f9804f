"""Every parameter of every stage: stated once, with default, unit and range.

The command line reads its defaults and help texts from here; nothing changes an options object after it is made.
"""

from __future__ import annotations

from dataclasses import dataclass

from tractome.analyze_options import LENGTH_RULES as LENGTH_RULES
from tractome.analyze_options import AnalyzeOptions as AnalyzeOptions
from tractome.errors import OptionError
from tractome.graph_options import ASYMMETRIES as ASYMMETRIES
from tractome.graph_options import DATASET_FORMATS as DATASET_FORMATS
from tractome.graph_options import EDGE_NORMALISATIONS as EDGE_NORMALISATIONS
from tractome.graph_options import EDGE_TRANSFORMS as EDGE_TRANSFORMS
from tractome.graph_options import EXPORT_FORMATS as EXPORT_FORMATS
from tractome.graph_options import NODE_NUMBERS as NODE_NUMBERS
from tractome.graph_options import DatasetOptions as DatasetOptions
from tractome.graph_options import ExportOptions as ExportOptions
from tractome.graph_options import GraphOptions as GraphOptions
from tractome.graph_options import GroupOptions as GroupOptions
from tractome.graph_options import ImportOptions as ImportOptions
from tractome.option_fields import Checked as _Checked
from tractome.option_fields import option as _option
from tractome.phantom_options import LABEL_NUMBERS as LABEL_NUMBERS
from tractome.phantom_options import PHANTOM_LAYOUTS as PHANTOM_LAYOUTS
from tractome.phantom_options import PHANTOM_PRESETS as PHANTOM_PRESETS
from tractome.phantom_options import PHANTOM_STORAGE as PHANTOM_STORAGE
from tractome.phantom_options import VALUE_TYPES as VALUE_TYPES
from tractome.phantom_options import PhantomOptions as PhantomOptions


@dataclass(frozen=True, kw_only=True)
class ReadOptions(_Checked):
    """How a scan is read."""

    b0_threshold_s_per_mm2: float = _option(
        50.0, "Volumes with a b-value up to this count as b0.", unit="s/mm2", low=0, high=500
    )
    gradient_nonlinearity: bool = _option(
        True, "Obey the gradient nonlinearity of a grad_dev file, given or beside an HCP scan."
    )


PREPROCESS_STEPS = ("denoise", "unring", "align", "distortion", "bias")
EDDY_FIELDS = ("linear", "quadratic", "none")
DISTORTION_SOURCES = ("auto", "reversed", "t1")


@dataclass(frozen=True, kw_only=True)
class PreprocessOptions(_Checked):
    """Raw scans: noise, ringing, motion and eddy currents, distortion, uneven brightness."""

    preprocess_steps: tuple[str, ...] = _option(
        PREPROCESS_STEPS,
        f"Steps to do, of: {', '.join(PREPROCESS_STEPS)}; always in this order.",
        choices=PREPROCESS_STEPS,
    )
    denoise_radius: int | None = _option(
        None,
        "Radius of the cubes of voxels for denoising; by default the smallest with as many voxels as volumes, 2 at "
        "least.",
        unit="voxels",
        low=1,
        high=7,
    )
    eddy_field: str = _option(
        "linear", "Displacement by eddy currents that is looked for in each volume.", choices=EDDY_FIELDS
    )
    outlier_cutoff: float = _option(
        4.0,
        "Slices darker than predicted by so many standard deviations are replaced by the prediction; 0 for never.",
        unit="standard deviations",
        low=0,
        high=20,
    )
    phase_encoding: str | None = _option(
        None,
        "Image axis of phase encoding; by default from the scan's JSON, or else j, and then only eddy currents are "
        "corrected along it.",
        choices=("i", "i-", "j", "j-", "k", "k-"),
    )
    distortion_source: str = _option(
        "auto",
        "What shows the distortion: b0 images of reversed phase encoding, the T1, or auto for the first of them there "
        "is.",
        choices=DISTORTION_SOURCES,
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
MOST_STREAMLINES = 10_000_000


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
    until_cv: float | None = _option(
        None,
        "Track until every edge that carries weight has this coefficient of variation (Monte-Carlo standard error over "
        "count) or less, in place of a number of streamlines: the strongest edges that together hold 90 percent of the "
        "streamlines between different regions.",
        low=0.001,
        high=0.3,
    )
    max_streamlines: int = _option(
        MOST_STREAMLINES, "Accepted streamlines at most, with --until-cv; the target may then not be met.", low=1
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

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.until_cv is None:
            if self.max_streamlines != MOST_STREAMLINES:
                message = (
                    "max_streamlines belongs to --until-cv, which was not given. Give that, or --streamlines for a "
                    "fixed number."
                )
                raise OptionError(message)
            return
        for name, value in (("--streamlines", self.n_streamlines), ("--seeds", self.n_seeds)):
            if value is not None:
                message = (
                    f"until_cv ({self.until_cv:g}) and {name} ({value:,}) both say when to stop. Give one of them; "
                    "--max-streamlines limits --until-cv."
                )
                raise OptionError(message)
        if self.seed_source in ("grid", "points"):
            message = (
                f"until_cv needs seeds in random order, and those of --seed-source {self.seed_source} are tried one "
                "place after the other: the first of them say nothing of the rest. Choose another source of seeds, or "
                "leave --until-cv out to try all of them."
            )
            raise OptionError(message)


TISSUE_SOURCES = ("auto", "none", "freesurfer", "t1", "dwi")


@dataclass(frozen=True, kw_only=True)
class TissueOptions(_Checked):
    """Five tissue types, for the anatomical rules of tracking."""

    tissue_source: str = _option(
        "auto",
        "What a tissue map is made from when none is given: FreeSurfer's labels, a T1, the scan alone, none; or auto: "
        "the best of these that there is.",
        choices=TISSUE_SOURCES,
    )
    hippocampus: str = _option(
        "cortical",
        "What hippocampus and amygdala count as in a tissue map that is made here.",
        choices=("cortical", "subcortical"),
    )
    hypointensities: str = _option(
        "white",
        "What FreeSurfer's white-matter hypointensities count as.",
        choices=("white", "pathological"),
    )
    tissue_voxel_size_mm: float | None = _option(
        None,
        "Voxel size of a tissue map made of labels, with the labels' shares; by default the labels' own voxels.",
        unit="mm",
        low=0.2,
        high=5,
    )


@dataclass(frozen=True, kw_only=True)
class ParcellateOptions(_Checked):
    """Which regions, and how they come to the subject."""

    atlas: str | None = _option(
        None,
        "Name of an atlas (see `tractome atlas list`); by default desikan-killiany-83, "
        "or for a label image the regions found in it. `run` takes several with commas between, for one tracking.",
    )
    min_correlation: float = _option(
        0.6, "Lowest accepted correlation of T1 and warped template over grey and white matter.", low=0, high=1
    )
    min_t1_detail: float = _option(
        0.2,
        "Lowest accepted agreement in detail of b0 and T1; those of two people, or of a mirrored T1, reach 0.1.",
        low=0,
        high=1,
    )
    min_fa_correlation: float = _option(
        0.6,
        "Lowest accepted correlation of FA and the template's white matter over grey and white matter.",
        low=0,
        high=1,
    )


ASSIGNMENT_METHODS = ("radial", "end-voxel", "forward")
EDGE_STATISTICS = ("mean", "median", "min", "max", "sum")


@dataclass(frozen=True, kw_only=True)
class ConnectOptions(_Checked):
    """From streamline ends to matrices."""

    assignment: str = _option(
        "radial",
        "How an end is given to a region: nearest within a radius; its own voxel; or ahead of it within the radius, "
        "in the direction in which the streamline ends.",
        choices=ASSIGNMENT_METHODS,
    )
    radius_mm: float = _option(
        4.0, "Search radius of the radial and the forward assignment.", unit="mm", low=0, high=50
    )
    statistics: tuple[str, ...] = _option(
        ("mean",),
        f"What is said of length and each map over the streamlines of an edge, of: {', '.join(EDGE_STATISTICS)}. "
        "Those other than the mean are matrices of their own, such as famedian.",
        choices=EDGE_STATISTICS,
    )
    pooled: bool = _option(
        False,
        "Also the mean of each map over the voxels that the streamlines of an edge cross (such as fapooled).",
    )
    weighted: bool = _option(True, "Where streamlines have weights, means and sums are weighted by them.")
    errors: bool = _option(
        True,
        "Also the Monte-Carlo standard error of each measure, and per edge the effective number of streamlines and a "
        "p-value against strays.",
    )
    stray_falloff: bool = _option(
        False, "p-values take strays to be rarer between regions further apart, as the counts of all pairs are."
    )


@dataclass(frozen=True, kw_only=True)
class WeighOptions(_Checked):
    """One weight per streamline."""

    min_peak: float = _option(0.1, "Fibre populations with a lower FOD peak are left out.", low=1e-3, high=10)
    min_density: float = _option(0.0, "So are those of less fibre density (integral of the lobe).", low=0)
    noise_density: float | None = _option(
        None,
        "Fibre density that noise gives a lobe, taken off every one; by default what the fourth lobe reaches in 1 "
        "voxel of 20; 0 for tcksift2's cost.",
        low=0,
    )
    min_coverage: float = _option(
        0.03,
        "A fibre population is not fitted where the unweighted streamlines reach less than this share of its density.",
        low=0,
        high=1,
    )
    total_variation: float = _option(
        0.1, "Strength that holds a streamline's coefficient to the mean of those it runs beside.", low=0
    )
    tikhonov: float = _option(
        0.05, "Strength that holds coefficients to 0 (weights to 1); 0 for tcksift2's cost.", low=0
    )
    max_iterations: int = _option(200, "Iterations at most.", low=1)
    tolerance: float = _option(
        1e-5, "Stop when two iterations in a row lower the cost by less than this share of the first.", low=0, high=0.1
    )
    max_memory_mb: float = _option(
        1000.0,
        "Contributions of streamlines to fibre populations that are kept in memory; above it they go to a temporary "
        "file. Never changes the result.",
        unit="MB",
        low=0,
    )
    n_threads: int = _option(0, "Threads; 0 for all there are. Never changes the result.", low=0)


@dataclass(frozen=True, kw_only=True)
class CompareOptions(_Checked):
    """Two connectomes, or one and the truth."""

    measure: str = _option("count", "Measure whose edges are ranked and correlated.")
