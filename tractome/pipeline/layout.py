"""Where the files of a subject are: the only place that knows their names.

BIDS-derivatives style, one folder per subject; see ``docs/files.md`` for the list.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from tractome.errors import OptionError, OutputError, TableError

TENSOR_MAPS = ("fa", "md", "ad", "rd")
TRACTOGRAM_FORMATS = ("trx", "tck", "trk")
PROVENANCE = "provenance.json"


@dataclass(frozen=True)
class SubjectFolder:
    """The folder of one subject, and the paths of everything in it.

    Parameters
    ----------
    root : Path
        Such as ``out/sub-01``, or ``out/sub-01/ses-a`` and ``out/sub-01/ses-a/run-2`` where a subject has several
        sessions or scans.
    """

    root: Path

    @property
    def name(self) -> str:
        """Such as ``"sub-01"`` or ``"sub-01_ses-a"``: the folders from that of the subject on."""
        parts = self.root.parts
        start = max((index for index, part in enumerate(parts) if part.startswith("sub-")), default=len(parts) - 1)
        return "_".join(parts[start:])

    @property
    def provenance(self) -> Path:
        """The record of what was made from what."""
        return self.root / PROVENANCE

    def _file(self, folder: str, rest: str) -> Path:
        return self.root / folder / f"{self.name}_{rest}"

    @property
    def mask(self) -> Path:
        """Brain mask on the grid of the scan."""
        return self._file("dwi", "desc-brain_mask.nii.gz")

    @property
    def mean_b0(self) -> Path:
        """Mean b0 volume inside the mask."""
        return self._file("dwi", "desc-b0_dwiref.nii.gz")

    @property
    def preprocessed(self) -> Path:
        """The scan after `tractome preprocess`; its gradients lie beside it."""
        return self._file("dwi", "desc-preproc_dwi.nii.gz")

    def preprocessing(self, what: str, suffix: str = "dwimap.nii.gz") -> Path:
        """What preprocessing found: ``mask``, ``noise``, ``distortion``, ``bias``, or ``motion`` as a table."""
        return self._file("dwi", f"desc-{what}_{suffix}")

    def tensor_map(self, parameter: str) -> Path:
        """One map of the tensor model: fa, md, ad, rd, s0, noutliers, direction (3 volumes) or colorfa (3 volumes)."""
        return self._file("dwi", f"model-tensor_param-{parameter}_dwimap.nii.gz")

    def orientations(self, model: str, tissue: str = "wmfod") -> Path:
        """FODs of a model (``odf`` of a bootstrapped tensor), or what belongs to them (``gm``, ``csf``, ``afd``)."""
        tissue = "odf" if model == "tensor" else tissue
        return self._file("dwi", f"model-{model}_param-{tissue}_dwimap.nii.gz")

    def peaks(self, model: str) -> Path:
        """The highest peaks of a model's orientations, three volumes each."""
        return self._file("dwi", f"model-{model}_param-peaks_dwimap.nii.gz")

    def response(self, model: str, tissue: str) -> Path:
        """The response function of a model's tissue (``wm``, ``gm`` or ``csf``), as text."""
        return self._file("dwi", f"model-{model}_response-{tissue}.txt")

    @property
    def tissue(self) -> Path:
        """Five tissue types per voxel, on a grid of their own."""
        return self._file("dwi", "desc-5tt_probseg.nii.gz")

    @property
    def streamline_table(self) -> Path:
        """End points and per-streamline values."""
        return self._file("tractogram", "streamlines.trx")

    @property
    def convergence(self) -> Path:
        """Errors of the edges while streamlines were tracked until these were small enough."""
        return self._file("tractogram", "convergence.tsv")

    @property
    def weights(self) -> Path:
        """One weight per streamline, as text; mu is in the JSON file beside it."""
        return self._file("tractogram", "weights.txt")

    def tractogram(self, suffix: str) -> Path:
        """Whole streamlines, in the format of `suffix` (trx, tck or trk)."""
        return self._file("tractogram", f"desc-whole_streamlines.{suffix}")

    @property
    def transform(self) -> Path:
        """The registration of the template to this subject."""
        return self._file("transform", "from-dwi_to-template_xfm.npz")

    def aligned_labels(self, what: str) -> Path:
        """Labels of the subject's T1, moved into the world of the scan."""
        return self._file("dwi", f"space-dwi_desc-{what}_dseg.nii.gz")

    def labels(self, atlas: str) -> Path:
        """The parcellation of this subject, on a grid of its own."""
        return self._file("dwi", f"seg-{atlas}_dseg.nii.gz")

    def regions(self, atlas: str) -> Path:
        """The region table, with this subject's centroids and volumes."""
        return self._file("connectivity", f"seg-{atlas}_regions.tsv")

    def connectome(self, atlas: str) -> Path:
        """Every matrix of one atlas, with names, units and definitions."""
        return self._file("connectivity", f"seg-{atlas}_connectome.npz")

    def matrix(self, atlas: str, measure: str, suffix: str = "tsv") -> Path:
        """One matrix as a text table."""
        return self._file("connectivity", f"seg-{atlas}_stat-{measure}_relmat.{suffix}")

    def graph(self, atlas: str, suffix: str) -> Path:
        """One graph file."""
        return self._file("graph", f"seg-{atlas}_{suffix}")

    def figure(self, what: str) -> Path:
        """One picture."""
        return self._file("figures", f"{what}.png")

    def require(self, path: Path, made_by: str) -> Path:
        """Return `path`; raise TableError naming the command that makes it when it is not there."""
        if not path.is_file():
            message = (
                f"{path} does not exist. It is made by `tractome {made_by}`; run that first, "
                "or `tractome run` for all stages."
            )
            raise TableError(message)
        return path


