"""Tractograms made elsewhere: a subject's folder that begins with one in place of a scan."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tractome.datatypes.grid import Grid
from tractome.datatypes.parcellation import Parcellation
from tractome.datatypes.prepared_maps import prepare_maps
from tractome.errors import AtlasError, ImageError, OptionError, OutputError, TableError
from tractome.io.images import read_labels, write_volume
from tractome.io.read_ahead import read_ahead
from tractome.io.tractograms import StreamlineTableWriter, read_tractogram
from tractome.pipeline.layout import TRACTOGRAM_FORMATS, require_file_name
from tractome.pipeline.ledger import Facts, Ledger, Made, Step
from tractome.pipeline.maps import MapFile, read_map
from tractome.pipeline.parcellate import OWN_LABELS, own_labels
from tractome.pipeline.whole import ADOPTED
from tractome.provenance import StageRecord


def is_tractogram(path: Path) -> bool:
    """Whether a path names a file of whole streamlines, and no folder."""
    return path.suffix.lower().removeprefix(".") in TRACTOGRAM_FORMATS and not path.is_dir()


def adopt_tractogram(ledger: Ledger, tractogram: Path, maps: Sequence[MapFile], space: Path) -> StageRecord:
    """Write the table of a tractogram made elsewhere, as tracking would have, unless that is done.

    The tractogram stays where it is. Its lengths, ends and the means of the maps are what any atlas can be applied to
    afterwards.

    Parameters
    ----------
    ledger : Ledger
    tractogram : Path
        .tck, .trk or .trx, in the world space of the maps and label images.
    maps : sequence of MapFile
    space : Path
        Image whose grid the table names.

    Raises
    ------
    OutputError
        The folder holds the results of a scan, or of another tractogram.
    TableError
        The file is missing or damaged, or holds no streamline.
    """
    if not tractogram.is_file():
        message = f"There is no {tractogram}. Check the path."
        raise TableError(message)
    names = [each.name for each in maps]
    if len(set(names)) != len(names):
        message = f"Each map needs a name of its own; --map gave {', '.join(names)}."
        raise OptionError(message)
    _require_own_folder(ledger, tractogram)
    step = Step(
        name="track",
        options={"made": "elsewhere", "maps": {each.name: each.unit for each in maps}},
        inputs={ADOPTED: tractogram, **{each.role: each.path for each in maps}},
        may_write=(f"tractogram/{ledger.subject.name}_streamlines.*",),
        work=lambda made: _adopt(ledger, tractogram, maps, space, made),
    )
    return ledger.do(step)


def _require_own_folder(ledger: Ledger, tractogram: Path) -> None:
    records = ledger.records()
    before = records["track"].input_paths.get(ADOPTED) if "track" in records else None
    if ledger.force or not records or before == str(tractogram.resolve()):
        return
    message = (
        f"{ledger.subject.root} holds the results of {before or 'a scan'}. Give this tractogram a label of its own "
        "with --subject, or pass --force to replace the results."
    )
    raise OutputError(message)


def _adopt(ledger: Ledger, tractogram: Path, maps: Sequence[MapFile], space: Path, made: Made) -> Facts:
    from tractome.stages.connect import summarise

    prepared = prepare_maps([read_map(each) for each in maps])
    grid = _grid_of(space)
    progress = ledger.listener.progress("streamlines", "streamlines")
    n_streamlines, length_mm = 0, 0.0
    with StreamlineTableWriter(made(ledger.subject.streamline_table), grid, prepared.units) as rows:
        for block in read_ahead(read_tractogram(tractogram, None)):
            table = summarise(block, prepared)
            rows.write(table)
            n_streamlines += table.n_streamlines
            length_mm += float(table.length_mm.sum(dtype="f8"))
            if progress is not None:
                progress(n_streamlines, n_streamlines)
        if n_streamlines == 0:
            message = f"{tractogram} holds no streamline. Give a tractogram that does."
            raise TableError(message)
    return {
        "n_accepted": n_streamlines,
        "mean_length_mm": length_mm / n_streamlines,
        "maps": prepared.units,
        "tractogram": tractogram.name,
    }


def _grid_of(image: Path) -> Grid:
    return read_labels(image)[1]


def adopt_labels(ledger: Ledger, labels: Path, regions: Path | None, atlas: str) -> StageRecord:
    """Write a label image and its region table into a subject's folder as a parcellation, unless that is done.

    Parameters
    ----------
    ledger : Ledger
    labels : Path
        In the world space of the streamlines, on any grid.
    regions : Path or None
        Its region table; None for that of the atlas of this name, or else the regions found in the image.
    atlas : str
        Name of the parcellation.
    """
    for path, flag, kind in ((labels, "--labels", ImageError), (regions, "--regions", AtlasError)):
        if path is not None and not path.is_file():
            message = f"There is no {path}. Check the path given with {flag}."
            raise kind(message)
    prefix = f"{ledger.subject.name}_seg-{atlas}"
    step = Step(
        name=f"parcellate/{atlas}",
        options={"atlas": atlas},
        inputs={"labels": labels} | ({"regions": regions} if regions is not None else {}),
        may_write=(f"dwi/{prefix}_dseg.*", f"connectivity/{prefix}_regions.tsv"),
        work=lambda made: _adopt_labels(ledger, labels, regions, atlas, made),
    )
    return ledger.do(step)


def _adopt_labels(ledger: Ledger, labels: Path, regions: Path | None, atlas: str, made: Made) -> Facts:
    from tractome.io.atlases import list_atlases, write_region_table

    is_known = atlas in {each.name for each in list_atlases()}
    volume, grid, table = own_labels(labels, regions, atlas if regions is not None or is_known else OWN_LABELS)
    parcellation = Parcellation.from_labels(volume, grid, table)
    method = "the subject's own labels"
    write_volume(made(ledger.subject.labels(atlas), sidecar=True), volume, grid, {"Atlas": atlas, "method": method})
    write_region_table(made(ledger.subject.regions(atlas)), table, parcellation)
    return {
        "atlas": atlas,
        "n_regions": table.n_regions,
        "missing": list(parcellation.missing),
        "unknown_labels": list(parcellation.unknown_labels),
        "from_image": table.from_image,
        "method": method,
    }


def name_parcellations(labels: Sequence[Path], given: str | None) -> tuple[str, ...]:
    """A name for each label image: those given, with commas between them, or the files' own.

    Raises
    ------
    OptionError
        Not one for each, one twice, or one that cannot be part of a file name.
    """
    if given is not None:
        names = [part.strip() for part in given.split(",") if part.strip()]
    else:
        stems = [re.sub(r"(\.nii|\.mif)?(\.gz)?$", "", path.name) for path in labels]
        names = [re.sub(r"[^A-Za-z0-9.+-]+", "-", stem).strip("-.+") or OWN_LABELS for stem in stems]
    if len(names) != len(labels) or len(set(names)) != len(names):
        message = (
            f"{len(labels)} label images need as many different names; got {', '.join(names) or 'none'}. "
            "Name them with --atlas NAME,NAME."
        )
        raise OptionError(message)
    return tuple(require_file_name(name, "The name of a parcellation") for name in names)
