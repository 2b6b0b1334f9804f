"""Done work is not done again, half-done work is, and what is not ours is not touched."""

import dataclasses
import errno
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tractome.errors import OptionError, OutputError, TableError
from tractome.io.atomic import replacing
from tractome.pipeline.layout import SubjectFolder, find_subject, make_folder, subject_label
from tractome.pipeline.ledger import Ledger, Step, read_records
from tractome.pipeline.listener import LogListener
from tractome.pipeline.subject import new_subject


class _Heard(LogListener):
    def __init__(self):
        self.said = []

    def begins(self, stage):
        self.said.append(f"begins {stage}")

    def skips(self, stage):
        self.said.append(f"skips {stage}")

    def note(self, message):
        self.said.append(message)


@pytest.fixture
def scan(tmp_path):
    path = tmp_path / "raw" / "dwi.nii.gz"
    path.parent.mkdir()
    path.write_bytes(b"a scan")
    return path


@pytest.fixture
def ledger(tmp_path):
    make_folder(tmp_path / "out" / "sub-01")
    return Ledger(SubjectFolder(tmp_path / "out" / "sub-01"), _Heard())


def _write(path, text):
    with replacing(path) as temporary:
        temporary.write_text(text)


def _first(ledger, scan, text="one", **changed):
    root = ledger.subject.root

    def work(made):
        _write(made(root / "dwi" / "first.txt"), text)
        return {"text": text}

    given = {"name": "fit", "options": {"text": text}, "inputs": {"dwi": scan}, "may_write": ("dwi/first*",)}
    return Step(**given | {"work": work} | changed)


def _second(ledger):
    root = ledger.subject.root

    def work(made):
        text = (root / "dwi" / "first.txt").read_text()
        _write(made(root / "second.txt"), text.upper())
        return {}

    return Step("track", {}, {"first": root / "dwi" / "first.txt"}, ("second*",), work)


def _begun(ledger):
    begun = [line.removeprefix("begins ") for line in ledger.listener.said if line.startswith("begins")]
    ledger.listener.said.clear()
    return begun


def test_done_work_is_not_done_again(ledger, scan):
    first = ledger.do(_first(ledger, scan))
    assert _begun(ledger) == ["fit"]
    assert ledger.do(_first(ledger, scan)) == first
    assert ledger.listener.said == ["skips fit"]


def test_a_moved_input_is_the_same_input(ledger, scan, tmp_path):
    ledger.do(_first(ledger, scan))
    moved = scan.rename(tmp_path / "elsewhere.nii.gz")
    ledger.do(_first(ledger, moved))
    assert ledger.listener.said[-1] == "skips fit"


@pytest.mark.parametrize("harm", ["option", "input", "missing", "changed", "force"])
def test_work_is_done_again_when_it_must_be(ledger, scan, harm):
    ledger.do(_first(ledger, scan))
    _begun(ledger)
    output = ledger.subject.root / "dwi" / "first.txt"
    if harm == "input":
        scan.write_bytes(b"another scan")
    elif harm == "missing":
        output.unlink()
    elif harm == "changed":
        output.write_text("half")
    elif harm == "force":
        ledger.force = True
    ledger.do(_first(ledger, scan, "two" if harm == "option" else "one"))
    assert _begun(ledger) == ["fit"]
    assert output.read_text() == ("two" if harm == "option" else "one")


def test_an_update_of_the_code_does_the_work_again(ledger, scan, monkeypatch):
    ledger.do(_first(ledger, scan))
    monkeypatch.setattr("tractome.pipeline.ledger.code_hash", lambda: "other code")
    _begun(ledger)
    ledger.do(_first(ledger, scan))
    assert _begun(ledger) == ["fit"]


def test_only_what_depends_is_done_again(ledger, scan):
    for text, expected in (("one", ["fit", "track"]), ("two", ["fit", "track"]), ("two", [])):
        ledger.do(_first(ledger, scan, text))
        ledger.do(_second(ledger))
        assert _begun(ledger) == expected
    # Another option that gives the same bytes: what follows need not be done again.
    ledger.do(_first(ledger, scan, "two", options={"text": "other", "text_is": "two"}))
    ledger.do(_second(ledger))
    assert _begun(ledger) == ["fit"]


def test_interrupted_work_is_done_again_and_leaves_nothing_half_written(ledger, scan):
    root = ledger.subject.root

    def interrupted(made):
        _write(made(root / "dwi" / "first_a.txt"), "whole")
        with replacing(made(root / "dwi" / "first_b.txt")) as temporary:
            temporary.write_text("ha")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ledger.do(_first(ledger, scan, work=interrupted))
    assert read_records(ledger.subject)["fit"].status == "running"
    assert sorted(path.name for path in (root / "dwi").iterdir()) == ["first_a.txt"]
    with pytest.raises(TableError, match="fit was not finished"):
        ledger.finished("fit")
    ledger.do(_first(ledger, scan))
    # The file of the interrupted try is ours, and explained by nothing any more.
    assert sorted(path.name for path in (root / "dwi").iterdir()) == ["first.txt"]
    assert ledger.finished("fit").outputs.keys() == {"dwi/first.txt"}


