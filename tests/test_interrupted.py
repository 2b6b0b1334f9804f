"""`tractome run` as a process: what Ctrl-C, an end from outside and a full disk leave behind."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import time

import pytest
from runs import contents, do, words


def _started(process):
    """Lines of standard error up to the end of a stage's beginning."""
    for line in process.stderr:
        yield line.strip()


@pytest.mark.parametrize("stage", ["fit", "parcellate", "track", "connect"])
def test_ctrl_c_in_any_stage_leaves_nothing_half_written(phantom, done, tmp_path, stage):
    out = tmp_path / "out"
    process = subprocess.Popen(words(phantom, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in _started(process):
        if line.startswith(stage) and line.endswith("..."):
            break
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 130, said
    assert "interrupted: nothing half-written is left. Run the same command again to go on" in said
    assert "Traceback" not in said
    assert not list(out.rglob(".tmp-*"))
    expected = contents(done)
    assert contents(out).items() <= expected.items()
    do(phantom, out)
    assert contents(out) == expected


def test_a_terminated_run_answers_like_an_interrupted_one(phantom, tmp_path):
    process = subprocess.Popen(words(phantom, tmp_path / "out"), stderr=subprocess.PIPE, text=True)
    for line in _started(process):
        if line.startswith("fit"):
            break
    process.terminate()
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 128 + signal.SIGTERM, said
    assert not list((tmp_path / "out").rglob(".tmp-*"))


def test_a_killed_run_goes_on_to_the_same_bytes(phantom, done, tmp_path):
    out = tmp_path / "out"
    process = subprocess.Popen(words(phantom, out), stderr=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL)
    for line in _started(process):
        if line.startswith("track"):
            break
    process.kill()
    process.wait()
    heard, _ = do(phantom, out)
    assert "fit" not in heard.done
    assert heard.done[-1] == "export"
    assert contents(out) == contents(done)


def test_the_program_says_what_it_made(phantom, copy):
    done = subprocess.run(words(phantom, copy), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0
    assert "300 of" in done.stdout
    assert "track: already done" in done.stderr
    assert "nothing was changed" in done.stderr
    quiet = subprocess.run(words(phantom, copy, "-q", "--json"), capture_output=True, text=True, timeout=300)
    assert quiet.stderr == ""
    assert json.loads(quiet.stdout)["facts"]["track"]["n_accepted"] == 300


def test_threads_beyond_the_machine_are_clamped_with_a_note(phantom, copy):
    done = subprocess.run(words(phantom, copy, "--threads", "999"), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0
    assert f"note: --threads 999: only {os.cpu_count()} can be used here" in done.stderr


def test_a_misspelt_atlas_is_found_before_anything_is_done(phantom, tmp_path):
    more = ["--atlas", "desikan-kiliany-83"]
    given = words(phantom, tmp_path / "out", *more)
    for flag in ("--labels", "--regions"):
        place = given.index(flag)
        del given[place : place + 2]
    done = subprocess.run(given, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert "Did you mean 'desikan-killiany-83'?" in done.stderr
    assert "fit ..." not in done.stderr
    assert "fit: " not in done.stderr


def test_a_disk_that_fills_up_is_a_clear_error(phantom, done, tmp_path):
    # No file may grow beyond a limit: what a full disk does, without one.
    out = tmp_path / "out"

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    process = subprocess.run(words(phantom, out), capture_output=True, text=True, timeout=300, preexec_fn=limit)
    assert process.returncode == 2, process.stderr
    last = process.stderr.strip().splitlines()[-1]
    assert last.startswith(f"error: {out}")
    assert "cannot be written: File too large" in last
    assert not list(out.rglob(".tmp-*"))
    assert contents(out).items() <= contents(done).items()
    do(phantom, out)
    assert contents(out) == contents(done)


def test_a_wish_to_stop_that_python_lost_is_remembered():
    # An exception that is raised inside a destructor is dropped; the next call of the terminal stops the program.
    import typer

    from tractome_cli.console import Terminal, answering

    terminal = Terminal()
    with pytest.raises(typer.Exit) as caught, answering(terminal, debug=False, go_on="Go on."):
        with contextlib.suppress(BaseException):
            signal.raise_signal(signal.SIGINT)
        terminal.progress("work")(1, 2)
        pytest.fail("went on after Ctrl-C")
    assert caught.value.exit_code == 130
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
