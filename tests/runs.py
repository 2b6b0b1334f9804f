"""Whole runs on a phantom as small as one can be, shared by the tests of the pipeline."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import sys
from pathlib import Path

import pytest

from tractome.options import ExportOptions, FitOptions, PhantomOptions, TrackOptions
from tractome.pipeline import (
    LabelSource,
    LogListener,
    RunOptions,
    SubjectFiles,
    find_scan,
    new_subject,
    run_subject,
)

OPTIONS = RunOptions(
    fit=FitOptions(model="csd", lmax=4),
    track=TrackOptions(n_streamlines=300),
    export=ExportOptions(formats=("npz", "tsv", "csv", "mat", "graphml", "graph", "nilearn")),
)


class Heard(LogListener):
    """Remembers which steps were done, and what was noted."""

    def __init__(self):
        self.done, self.notes = [], []

    def ends(self, stage, seconds):
        self.done.append(stage.partition("/")[0])

    def note(self, message):
        self.notes.append(message)


@pytest.fixture(scope="session")
def phantom(tmp_path_factory):
    """Folder of a phantom as small as one can be that still has every kind of region."""
    from tractome.phantom import make_phantom, write_phantom

    folder = tmp_path_factory.mktemp("phantom")
    options = PhantomOptions(
        voxel_size_mm=6.0,
        t1_voxel_size_mm=6.0,
        n_cortical=8,
        n_deep=2,
        n_bundles=8,
        n_u_fibres=2,
        directions=(12, 16),
        n_b0=2,
    )
    write_phantom(folder, make_phantom(options))
    return folder


def files_of(phantom, **changed):
    """What `tractome run` is given for a phantom."""
    source = LabelSource(labels=phantom / "labels.nii.gz", regions=phantom / "regions.tsv")
    scan = find_scan(phantom / "dwi.nii.gz", mask=phantom / "mask.nii.gz")
    return dataclasses.replace(SubjectFiles(scan, source, tissue=phantom / "5tt.nii.gz"), **changed)


def do(phantom, out, options=OPTIONS, *, force=False, **changed):
    """One run; what was heard, and the records."""
    heard, files = Heard(), files_of(phantom, **changed)
    with new_subject(out, files.scan.dwi, None, heard, force=force) as ledger:
        records = run_subject(ledger, files, options)
    return heard, records


def contents(out):
    """SHA-256 of every result file, by path."""
    paths = sorted(path for path in Path(out).rglob("*") if path.is_file() and path.name != "provenance.json")
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.fixture(scope="session")
def done(phantom, tmp_path_factory):
    """Folder of a finished run; tests that change it copy it first."""
    out = tmp_path_factory.mktemp("done") / "out"
    do(phantom, out)
    return out


@pytest.fixture
def copy(done, tmp_path):
    return Path(shutil.copytree(done, tmp_path / "out"))


def words(phantom, out, *more):
    """`tractome run` on a phantom, as a user types it; one so coarse is not sound enough for a check."""
    files = {"--dwi": "dwi", "--mask": "mask", "--tissue": "5tt", "--labels": "labels"}
    given = [part for flag, name in files.items() for part in (flag, str(phantom / f"{name}.nii.gz"))]
    fixed = [
        "--regions",
        str(phantom / "regions.tsv"),
        "--model",
        "csd",
        "--lmax",
        "4",
        "--streamlines",
        "300",
        "--out",
        str(out),
    ]
    formats = ["--formats", ",".join(OPTIONS.export.formats)]
    return [sys.executable, "-m", "tractome_cli.app", "run", "--no-check", *given, *fixed, *formats, *more]