def subject_label(dwi: Path | None, given: str | None) -> str:
    """Label of the subject: what was given, else the ``sub-`` entity in the path of the scan, else ``01``.

    Raises
    ------
    OptionError
        The label holds anything but letters, digits, ``+`` and ``.``.
    """
    if given is not None:
        label = given.removeprefix("sub-")
    else:
        found = re.findall(r"(?:^|[/\\_])sub-([A-Za-z0-9+.]+)", str(dwi)) if dwi is not None else []
        label = found[-1].split(".")[0] if found else "01"
    return plain_label(label, "--subject")


def plain_label(label: str, flag: str) -> str:
    """Return a label; raise OptionError when it cannot be part of a BIDS name."""
    if not re.fullmatch(r"[A-Za-z0-9+.]+", label) or label.startswith("."):
        what = flag.removeprefix("--")
        message = f"The {what} label {label!r} may hold only letters and digits. Give another one with {flag}."
        raise OptionError(message)
    return label


def require_file_name(name: str, what: str) -> str:
    """Return `name`; raise OptionError when it cannot be part of a file name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]*", name):
        message = f"{what} {name!r} becomes part of file names: use letters, digits, '-' and '.' only."
        raise OptionError(message)
    return name


def require_free_folder(path: Path, mark: str, *, force: bool = False) -> Path:
    """Make a folder for files that are not a subject's results.

    Raises
    ------
    OutputError
        It holds files, and not the one named `mark` that an earlier run of the same command left, or that is there
        and `force` is not given.
    """
    if path.is_dir() and any(path.iterdir()) and not force:
        what = f"holds an earlier result ({mark})" if (path / mark).exists() else "is not empty"
        message = f"{path} {what}. Give another folder, or pass --force to replace its files."
        raise OutputError(message)
    return make_folder(path)


def find_subject(path: Path) -> SubjectFolder:
    """The folder of a subject that exists.

    Parameters
    ----------
    path : Path
        ``OUT/sub-X``, or ``OUT`` when it holds a single subject; the same with sessions below.

    Raises
    ------
    OutputError
        It is not there, or holds no result of tractome.
    """
    whole = path.resolve()
    inside = any(part.startswith("sub-") for part in whole.parts)
    if (path / PROVENANCE).is_file() and inside:
        return SubjectFolder(path if any(part.startswith("sub-") for part in path.parts) else whole)
    subjects = sorted(each.parent for each in path.glob(f"sub-*/**/{PROVENANCE}")) if path.is_dir() else []
    if not subjects and inside and path.is_dir():
        subjects = sorted(each.parent for each in whole.glob(f"**/{PROVENANCE}"))
    if len(subjects) == 1:
        return SubjectFolder(subjects[0])
    if subjects:
        message = f"{path} holds {len(subjects)} subjects. Name one: " + ", ".join(str(each) for each in subjects[:5])
    elif path.is_dir():
        message = f"{path} holds no result of tractome. Begin with `tractome fit` or `tractome run`."
    elif path.is_file():
        message = (
            f"{path} is a file, and the folder of a subject is needed, such as out/sub-01. A connectome's file becomes "
            "a subject with `tractome import`."
        )
    else:
        message = f"There is no folder {path}. Give the folder of a subject, such as out/sub-01."
    raise OutputError(message)


def make_folder(path: Path) -> Path:
    """Make a folder and its parents; raise OutputError saying which one could not be made and why."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        message = f"{path} is a file, and a folder is needed there. Give another --out."
        raise OutputError(message) from error
    except NotADirectoryError as error:
        message = f"{path} cannot be a folder: a part of its path is a file. Give another --out."
        raise OutputError(message) from error
    except OSError as error:
        message = f"The folder {path} cannot be made ({error.strerror}). Give another --out, or mend its permissions."
        raise OutputError(message) from error
    if not os.access(path, os.W_OK | os.X_OK):
        message = f"The folder {path} is not writable. Give another --out, or mend its permissions."
        raise OutputError(message)
    return path


def find_connectome(path: Path, atlas: str | None = None) -> Path:
    """The connectome file of a subject's folder: its only one, or that of an atlas; any other path as it is.

    Raises
    ------
    OutputError
        The folder holds no result, or several connectomes and no atlas is named.
    """
    if not path.is_dir():
        return path
    subject = find_subject(path)
    every = sorted((subject.root / "connectivity").glob("*_connectome.npz"))
    found = [each for each in every if atlas is None or each.name.endswith(f"_seg-{atlas}_connectome.npz")]
    if len(found) == 1:
        return found[0]
    if every and not found:
        message = f"{subject.root} holds no connectome of {atlas!r}; it has: " + ", ".join(each.name for each in every)
    elif not found:
        message = f"{subject.root} holds no connectome yet. Make one with `tractome connect`, or `tractome run`."
    else:
        message = f"{subject.root} holds {len(found)} connectomes. Name one: " + ", ".join(map(str, found))
    raise OutputError(message)
