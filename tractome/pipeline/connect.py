"""The stage connect, from files to files."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.connectome import Connectome
from tractome.datatypes.parcellation import Parcellation, RegionTable
from tractome.errors import OptionError
from tractome.io.images import read_labels
from tractome.options import ConnectOptions
from tractome.pipeline.adopt import map_names
from tractome.pipeline.layout import SubjectFolder
from tractome.pipeline.ledger import Facts, Ledger, Made, Step
from tractome.pipeline.track import read_maps
from tractome.pipeline.weigh import weights_in_force, with_weights
from tractome.provenance import StageRecord, option_values


def choose_atlas(ledger: Ledger, atlas: str | None, stage: str) -> str:
    """The parcellation to use: the one named, or the only one there is.

    Parameters
    ----------
    ledger : Ledger
    atlas : str or None
    stage : str
        The stage that must have been done for it: ``"parcellate"`` or ``"connect"``.

    Raises
    ------
    OptionError
        None was named and there are several, or the one named is not there.
    """
    prefix = f"{stage}/"
    names = [name.removeprefix(prefix) for name in sorted(ledger.records()) if name.startswith(prefix)]
    if atlas is not None and (atlas in names or not names):
        return atlas
    if not names:
        ledger.finished(stage)
    if atlas is None and len(names) == 1:
        return names[0]
    known = ", ".join(names)
    message = (
        f"{ledger.subject.root} has {len(names)} parcellations; choose one with --atlas: {known}."
        if atlas is None
        else f"{atlas!r} was not brought to this subject ({stage}); it has: {known}."
    )
    raise OptionError(message)


def connect_subject(ledger: Ledger, options: ConnectOptions, *, atlas: str | None = None) -> StageRecord:
    """Make the matrices of one parcellation, unless that is done.

    Parameters
    ----------
    ledger : Ledger
    options : ConnectOptions
    atlas : str or None
        Which parcellation; may be None when the subject has one.
    """
    atlas = choose_atlas(ledger, atlas, "parcellate")
    ledger.finished("track")
    from_image = bool(ledger.finished(f"parcellate/{atlas}").facts["from_image"])
    subject = ledger.subject
    inputs = {
        "streamlines": subject.streamline_table,
        "labels": subject.labels(atlas),
        "regions": subject.regions(atlas),
        "mask": subject.mask,
    }
    mu = weights_in_force(ledger)
    if mu is not None:
        inputs["weights"] = subject.weights
    maps = map_names(ledger)
    inputs |= {name: subject.tensor_map(name) for name in maps}
    prefix = f"{subject.name}_seg-{atlas}"
    step = Step(
        name=f"connect/{atlas}",
        options=option_values(options)
        | {"atlas": atlas, "from_image": from_image}
        | ({} if mu is None else {"mu": mu}),
        inputs=inputs,
        may_write=(
            f"connectivity/{prefix}_connectome.npz",
            f"figures/{prefix}_matrices.png",
            f"figures/{prefix}_connectome.png",
        ),
        work=lambda made: _connect(subject, options, atlas, from_image, maps, mu, made),
    )
    return ledger.do(step)


def read_parcellation(subject: SubjectFolder, atlas: str, *, from_image: bool) -> Parcellation:
    """The parcellation that `parcellate_subject` wrote."""
    from tractome.io.atlases import read_region_table

    labels, grid = read_labels(subject.labels(atlas))
    regions = dataclasses.replace(read_region_table(subject.regions(atlas), atlas), from_image=from_image)
    return Parcellation.from_labels(labels, grid, regions)


def _connect(
    subject: SubjectFolder,
    options: ConnectOptions,
    atlas: str,
    from_image: bool,
    maps: tuple[str, ...],
    mu: float | None,
    made: Made,
) -> Facts:
    from tractome.io.figures import draw_connectome, draw_matrices
    from tractome.io.matrices import write_connectome
    from tractome.io.tractograms import read_streamline_tables
    from tractome.stages.connect import connect, regional_means

    parcellation = read_parcellation(subject, atlas, from_image=from_image)
    tables = read_streamline_tables(subject.streamline_table)
    if mu is not None:
        tables = with_weights(tables, subject.weights, mu)
    features = regional_means(parcellation, list(read_maps(subject, maps).values()))
    connectome = connect(tables, parcellation, options, features)
    sources = {
        f"{role}_sha256": made.inputs[role]
        for role in ("streamlines", "labels", "regions", "weights")
        if role in made.inputs
    }
    connectome = dataclasses.replace(connectome, metadata={**connectome.metadata, **sources})
    write_connectome(made(subject.connectome(atlas)), connectome)
    draw_matrices(made(subject.figure(f"seg-{atlas}_matrices")), connectome)
    draw_connectome(made(subject.figure(f"seg-{atlas}_connectome")), connectome)
    return connectome_facts(connectome, parcellation)


def connectome_facts(connectome: Connectome, parcellation: Parcellation) -> dict[str, Any]:
    """Numbers of a connectome worth showing."""
    count = connectome.matrices["count"]
    n_regions = connectome.n_regions
    n_edges = int(np.count_nonzero(np.triu(count, k=1)))
    n_pairs = n_regions * (n_regions - 1) // 2
    correlation, n_homologous = homologous_correlation(connectome)
    return {
        "n_regions": n_regions,
        "missing": list(parcellation.missing),
        "n_edges": n_edges,
        "density": n_edges / n_pairs if n_pairs else float("nan"),
        "n_streamlines": connectome.n_streamlines,
        "n_unassigned": connectome.n_unassigned,
        "unassigned_share": connectome.n_unassigned / max(connectome.n_streamlines, 1),
        "n_self": int(np.trace(count)),
        "homologous_strength_correlation": correlation,
        "n_homologous_pairs": n_homologous,
    }


def homologous_correlation(connectome: Connectome) -> tuple[float, int]:
    """Pearson correlation of the strengths of left and right regions of one name, and the number of such pairs."""
    pairs = homologous_pairs(connectome.regions)
    present = [(left, right) for left, right in pairs if min(connectome.volumes_mm3[[left, right]]) > 0]
    if len(present) < 3:
        return float("nan"), len(present)
    strength: NDArray[np.float64] = connectome.strength()
    left, right = strength[np.array(present).T]
    if left.std() == 0 or right.std() == 0:
        return float("nan"), len(present)
    return float(np.corrcoef(left, right)[0, 1]), len(present)


_SIDE = re.compile(r"(?<![A-Za-z])(lh|rh|left|right|l|r)(?![A-Za-z])", re.IGNORECASE)


def homologous_pairs(regions: RegionTable) -> list[tuple[int, int]]:
    """Rows of left and right regions whose names differ only in the word for the side."""
    right = {
        _SIDE.sub("*", name): row
        for row, name in enumerate(regions.names)
        if regions.hemispheres[row] == "R" and _SIDE.search(name)
    }
    return [
        (row, right[_SIDE.sub("*", name)])
        for row, name in enumerate(regions.names)
        if regions.hemispheres[row] == "L" and _SIDE.sub("*", name) in right
    ]