def test_what_is_refused_before_anything_is_written_leaves_no_trace(tmp_path, scan):
    def refused(made):
        raise TableError("not a table")

    with pytest.raises(TableError, match="not a table"), new_subject(tmp_path / "out", scan, "1", _Heard()) as ledger:
        ledger.do(_first(ledger, scan, work=refused))
    assert not (tmp_path / "out" / "sub-1").exists()
    with new_subject(tmp_path / "out", scan, "1", _Heard()) as ledger:
        ledger.do(_first(ledger, scan))
    with pytest.raises(TableError), new_subject(tmp_path / "out", scan, "1", _Heard(), force=True) as ledger:
        ledger.do(_first(ledger, scan, work=refused))
    assert (ledger.subject.root / "dwi" / "first.txt").is_file()


def test_outputs_of_another_option_do_not_stay_behind(ledger, scan):
    root = ledger.subject.root

    def other(made):
        _write(made(root / "dwi" / "first_other.txt"), "x")
        return {}

    ledger.do(_first(ledger, scan))
    ledger.do(_first(ledger, scan, "other", work=other))
    assert sorted(path.name for path in (root / "dwi").iterdir()) == ["first_other.txt"]


def test_a_file_that_is_not_ours_is_not_replaced(ledger, scan):
    strange = ledger.subject.root / "dwi" / "first.txt"
    strange.parent.mkdir()
    strange.write_text("precious")
    with pytest.raises(OutputError, match=r"first\.txt exists and was not made by tractome.*--force"):
        ledger.do(_first(ledger, scan))
    assert strange.read_text() == "precious"
    ledger.force = True
    ledger.do(_first(ledger, scan))
    assert strange.read_text() == "one"


def test_a_damaged_record_is_a_clear_error(ledger):
    ledger.subject.provenance.write_text("{not json")
    with pytest.raises(OutputError, match=r"provenance\.json cannot be read"):
        ledger.records()


def test_facts_and_hashes_are_the_same_in_every_run(tmp_path, scan):
    contents = []
    for out in ("a", "b"):
        ledger = Ledger(SubjectFolder(make_folder(tmp_path / out / "sub-01")), LogListener())
        ledger.do(_first(ledger, scan))
        record = json.loads(ledger.subject.provenance.read_text())["stages"]["fit"]
        contents.append({name: record[name] for name in record if name not in ("seconds", "peak_memory_mb")})
    assert contents[0] == contents[1]


# --- folders ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "given", "label"),
    [
        ("dwi.nii.gz", None, "01"),
        ("/bids/sub-A7/ses-1/dwi/sub-A7_ses-1_dwi.nii.gz", None, "A7"),
        ("sub-03.nii.gz", None, "03"),
        ("/bids/sub-A7/dwi.nii.gz", "B2", "B2"),
        ("dwi.nii.gz", "sub-9", "9"),
    ],
)
def test_subject_label(path, given, label):
    assert subject_label(Path(path), given) == label


@pytest.mark.parametrize("given", ["", "a/b", "..", "a b", "sub-"])
def test_bad_subject_label(given):
    with pytest.raises(OptionError, match="--subject"):
        subject_label(None, given)


def test_new_subject_makes_the_folder_and_says_what_it_is(tmp_path, scan):
    with new_subject(tmp_path / "out", scan, None, LogListener()) as ledger:
        assert ledger.subject.root == tmp_path / "out" / "sub-01"
    described = json.loads((tmp_path / "out" / "dataset_description.json").read_text())
    assert described["DatasetType"] == "derivative"


def test_new_subject_clears_what_a_killed_run_left(tmp_path, scan):
    left = tmp_path / "out" / "sub-01" / "dwi" / ".tmp-123-fa.nii.gz"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    with new_subject(tmp_path / "out", scan, None, LogListener()):
        assert not left.exists()


def test_two_runs_do_not_work_in_one_folder(tmp_path, scan):
    code = (
        "import sys, pathlib\n"
        "from tractome.pipeline import LogListener, new_subject\n"
        "with new_subject(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), None, LogListener()):\n"
        "    pass\n"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path / "out"), str(scan)]
    with new_subject(tmp_path / "out", scan, None, LogListener()):
        other = subprocess.run(arguments, capture_output=True, text=True)
        assert "Another tractome is working" in other.stderr
    assert subprocess.run(arguments, capture_output=True).returncode == 0


