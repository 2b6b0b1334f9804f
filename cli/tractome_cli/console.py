"""The only place that prints: results to standard output, everything else to standard error."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from tractome.errors import TractomeError

if TYPE_CHECKING:
    from pathlib import Path

    from rich.progress import Progress as Bars

Progress = Callable[[int, int], None]

EXIT_ERROR = 2
EXIT_BUG = 1
EXIT_INTERRUPTED = 130


class Terminal:
    """What the user sees; hears the pipeline as its listener.

    Bars are drawn only when standard error is a terminal, so logs of batch systems stay short.

    Parameters
    ----------
    verbosity : int
        -1 for errors only, 0 for stages and notes, 1 for the library's information, 2 for its details.
    """

    def __init__(self, verbosity: int = 0) -> None:
        self.verbosity = verbosity
        self._bars: Bars | None = None
        self._notes: set[str] = set()
        level = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}.get(verbosity, logging.DEBUG)
        handler = _Handler(self)
        for name in ("tractome", "tractome_cli"):
            logger = logging.getLogger(name)
            logger.handlers = [handler]
            logger.setLevel(level)
            logger.propagate = False

    def say(self, message: str) -> None:
        """One line about what happens, on standard error; silent with --quiet."""
        if self.verbosity >= 0:
            self._line(message)

    def _line(self, message: str) -> None:
        if self._bars is not None:
            self._bars.console.print(message, markup=False, highlight=False, soft_wrap=True)
        else:
            typer.echo(message, err=True)

    def begins(self, stage: str) -> None:
        """A stage starts to work."""
        self.say(f"{stage} ...")

    def ends(self, stage: str, seconds: float) -> None:
        """A stage is done."""
        self._stop_bars()
        self.say(f"{stage}: done in {seconds:.1f} s")

    def skips(self, stage: str) -> None:
        """A stage was done before."""
        self.say(f"{stage}: already done with these inputs and options")

    def note(self, message: str) -> None:
        """Something to know, once."""
        if message not in self._notes:
            self._notes.add(message)
            self.say(f"note: {message}")

    def progress(self, what: str, unit: str = "") -> Progress | None:
        """A bar with rate and time left, or None where nobody would see it."""
        if self.verbosity < 0 or not sys.stderr.isatty():
            return None
        if self._bars is None:
            self._bars = _bars(unit)
            self._bars.start()
        bars = self._bars
        task = bars.add_task(what, total=None, unit=unit)

        def update(done: int, total: int) -> None:
            bars.update(task, completed=done, total=total)

        return update

    def summary(self, folder: Path, line: str) -> None:
        """The last line of a command: what was made, and where it is."""
        typer.echo(f"{folder}: {line}")

    def _stop_bars(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def close(self) -> None:
        """Take the bars away, whatever happened."""
        self._stop_bars()


def _bars(unit: str) -> Bars:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        Task,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.0f} {task.fields.get('unit', '')}/s" if speed else "")

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        Rate(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


class _Handler(logging.Handler):
    """Shows what the library logs."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__()
        self._terminal = terminal

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.levelno >= logging.WARNING:
            self._terminal.note(message)
        else:
            self._terminal.say(message)


def show(text: str) -> None:
    """A result, on standard output."""
    typer.echo(text)


def show_json(content: Mapping[str, Any]) -> None:
    """A result for programs, on standard output: sorted keys, NaN as null."""
    from tractome.io.atomic import plain

    typer.echo(json.dumps(plain(content), sort_keys=True, indent=2))


def show_table(title: str, rows: Sequence[Sequence[str]], header: Sequence[str] = ()) -> None:
    """A table on standard output: drawn on a terminal, plain aligned columns elsewhere."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        table = Table(*header, title=title, show_header=bool(header), title_justify="left")
        for row in rows:
            table.add_row(*row)
        Console().print(table, markup=False)
        return
    lines = [list(header), *rows] if header else list(rows)
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))] if lines else []
    typer.echo(title)
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        typer.echo(("  " + "  ".join(cells)).rstrip())


class _Terminated(BaseException):
    """The system asked the process to end (SIGTERM): handled like Ctrl-C, so that nothing half-written stays."""


@contextlib.contextmanager
def answering(terminal: Terminal, *, debug: bool, go_on: str) -> Iterator[None]:
    """Turn what ends a command into one sentence and an exit code.

    Parameters
    ----------
    terminal : Terminal
    debug : bool
        Show the traceback too.
    go_on : str
        What to say after Ctrl-C.
    """

    def terminated(*_: object) -> None:
        raise _Terminated

    try:
        before = signal.signal(signal.SIGTERM, terminated)
    except ValueError:  # not the main thread, as in some test runners
        before = None
    try:
        yield
    except TractomeError as error:
        _fail(terminal, f"error: {error}", EXIT_ERROR, debug)
    except (KeyboardInterrupt, _Terminated) as error:
        code = EXIT_INTERRUPTED if isinstance(error, KeyboardInterrupt) else 128 + signal.SIGTERM
        _fail(terminal, f"interrupted: nothing half-written is left. {go_on}", code, debug)
    except MemoryError:
        _fail(terminal, "error: not enough memory. Close other programs or use a machine with more.", EXIT_ERROR, debug)
    except BrokenPipeError:
        raise  # the reader of our output went away; typer ends quietly
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        hint = "" if debug else " Run again with --debug to see where, and report it please."
        _fail(terminal, f"internal error: {type(error).__name__}: {error}. This is a bug.{hint}", EXIT_BUG, debug)
    finally:
        terminal.close()
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _fail(terminal: Terminal, message: str, code: int, debug: bool) -> None:
    terminal.close()
    if debug:
        import traceback

        typer.echo(traceback.format_exc(), err=True)
    typer.echo(message, err=True)
    raise typer.Exit(code)
