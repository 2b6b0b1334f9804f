"""import, from files to files: a subject's folder that begins with matrices in place of a scan."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tractome.datatypes.connectome import Connectome
from tractome.datatypes.given_matrix import GivenMatrix
from tractome.errors import OptionError, OutputError
from tractome.options import ImportOptions
from tractome.pipeline.layout import SubjectFolder, require_file_name, subject_label
from tractome.pipeline.ledger import Facts, Ledger, Made, Step
from tractome.provenance import StageRecord, option_values

IMPORTED = "imported"
"""Name of the regions of a matrix that came with no region table; also marks the record."""


@dataclass(frozen=True)
class MatrixFiles:
    """What is imported for one subject.

    Parameters
    ----------
    matrices : tuple of Path
        One file per measure, or one that holds several.
    regions : Path or None
        Region table: which rows there are, and their names.
    values : Path or None
        Table of values of the regions of this subject.
    """

    matrices: tuple[Path, ...]
    regions: Path | None = None
    values: Path | None = None

    def atlas(self, named: str | None) -> str:
        """What the regions are called in file names: as said, else as the region table, else ``imported``."""
        if named is not None:
            return require_file_name(named, "The name of the regions")
        stem = self.regions.name.split(".")[0] if self.regions is not None else self._stated()
        # A file may be called anything, and `_` is what parts the words of our file names.
        return re.sub(r"[^A-Za-z0-9+-]+", "-", stem).strip("-+") or IMPORTED

    def _stated(self) -> str:
        """What files that tractome wrote call the regions, where all of them agree."""
        found = {"".join(re.findall(r"_seg-([A-Za-z0-9.+-]+)_", path.name)) for path in self.matrices}
        return found.pop() if len(found) == 1 else ""

    @property
    def by_role(self) -> dict[str, Path]:
        """Every file, by what it is for."""
        found = {f"matrix_{k}": path for k, path in enumerate(self.matrices, 1)}
        found |= {"regions": self.regions} if self.regions is not None else {}
        return found | ({"region_values": self.values} if self.values is not None else {})

    def require(self, named: str | None) -> None:
        """Refuse what can be told without reading: files that are not there, and a name that is none.

        Raises
        ------
        OptionError
        """
        for path in self.by_role.values():
            if not path.is_file():
                message = f"There is no file {path}. Check the path."
                raise OptionError(message)
        self.atlas(named)


def files_by_subject(
    paths: Sequence[Path], label: str | None, regions: Path | None, values: str | None
) -> dict[str, MatrixFiles]:
    """Which files belong to which subject: by ``sub-LABEL`` in their names, or all to the one named.

    Parameters
    ----------
    paths : sequence of Path
    label : str or None
        Of the one subject that all files belong to.
    regions : Path or None
    values : str or None
        Path of the tables of regions' values; ``{subject}`` in it stands for the label.

    Raises
    ------
    OptionError
        Several subjects, one table of values.
    """
    found: dict[str, list[Path]] = {}
    for path in paths:
        found.setdefault(subject_label(path, label), []).append(path)
    if values is not None and len(found) > 1 and "{subject}" not in values:
        message = (
            f"--region-values {values} is one table, but the files are of {len(found)} subjects. Write {{subject}} "
            "where the label of the subject stands in its path."
        )
        raise OptionError(message)
    return {
        subject: MatrixFiles(tuple(each), regions, Path(values.replace("{subject}", subject)) if values else None)
        for subject, each in sorted(found.items())
    }


def import_subject(
    ledger: Ledger, files: MatrixFiles, options: ImportOptions, *, atlas: str | None = None
) -> StageRecord:
    """Begin a subject with matrices that another program made: what the stage connect would have written.

    Raises
    ------
    OutputError
        The subject has matrices of this atlas that were made from its own streamlines.
    """
    name, subject = files.atlas(atlas), ledger.subject
    before = ledger.records().get(f"connect/{name}")
    if before is not None and not ledger.force and IMPORTED not in before.options:
        message = (
            f"{subject.root} has matrices of {name} made from its own streamlines. Give another --subject, --atlas or "
            "--out, or pass --force to replace them."
        )
        raise OutputError(message)
    files.require(atlas)
    inputs = files.by_role
    prefix = f"{subject.name}_seg-{name}"
    step = Step(
        name=f"connect/{name}",
        options=option_values(options) | {"atlas": name, IMPORTED: True, "files": [p.name for p in inputs.values()]},
        inputs=inputs,
        may_write=(
            f"connectivity/{prefix}_connectome.npz",
            f"connectivity/{prefix}_regions.tsv",
            f"figures/{prefix}_matrices.png",
        ),
        work=lambda made: _import(subject, files, options, name, made),
    )
    return ledger.do(step)


def _import(subject: SubjectFolder, files: MatrixFiles, options: ImportOptions, atlas: str, made: Made) -> Facts:
    from tractome.io.figures import draw_matrices
    from tractome.io.importers import read_region_values
    from tractome.io.matrices import write_connectome
    from tractome.io.regions import read_region_table, write_region_table
    from tractome.stages.import_matrices import import_matrices, with_region_values

    regions = read_region_table(files.regions, atlas) if files.regions is not None else None
    values = read_region_values(files.values) if files.values is not None else None
    whole, given = _read(files.matrices, options)
    if whole is None:
        connectome = import_matrices(given, regions, options, values, atlas)
    else:
        connectome = whole if values is None else with_region_values(whole, values)
    write_connectome(made(subject.connectome(atlas)), connectome)
    write_region_table(made(subject.regions(atlas)), connectome.regions)
    draw_matrices(made(subject.figure(f"seg-{atlas}_matrices")), connectome)
    first = next(iter(connectome.matrices.values()))
    n_pairs = connectome.n_regions * (connectome.n_regions - 1) // 2
    n_edges = int(np.count_nonzero(np.triu(np.nan_to_num(first), k=1)))
    return {
        "n_regions": connectome.n_regions,
        "measures": list(connectome.matrices),
        "n_edges": n_edges,
        "density": n_edges / n_pairs if n_pairs else float("nan"),
        "settled": {key: value for key, value in connectome.metadata.items() if key not in ("atlas", "imported_from")},
    }


def _read(paths: Sequence[Path], options: ImportOptions) -> tuple[Connectome | None, list[GivenMatrix]]:
    """A whole connectome of ours, or the matrices of all files."""
    from tractome.io.importers import read_given

    given: list[GivenMatrix] = []
    for path in paths:
        found = read_given(path, options)
        if isinstance(found, Connectome):
            if len(paths) > 1:
                message = f"{path} is a whole connectome of tractome; import it alone, or as one file per measure."
                raise OptionError(message)
            return found, []
        given += found
    return None, given