def test_two_scans_do_not_share_a_label(tmp_path, scan):
    other = tmp_path / "other.nii.gz"
    other.write_bytes(b"another person")
    with new_subject(tmp_path / "out", scan, None, LogListener()) as ledger:
        ledger.do(_first(ledger, scan))
    with (
        pytest.raises(OutputError, match=r"another scan.*--subject"),
        new_subject(tmp_path / "out", other, None, LogListener()),
    ):
        pass
    with new_subject(tmp_path / "out", other, "02", LogListener()):
        pass
    # The same scan at another place, and an improved scan at the same place, are welcome.
    copy = tmp_path / "copy.nii.gz"
    copy.write_bytes(scan.read_bytes())
    with new_subject(tmp_path / "out", copy, None, LogListener()):
        pass
    scan.write_bytes(b"the scan, denoised")
    with new_subject(tmp_path / "out", scan, None, LogListener()):
        pass


def test_a_scan_that_failed_does_not_claim_the_label(tmp_path, scan):
    def fail(made):
        raise OutputError("cut short")

    with new_subject(tmp_path / "out", scan, None, LogListener()) as ledger, pytest.raises(OutputError, match="cut"):
        ledger.do(dataclasses.replace(_first(ledger, scan), work=fail))
    other = tmp_path / "other.nii.gz"
    other.write_bytes(b"the whole scan")
    with new_subject(tmp_path / "out", other, None, LogListener()) as ledger:
        ledger.do(_first(ledger, other))
    # Done once, it is claimed, also while a later attempt at it has failed.
    with new_subject(tmp_path / "out", other, None, LogListener(), force=True) as ledger, pytest.raises(OutputError):
        ledger.do(dataclasses.replace(_first(ledger, other), work=fail))
    with (
        pytest.raises(OutputError, match=r"another scan.*--subject"),
        new_subject(tmp_path / "out", scan, None, LogListener()),
    ):
        pass


def test_a_foreign_data_set_is_left_alone(tmp_path, scan):
    out = tmp_path / "bids"
    out.mkdir()
    (out / "dataset_description.json").write_text('{"Name": "raw data", "BIDSVersion": "1.8.0"}')
    with pytest.raises(OutputError, match="did not make"), new_subject(out, scan, None, LogListener()):
        pass


def test_a_file_where_the_folder_should_be(tmp_path, scan):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="is a file"), new_subject(tmp_path / "out", scan, None, LogListener()):
        pass
    with pytest.raises(OutputError, match="a part of its path is a file"):
        make_folder(tmp_path / "out" / "deeper")


def test_a_folder_that_may_not_be_written():
    # Root may write anywhere: there the attempt is made as an ordinary user, after everything is imported.
    code = (
        "import os, pathlib, sys\n"
        "from tractome.errors import OutputError\n"
        "from tractome.pipeline import LogListener, new_subject\n"
        "if os.getuid() == 0:\n"
        "    os.setuid(65534)\n"
        "try:\n"
        "    new_subject(pathlib.Path(sys.argv[1]), pathlib.Path('dwi.nii.gz'), None, LogListener()).__enter__()\n"
        "except OutputError as error:\n"
        "    print(error)\n"
    )
    with tempfile.TemporaryDirectory() as parent:
        os.chmod(parent, 0o755)
        locked = Path(parent) / "locked"
        locked.mkdir(mode=0o555)
        for out, complaint in ((locked, "is not writable"), (locked / "deeper", "cannot be made")):
            result = subprocess.run([sys.executable, "-c", code, str(out)], capture_output=True, text=True)
            assert complaint in result.stdout, result.stderr


def test_a_full_disk(ledger, scan):
    def fills(made):
        with replacing(made(ledger.subject.root / "dwi" / "first.txt")) as temporary:
            temporary.write_text("ha")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OutputError, match=r"first\.txt cannot be written: No space left"):
        ledger.do(_first(ledger, scan, work=fills))
    assert not list((ledger.subject.root / "dwi").iterdir())
    ledger.do(_first(ledger, scan))
    assert ledger.finished("fit").outputs


def test_find_subject(tmp_path, scan):
    with pytest.raises(OutputError, match="There is no folder"):
        find_subject(tmp_path / "nowhere")
    with pytest.raises(OutputError, match="holds no result"):
        find_subject(tmp_path)
    for label in ("01", "02"):
        with new_subject(tmp_path / "out", scan, label, LogListener()) as ledger:
            ledger.do(_first(ledger, scan))
        if label == "01":
            assert find_subject(tmp_path / "out").name == "sub-01"
    with pytest.raises(OutputError, match="holds 2 subjects"):
        find_subject(tmp_path / "out")
    assert find_subject(tmp_path / "out" / "sub-02").name == "sub-02"
