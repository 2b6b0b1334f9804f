"""The house keeps its own rules: sizes, floors, versions, and documents that say what is so."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE_ROOTS = ("tractome", "cli", "atlases", "benchmarks", "sample_data")
PACKAGES = ("tractome", "tractome_cli", "tractome_atlases")
in_checkout = pytest.mark.skipif(not (ROOT / "Makefile").exists(), reason="only in a checkout")


def _python_files() -> list[Path]:
    return sorted(
        path
        for root in SOURCE_ROOTS
        for path in (ROOT / root).rglob("*.py")
        if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
    )


def _documents() -> list[Path]:
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _tracked_files() -> list[Path]:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("no git here")
    listed = subprocess.run([git, "-C", ROOT, "ls-files", "-z"], capture_output=True, text=True, check=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


@pytest.mark.skipif("TRACTOME_TEST_INSTALLED" not in os.environ, reason="make test-wheel runs it")
@pytest.mark.parametrize("package", PACKAGES)
def test_the_wheel_is_what_is_tested(package: str) -> None:
    home = Path(importlib.import_module(package).__file__ or "").parent
    assert home.parent == Path(sys.prefix, "lib", f"python3.{sys.version_info.minor}", "site-packages")
    assert (home / "py.typed").exists()


@in_checkout
@pytest.mark.parametrize("path", _python_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_and_no_function_holds_two_ideas(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 400
    longest = 120 if "kernels" in path.parts else 60
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            assert length <= longest, f"{node.name} has {length} lines"


@in_checkout
def test_the_floors_hold() -> None:
    program = Path(sys.executable).parent / "lint-imports"
    if not program.exists():
        pytest.skip("import-linter is not installed")
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


@in_checkout
def test_every_place_names_the_same_version() -> None:
    import tomllib

    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert importlib.import_module("tractome").__version__ == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    changes = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)
    assert changes[0] == "Unreleased"
    assert changes[1:2] in ([], [version])


def _shell_lines(path: Path) -> Iterator[list[str]]:
    """Commands in the fenced blocks of a document, continuation lines joined, comments and prompts gone."""
    for block in re.findall(r"^```(?:bash|sh|console|text)?\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            words = line.split("#")[0].removeprefix("$ ").split()
            if words:
                yield words


@in_checkout
@pytest.mark.parametrize("path", _documents() if (ROOT / "docs").exists() else [], ids=lambda path: path.name)
def test_documents_name_only_commands_and_options_that_exist(path: Path) -> None:
    import typer

    from tractome_cli.app import app

    program = typer.main.get_command(app)
    for words in _shell_lines(path):
        if words[0] != "tractome":
            continue
        command, rest = program, words[1:]
        while rest and hasattr(command, "get_command") and not rest[0].startswith("-"):
            context = typer.Context(command)
            found = command.get_command(context, rest[0])
            assert found is not None, f"{' '.join(words)}: there is no command {rest[0]!r}"
            command, rest = found, rest[1:]
        known = {"--help", "--version"} | {
            name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)
        }
        for word in rest:
            if re.match(r"-{1,2}[a-z]", word):
                assert word.split("=")[0] in known, f"{' '.join(words)}: there is no option {word}"


@in_checkout
def test_definitions_say_what_the_sidecars_say() -> None:
    from tractome.datatypes.measures import MEASURES

    text = (ROOT / "docs" / "definitions.md").read_text()
    for measure in MEASURES.values():
        assert f"| `{measure.name}` | {measure.unit} | {measure.definition} |" in text


@in_checkout
def test_every_command_has_its_page() -> None:
    import typer

    from tractome_cli.app import app

    commands = set(typer.main.get_command(app).commands)
    assert {path.stem for path in (ROOT / "docs" / "commands").glob("*.md")} == commands
    for name in commands:
        assert (ROOT / "docs" / "commands" / f"{name}.md").read_text().startswith(f"# tractome {name}\n")


@in_checkout
@pytest.mark.parametrize("path", _documents() if (ROOT / "docs").exists() else [], ids=lambda path: path.name)
def test_documents_name_only_make_targets_that_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"`make ([a-z-]+)", path.read_text(encoding="utf-8")))
    named |= {words[1] for words in _shell_lines(path) if words[0] == "make" and len(words) > 1}
    assert named <= targets


@in_checkout
@pytest.mark.parametrize("path", _documents() if (ROOT / "docs").exists() else [], ids=lambda path: path.name)
def test_links_and_pictures_of_documents_exist(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            place = path.parent / target
            assert place.exists(), target
            assert place.suffix != ".png" or place.stat().st_size < 300_000


# Pieced together, so that this file does not name what it forbids.
_FORBIDDEN = [
    *("/" + folder + "/" for folder in ("work", "root", "opt/wheels", "opt/pypi")),
    "pypi" + ".org",
    "python" + "hosted",
    "registry" + ".npmjs",
    "deb." + "debian",
]


@in_checkout
def test_no_tracked_file_names_a_machine_or_a_registry() -> None:
    found = []
    for path in _tracked_files():
        content = path.read_bytes()
        if b"\0" in content[:8192] or path.suffix in (".gz", ".png", ".npz"):
            continue
        text = content.decode("utf-8", errors="replace")
        found += [f"{path.relative_to(ROOT)}: {word}" for word in _FORBIDDEN if word in text]
    assert not found


@in_checkout
def test_the_library_never_prints() -> None:
    for path in (ROOT / "tractome").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != "print", f"{path}:{node.lineno}"


@in_checkout
def test_what_the_repository_carries_stays_small() -> None:
    sizes = {path: path.stat().st_size for path in _tracked_files()}
    assert sum(size for path, size in sizes.items() if path.is_relative_to(ROOT / "sample_data")) <= 6_000_000
    assert max(sizes.values()) <= 6_000_000


@in_checkout
def test_ci_runs_every_gate() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    gates = re.findall(r"^step .* make ([\w./-]+)$", script, re.M)
    assert {"lint", "test", "demo", "check-gnn"} <= set(gates)
    assert gates[-1] == "check-gnn"
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


@in_checkout
@pytest.mark.parametrize(
    ("complaint", "answer"),
    [("import venv", "apt-get install python3-venv"), ("version_info", "needs Python 3.11 or later")],
)
def test_make_says_what_a_bare_machine_lacks(tmp_path: Path, complaint: str, answer: str) -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "pyproject.toml").touch()
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\ncase "$*" in *"{complaint}"*) exit 1;; esac\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    done = subprocess.run(
        ["make", "demo", f"PYTHON={python}"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert answer in done.stderr
    assert not (tmp_path / ".venv" / ".made").exists()
