"""The command line: thin, quick to answer, and clear about what is wrong."""

import dataclasses
import re
import resource
import shlex
import subprocess
import sys

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from tractome import options as stage_options
from tractome.options import ExportOptions, TrackOptions
from tractome_cli.app import app
from tractome_cli.params import PANELS, Chosen, command, flag

HEAVY = ("numpy", "scipy", "numba", "dipy", "nibabel", "nilearn", "matplotlib", "networkx", "h5py", "trx", "torch")
COMMANDS = (
    "run",
    "check",
    "preprocess",
    "fit",
    "parcellate",
    "tissue",
    "track",
    "weigh",
    "connect",
    "import",
    "export",
    "dataset",
    "group",
    "compare",
    "analyze",
    "phantom",
)
ATLAS_COMMANDS = ("list", "show", "add", "fetch", "check")
RUN_KINDS = (
    "ReadOptions",
    "PreprocessOptions",
    "FitOptions",
    "TissueOptions",
    "TrackOptions",
    "ParcellateOptions",
    "ConnectOptions",
    "ExportOptions",
)

runner = CliRunner()


def run_cli(*arguments, **settings):
    """The program as a user starts it: (exit code, standard output, standard error)."""
    words = [sys.executable, "-m", "tractome_cli.app", *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, **settings)
    return done.returncode, done.stdout, done.stderr


def _all_commands():
    found = []
    for name, each in get_command(app).commands.items():
        inner = getattr(each, "commands", None)
        found += [(name, each)] if inner is None else [(f"{name} {word}", sub) for word, sub in inner.items()]
    return found


def test_every_command_is_there():
    assert {name for name, _ in _all_commands()} == {*COMMANDS, *(f"atlas {each}" for each in ATLAS_COMMANDS)}


def test_help_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys\n"
        "from tractome_cli.app import app\n"
        "try:\n"
        "    app(['--help'])\n"
        "except SystemExit:\n"
        "    pass\n"
        f"print('heavy:', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    # Processor time, which other programs on the machine do not lengthen; wall time is no longer on an idle one.
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "heavy: []" in done.stdout, done.stdout + done.stderr
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


@pytest.mark.parametrize(("name", "each"), _all_commands())
def test_every_help_has_an_example_that_parses(name, each):
    shown = runner.invoke(app, [*name.split(), "--help"])
    assert shown.exit_code == 0
    example = re.sub(r"\s+", " ", re.sub(r"[│╭╮╰╯─]", "", shown.stdout)).partition("Example: ")[2].strip()
    assert example.startswith(f"tractome {name}")
    # Every option of the example is one of the command's, and its arguments are enough.
    words = shlex.split(example)[1 + len(name.split()) :]
    each.make_context(name, words, resilient_parsing=False)


@pytest.mark.parametrize(("name", "each"), _all_commands())
def test_every_option_has_a_help_text(name, each):
    for parameter in each.params:
        if parameter.param_type_name == "option" and parameter.name != "help":
            assert parameter.help, (name, parameter.name)


def _options_classes():
    return [getattr(stage_options, name) for name in PANELS]


def _commands_with(kind):
    for name, each in _all_commands():
        parameters = {parameter.name: parameter for parameter in each.params}
        if {field.name for field in dataclasses.fields(kind)} <= parameters.keys():
            yield name, parameters


@pytest.mark.parametrize("kind", _options_classes())
def test_every_field_can_be_given_and_has_the_default_of_the_library(kind):
    found = dict(_commands_with(kind))
    assert found, f"no command has all of {kind.__name__}"
    if kind.__name__ in RUN_KINDS:
        assert "run" in found
    for parameters in found.values():
        for field in dataclasses.fields(kind):
            default = parameters[field.name].default
            expected = field.default
            if isinstance(expected, tuple):
                item = type(expected[0]) if expected else str
                default = tuple(item(each) for each in default.split(",") if each)
            assert default == expected, field.name
            assert flag(field.name) in parameters[field.name].opts


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("n_streamlines", "--streamlines"),
        ("random_seed", "--seed"),
        ("n_threads", "--threads"),
        ("model", "--model"),
        ("step_size_mm", "--step-size"),
        ("b0_threshold_s_per_mm2", "--b0-threshold"),
    ],
)
def test_flags(name, expected):
    assert flag(name) == expected


