"""The stage weigh, from files to files: one weight per streamline, so that they add up to the fibre density."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome import __version__
from tractome.datatypes.fields import OrientationField
from tractome.datatypes.grid import require_same_grid
from tractome.datatypes.tractogram import StreamlineTable, Tractogram
from tractome.datatypes.weights import StreamlineWeights
from tractome.errors import OptionError, TableError
from tractome.io.atomic import write_json
from tractome.io.images import read_orientation_field, read_tissue, read_volume
from tractome.io.tractograms import read_tractogram
from tractome.io.weight_figures import draw_weights
from tractome.io.weights import read_weights, write_weights
from tractome.options import WeighOptions
from tractome.pipeline.adopt import orientation_file
from tractome.pipeline.ledger import Facts, Ledger, Made, Step
from tractome.pipeline.listener import Listener
from tractome.pipeline.whole import require_whole, whole_streamlines
from tractome.provenance import StageRecord, option_values

_BYTES_PER_MB = 1_000_000


@dataclass(frozen=True)
class WeighFiles:
    """Files that weighing needs.

    Parameters
    ----------
    tractogram : Path or None
        Whole streamlines (.trx, .tck, .trk); None for those that `track_subject` kept.
    tissue : Path or None
        Five-tissue-type image; None for the one that tracking had, if any.
    processing_mask : Path or None
        How much each voxel counts, on the grid of the FODs; in place of the tissue map.
    """

    tractogram: Path | None = None
    tissue: Path | None = None
    processing_mask: Path | None = None

    def require(self) -> None:
        """Raise unless every file is there, and only one says how much voxels count."""
        named = (("--tractogram", self.tractogram), ("--tissue", self.tissue))
        for flag, path in (*named, ("--processing-mask", self.processing_mask)):
            if path is not None and not path.is_file():
                message = f"There is no {path}. Check the path given with {flag}."
                raise OptionError(message)
        if self.tissue is not None and self.processing_mask is not None:
            message = "--tissue and --processing-mask both say how much each voxel counts. Give one of them."
            raise OptionError(message)


def weigh_subject(
    ledger: Ledger, options: WeighOptions, files: WeighFiles | None = None, *, retrace: bool = False
) -> StageRecord:
    """Weigh the streamlines of a subject, and write a weight for each row of its table, unless that is done.

    Parameters
    ----------
    ledger : Ledger
    options : WeighOptions
    files : WeighFiles, optional
    retrace : bool
        Track the same streamlines again where only their ends were kept.

    Raises
    ------
    TableError
        No whole streamlines were kept, or they are not those of the table.
    OptionError
        A file is missing, or the orientations are no FODs.
    """
    subject, files = ledger.subject, files or WeighFiles()
    files.require()
    model = str(ledger.finished("fit").facts["model"])
    if model == "tensor":
        message = (
            "Streamlines are weighed against the fibre density of FODs; this subject's orientations are those of a "
            "bootstrapped tensor and hold none. Fit with --model csd."
        )
        raise OptionError(message)
    tracked = ledger.finished("track")
    kept = files.tractogram or require_whole(ledger, "Weighing streamlines", retrace=retrace)
    tissue = None if files.processing_mask is not None else files.tissue or _tissue_of(tracked)
    inputs = {
        "orientations": orientation_file(ledger),
        "mask": subject.mask,
        "table": subject.streamline_table,
    }
    counted_by = {"tissue": tissue, "processing_mask": files.processing_mask, "streamlines": kept}
    inputs |= {role: path for role, path in counted_by.items() if path is not None}
    step = Step(
        name="weigh",
        options=option_values(options),
        inputs=inputs,
        may_write=(f"tractogram/{subject.name}_weights.*", f"figures/{subject.name}_weights.png"),
        work=lambda made: _weigh(ledger, options, inputs, made),
    )
    return ledger.do(step)


def _tissue_of(tracked: StageRecord) -> Path | None:
    """The tissue map that tracking had."""
    given = tracked.input_paths.get("tissue")
    if given is not None and not Path(given).is_file():
        message = f"The tissue map of this subject is no longer at {given}. Say where it is with --tissue."
        raise OptionError(message)
    return Path(given) if given is not None else None


def _weigh(ledger: Ledger, options: WeighOptions, inputs: dict[str, Path], made: Made) -> Facts:
    subject, kept = ledger.subject, inputs.get("streamlines")
    orientations = read_orientation_field(inputs["orientations"], inputs["mask"])
    shares, counted_by = _shares(orientations, inputs.get("tissue"), inputs.get("processing_mask"))
    blocks = whole_streamlines(ledger, kept)
    found = weigh_blocks(orientations, shares, blocks, options, subject.weights.parent, ledger.listener)
    facts = found.facts | {"voxels_count_by": counted_by}
    write_weights(made(subject.weights, sidecar=True), found.weights)
    write_json(subject.weights.with_suffix(".json"), _sidecar(found, facts, options, kept))
    draw_weights(made(subject.figure("weights")), found)
    return facts | {"mu_per_mm": found.mu_per_mm}


def weigh_tractogram(
    fod: Path, files: WeighFiles, out: Path, options: WeighOptions, listener: Listener, *, mask: Path | None = None
) -> StreamlineWeights:
    """Weigh any tractogram against any FODs: a text file of weights, and beside it a JSON file with mu and a picture.

    Parameters
    ----------
    fod : Path
        Image of SH coefficients in MRtrix3's basis.
    files : WeighFiles
        With the streamlines.
    out : Path
        Text file of weights, as MRtrix3 reads it.
    options : WeighOptions
    listener : Listener
    mask : Path or None
        Brain mask on the grid of the FODs; None for the voxels that hold an FOD.
    """
    files.require()
    if files.tractogram is None:
        message = "--fod needs a tractogram. Give it with --tractogram."
        raise OptionError(message)
    if out.suffix in (".json", ".png"):
        message = (
            f"{out} is to hold weights as text; the facts go into a .json beside it, and a picture into a .png. "
            "Name it .txt or .csv."
        )
        raise OptionError(message)
    orientations = read_orientation_field(fod, mask)
    shares, counted_by = _shares(orientations, files.tissue, files.processing_mask)
    blocks = read_tractogram(files.tractogram)
    found = weigh_blocks(orientations, shares, blocks, options, out.parent, listener)
    write_weights(out, found.weights)
    facts = found.facts | {"voxels_count_by": counted_by}
    write_json(out.with_suffix(".json"), _sidecar(found, facts, options, files.tractogram))
    draw_weights(out.with_suffix(".png"), found)
    return found


def weigh_blocks(
    orientations: OrientationField,
    shares: NDArray[np.float32],
    blocks: Iterator[Tractogram],
    options: WeighOptions,
    folder: Path,
    listener: Listener,
) -> StreamlineWeights:
    """Weigh streamlines that come in blocks, each of which is seen once.

    Parameters
    ----------
    orientations : OrientationField
    shares : (x, y, z) float32
        How much each voxel of its grid counts.
    blocks : iterator of Tractogram
    options : WeighOptions
    folder : Path
        Where contributions go that are too many for the memory.
    listener : Listener
    """
    from tractome.io.contributions import ContributionStore
    from tractome.stages.fit.fixels import segment_fixels
    from tractome.stages.weigh import make_model, noise_density, weigh

    field = _where_it_counts(orientations, shares)
    fixels = segment_fixels(field, min_peak=options.min_peak, progress=listener.progress("fibre populations", "voxels"))
    noise = noise_density(fixels) if options.noise_density is None else options.noise_density
    model = make_model(fixels, shares, min_density=options.min_density, noise_density=noise)
    with ContributionStore(folder, int(options.max_memory_mb * _BYTES_PER_MB)) as store:
        for block in blocks:
            store.add(*model.pack(block))
        if store.is_on_disk:
            size = store.n_entries * 4 / 1e9
            listener.note(f"{size:.1f} GB of contributions went to a temporary file in {folder}.")
        found = weigh(model, store, options, listener.progress("weights", "iterations"))
    return dataclasses.replace(found, facts=found.facts | {"noise_density": noise})


def _where_it_counts(orientations: OrientationField, shares: NDArray[np.float32]) -> OrientationField:
    """The orientations of the voxels that count, or all if none does (then the model says so)."""
    chosen = shares[orientations.mask] > 0
    if chosen.all() or not chosen.any():
        return orientations
    return OrientationField(
        orientations.coefficients[chosen], orientations.mask & (shares > 0), orientations.grid, {}, orientations.method
    )


def _shares(
    orientations: OrientationField, tissue: Path | None, processing_mask: Path | None
) -> tuple[NDArray[np.float32], str]:
    """How much each voxel counts, and by what."""
    from tractome.stages.weigh import processing_mask as white_squared

    if processing_mask is not None:
        volume, grid = read_volume(processing_mask)
        require_same_grid(orientations.grid, grid, "the FODs", str(processing_mask))
        return volume, "processing mask"
    if tissue is not None:
        return white_squared(read_tissue(tissue), orientations.mask, orientations.grid), "squared white matter fraction"
    return np.ones(orientations.grid.shape, np.float32), "all alike: no tissue map"


def _sidecar(
    found: StreamlineWeights, facts: dict[str, Any], options: WeighOptions, streamlines: Path | None
) -> dict[str, Any]:
    return {
        "Description": "One weight per streamline, in the order of the tractogram; unitless, 1 for no evidence",
        "Method": "SIFT2 model (Smith et al. 2015, doi:10.1016/j.neuroimage.2015.06.092)",
        "Mu": found.mu_per_mm,
        "MuUnits": "fibre density (unitless) per mm of streamline",
        "Sources": [streamlines.name if streamlines is not None else "the same streamlines, tracked again"],
        "Options": option_values(options),
        "Costs": list(found.costs),
        "Facts": facts,
        "GeneratedBy": f"tractome {__version__}",
    }


def weights_in_force(ledger: Ledger) -> float | None:
    """Mu (1/mm) of the weights that belong to a subject's table; None where it was not weighed since it was tracked."""
    from tractome.io.hashing import sha256_file

    record, subject = ledger.records().get("weigh"), ledger.subject
    if record is None or record.status != "done" or not subject.weights.is_file():
        return None
    if record.inputs.get("table") != sha256_file(subject.streamline_table):
        ledger.listener.note(
            "The streamlines are not those that were weighed; the old weights are not used. Run `tractome weigh` again."
        )
        return None
    return float(record.facts["mu_per_mm"])


def with_weights(tables: Iterable[StreamlineTable], weights: Path, mu: float) -> Iterator[StreamlineTable]:
    """Give the rows of a table, read in parts, their weights.

    Raises
    ------
    TableError
        There are more or fewer weights than rows.
    """
    values, first = read_weights(weights), 0
    for table in tables:
        last = first + table.n_streamlines
        if last > len(values):
            break
        yield dataclasses.replace(table, weights=values[first:last], mu=mu)
        first = last
    else:
        if first == len(values):
            return
    message = (
        f"{weights} holds {len(values):,} weights, and the table of streamlines another number of rows. "
        "Run `tractome weigh` again."
    )
    raise TableError(message)
