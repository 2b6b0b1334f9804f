"""A check names the fault of each spoiled subject, and nothing else; and is silent on good ones."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from broken import BROKEN
from specimen import OPTIONS, renamed, specimen, stored_as, turned
from typer.testing import CliRunner

from tractome.datatypes.findings import CheckReport, Finding
from tractome.errors import OptionError, TractomeError
from tractome.options import ReadOptions
from tractome.pipeline.check import CheckedFiles, check_files, require_sound
from tractome.pipeline.fit import ScanFiles
from tractome.pipeline.parcellate import LabelSource
from tractome.stages.check import CATALOGUE, LIMITS, Inspection
from tractome_cli.app import app

importlib.import_module("broken_anatomy")  # adds its rows


def files_of(paths):
    scan = ScanFiles(paths["dwi"], paths["bval"], paths.get("bvec"), paths.get("mask"), grad_dev=paths.get("grad_dev"))
    source = LabelSource(paths.get("t1"), paths.get("labels"), paths.get("regions"))
    return CheckedFiles(scan, source, paths.get("tissue"))


def checked(subject, folder, **options):
    return check_files(files_of(subject.write(folder)), ReadOptions(), **options)


def _as_mrtrix_table(subject):
    """World axes and b-values in one file; b0 rows of zeros."""
    world = (subject.bvecs * [-1 if np.linalg.det(subject["dwi"].affine[:3, :3]) > 0 else 1, 1, 1]) @ (
        subject["dwi"].affine[:3, :3] / OPTIONS.voxel_size_mm
    ).T
    rows = np.column_stack([world, subject.bvals])
    subject.texts["bval"] = "".join(" ".join(f"{x:.6g}" for x in row) + "\n" for row in rows)
    subject.texts["bvec"] = ""
    return subject


def _as_float(subject):
    subject["dwi"].values = subject["dwi"].values.astype(np.float32) * 0.013
    return subject


def _jittered(subject):
    subject.bvals = np.where(subject.bvals > 0, subject.bvals + np.tile([-10, -5, 0, 5], 7)[: len(subject.bvals)], 5)
    return subject


GOOD = {
    "ras": lambda subject: subject,
    "las": lambda subject: stored_as(subject, (0, 1, 2), (0,)),
    "lps": lambda subject: stored_as(subject, (0, 1, 2), (0, 1)),
    "pir": lambda subject: stored_as(subject, (1, 2, 0), (0, 1)),
    "oblique": lambda subject: turned(subject, (14, -11)),
    "oblique-psl": lambda subject: stored_as(turned(subject, (14, -11)), (1, 2, 0), (0, 2)),
    "without-mask": lambda subject: subject.without("mask"),
    "scan-alone": lambda subject: subject.without("mask", "t1", "labels", "tissue", "regions"),
    "compressed": lambda subject: renamed(subject, dwi="dwi.nii.gz", labels="labels.nii.gz"),
    "float": _as_float,
    "jittered-as-the-hcp": _jittered,
    "mrtrix-table": lambda subject: _as_mrtrix_table(turned(subject, (14, -11))),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_subjects_are_clean(name, tmp_path):
    report = checked(GOOD[name](specimen()), tmp_path)
    assert report.names == (), [each.message for each in report.findings]
    assert (report.verdict, report.exit_code) == ("clean", 0)
    if name == "scan-alone":
        assert "as given" in report.facts["gradient orientation"]


@pytest.mark.parametrize("name", BROKEN)
def test_the_fault_is_named_and_nothing_else(name, tmp_path):
    row = BROKEN[name]
    subject = specimen()
    row.spoil(subject)
    report = checked(subject, tmp_path, quick=row.quick)
    assert row.expected in report.names, report.names
    assert set(report.names) <= {row.expected, *row.also}, [each.message for each in report.findings]
    assert report.exit_code == (2 if CATALOGUE[row.expected].severity == "refuse" else 1)
    for finding in report.findings:
        assert len(finding.message) > 40 and finding.message.rstrip().endswith((".", "?"))


def test_there_are_enough_faults_and_every_finding_has_one():
    assert len(BROKEN) >= 40
    without = set(CATALOGUE) - {row.expected for row in BROKEN.values()}
    # What is refused for a reason that no other finding names cannot be had with a fault of its own.
    assert without == {"gradients-unusable"}


DOCUMENT = Path(__file__).parents[1] / "docs" / "check.md"


@pytest.mark.skipif(not DOCUMENT.exists(), reason="only in a checkout")
def test_the_page_lists_every_finding_and_every_limit():
    page = DOCUMENT.read_text(encoding="utf-8")
    for name, kind in CATALOGUE.items():
        assert f"| `{name}` | {kind.severity} | {kind.meaning} |" in page
    for name, limit in LIMITS.items():
        sign = "at most" if limit.is_highest else "at least"
        assert f"| `{name}` | {limit.meaning} | {sign} {limit.value:g} {limit.unit} |" in page
    assert f"{len(BROKEN)} faults" in page


@pytest.mark.parametrize(("axis", "fix"), [(0, "negate x"), (1, "negate y"), (2, "negate z")])
def test_the_fix_of_a_flip_is_that_flip(axis, fix, tmp_path):
    subject = turned(specimen(), (14, -11)).without("t1", "labels", "tissue", "regions")
    subject.bvecs[:, axis] *= -1
    (found,) = checked(subject, tmp_path).findings
    assert found.evidence["fix"] == fix
    assert fix in found.message


def test_what_is_accepted_does_not_decide_but_is_shown(tmp_path):
    subject = specimen().without("t1", "labels", "tissue", "regions")
    subject["mask"].values = np.ones_like(subject["mask"].values)
    files = files_of(subject.write(tmp_path))
    with pytest.raises(TractomeError, match=r"\[mask-full\].*--accept mask-full"):
        require_sound(files, ReadOptions())
    report = require_sound(files, ReadOptions(), accept=("mask-full",))
    assert "mask-full" in report.names
    assert not report.of("refuse")
    assert report.as_dict()["accepted"] == ["mask-full"]


def test_a_name_that_is_no_finding_is_not_accepted_silently(tmp_path):
    with pytest.raises(OptionError, match="Did you mean 'mask-full'"):
        checked(specimen(), tmp_path, accept=("mask-ful",))


def test_several_faults_are_all_named_what_is_refused_first(tmp_path):
    subject = specimen()
    subject.bvals = subject.bvals / 1000
    subject["labels"].values[subject["labels"].values == 5] = 0
    subject["mask"].values[...] = False
    report = checked(subject, tmp_path)
    assert set(report.names) == {"bvals-units", "mask-empty", "regions-missing"}, [x.message for x in report.findings]
    assert [each.severity for each in report.findings] == ["refuse", "refuse", "warn"]


def test_the_numbers_do_not_depend_on_the_run(tmp_path):
    reports = [checked(specimen(), tmp_path).as_dict() for _ in range(2)]
    assert reports[0] == reports[1]


def test_a_limit_keeps_the_worst_value_and_forgives_what_is_no_number():
    inspection = Inspection()
    assert not inspection.is_beyond("signal.snr", 20)
    assert inspection.is_beyond("signal.snr", 3)
    assert not inspection.is_beyond("signal.snr", 9)
    assert inspection.measures["signal.snr"] == 3
    assert list(inspection.beyond("signal.shift_mm", np.array([0.1, 99.0, np.nan]))) == [False, True, False]
    assert not LIMITS["signal.snr"].is_beyond(float("nan"))


def test_a_finding_is_of_a_known_severity():
    with pytest.raises(ValueError, match="severity"):
        Finding("x", "perhaps", "dwi", "")
    report = CheckReport((Finding("a", "warn", "dwi", ""), Finding("b", "refuse", "dwi", "")))
    assert report.names == ("b", "a")
    assert report.verdict == "refused"


@pytest.fixture
def folder(tmp_path):
    """A subject as plain files, to be found by its path."""
    subject = renamed(specimen(), dwi="dwi.nii.gz", mask="mask.nii.gz", labels="labels.nii.gz", t1="T1w.nii.gz")
    renamed(subject, tissue="5tt.nii.gz").write(tmp_path)
    return tmp_path


def _spoiled(folder):
    for path in (folder / "dwi.bvec",):
        rows = np.loadtxt(path)
        np.savetxt(path, rows * [[1], [-1], [1]])
    return folder


def test_the_command_finds_the_files_and_answers_with_its_exit_code(folder):
    shown = CliRunner().invoke(app, ["check", str(folder), "--json"])
    assert shown.exit_code == 0
    answer = json.loads(shown.stdout)
    assert answer["verdict"] == "clean"
    assert set(answer["files"]) == {"dwi", "bval", "bvec", "mask", "t1", "labels", "regions", "tissue"}
    assert {"signal.snr", "mask.shift_mm", "labels.inside"} <= set(answer["measures"])


def test_the_command_refuses_warns_and_accepts(folder):
    _spoiled(folder)
    runner = CliRunner()
    refused = runner.invoke(app, ["check", str(folder)])
    assert refused.exit_code == 2
    assert "gradient-orientation" in refused.stdout
    assert "negate y" in refused.stdout
    accepted = runner.invoke(app, ["check", str(folder), "--accept", "gradient-orientation", "--json"])
    assert accepted.exit_code == 0
    assert [each["name"] for each in json.loads(accepted.stdout)["findings"]] == ["gradient-orientation"]
    # Without its volumes nothing can be said about it.
    assert runner.invoke(app, ["check", str(folder), "--quick"]).exit_code == 0
    regions = folder / "regions.tsv"
    regions.write_text("\n".join(regions.read_text().splitlines()[:-3]) + "\n")
    warned = runner.invoke(app, ["check", str(folder), "--quick"])
    assert warned.exit_code == 1
    assert "labels-not-in-table" in warned.stdout