def test_units_and_limits_are_in_the_help():
    shown = re.sub(r"[│\s]+", " ", runner.invoke(app, ["track", "--help"]).stdout)
    assert "(deg, 1 to 90)" in shown
    assert "(mm, at least 1)" in shown


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (["trak"], "track"),
        (["run", "--dwi", "x", "--out", "y", "--streamline", "5"], "--streamlines"),
        (["track", "x", "--step-sise", "1"], "--step-size"),
        (["atlas", "lst"], "list"),
    ],
)
def test_wrong_words_suggest_the_right_ones(arguments, suggestion):
    code, _, said = run_cli(*arguments)
    assert code == 2
    assert suggestion in said


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--max-angle", "900"], "--max-angle = 900 deg is out of range; it must be between 1 and 90 deg"),
        (["--seed-source", "white-mater"], "Did you mean 'white-matter'?"),
        (["--streamlines", "0"], "--streamlines = 0 is out of range"),
    ],
)
def test_wrong_values_are_explained(tmp_path, arguments, complaint):
    code, out, said = run_cli("track", tmp_path, *arguments)
    assert (code, out) == (2, "")
    assert said.startswith("error: ")
    assert complaint in said
    assert len(said.strip().splitlines()) == 1


def test_wrong_lists_are_explained(tmp_path):
    code, _, said = run_cli("phantom", tmp_path / "p", "--shells", "1000;2000")
    assert code == 2
    assert "--shells takes values with commas between them" in said


def test_debug_shows_where(tmp_path):
    code, _, said = run_cli("track", tmp_path, "--debug")
    assert code == 2
    assert "Traceback" in said
    assert "error: " in said.splitlines()[-1]


def test_version():
    import tractome

    assert run_cli("--version") == (0, f"tractome {tractome.__version__}\n", "")


@pytest.mark.parametrize("stage", ["track", "parcellate", "connect", "export"])
def test_a_stage_without_the_one_before_says_so(tmp_path, stage):
    code, _, said = run_cli(stage, tmp_path)
    assert code == 2
    assert f"{tmp_path} holds no result of tractome. Begin with `tractome fit` or `tractome run`." in said


def test_missing_files_are_named(tmp_path):
    scan = tmp_path / "dwi.nii.gz"
    code, _, said = run_cli("fit", "--dwi", scan, "--out", tmp_path / "out")
    assert code == 2
    assert f"There is no scan {scan}" in said
    scan.write_bytes(b"")
    code, _, said = run_cli("fit", "--dwi", scan, "--out", tmp_path / "out")
    assert code == 2
    assert "dwi.bval" in said
    assert "--bval" in said


def test_phantom_does_not_write_over_other_files(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    code, _, said = run_cli("phantom", tmp_path)
    assert code == 2
    assert "is not empty" in said
    assert "--force" in said
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_options_reach_the_library():
    seen = {}
    small = typer.Typer()

    @small.command()
    @command(TrackOptions, ExportOptions)
    def body(chosen: Chosen) -> None:
        seen.update(track=chosen[TrackOptions], export=chosen[ExportOptions])

    words = {
        "--streamlines": 7,
        "--seeds": 8,
        "--step-size": 0.5,
        "--seed": 3,
        "--threads": 2,
        "--fa-threshold": 0.3,
        "--method": "deterministic",
        "--formats": "csv, mat",
        "--edge-features": "count",
    }
    result = runner.invoke(small, ["--keep-self-connections", *(str(each) for pair in words.items() for each in pair)])
    assert result.exit_code == 0, result.output
    assert seen["track"] == TrackOptions(
        n_streamlines=7,
        n_seeds=8,
        step_size_mm=0.5,
        random_seed=3,
        n_threads=2,
        fa_threshold=0.3,
        method="deterministic",
    )
    assert seen["export"] == ExportOptions(formats=("csv", "mat"), edge_features=("count",), keep_self_connections=True)
