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


class _Stopped(BaseException):
    """Ctrl-C, or the system asked the process to end: nothing half-written may stay."""


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
        self.stopped_by: int | None = None
        """Signal that asked the program to stop, if one did."""
        level = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}.get(verbosity, logging.DEBUG)
        handler = _Handler(self)
        for name in ("tractome", "tractome_cli"):
            logger = logging.getLogger(name)
            logger.handlers = [handler]
            logger.setLevel(level)
            logger.propagate = False

    def stop(self, number: int, _: object = None) -> None:
        """Handle a signal: stop here, or where `go_on` is called next.

        Python drops an exception that is raised inside a destructor, so the wish to stop must be remembered too.
        """
        self.stopped_by = number
        raise _Stopped

    def go_on(self) -> None:
        """Stop here if that was asked for and got lost."""
        if self.stopped_by is not None:
            raise _Stopped

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
        self.go_on()
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

    def progress(self, what: str, unit: str = "") -> Progress:
        """A bar with rate and time left, where somebody would see it."""
        if self.verbosity < 0 or not sys.stderr.isatty():
            return lambda done, total: self.go_on()
        if self._bars is None:
            self._bars = _bars(unit)
            self._bars.start()
        bars = self._bars
        task = bars.add_task(what, total=None, unit=unit)

        def update(done: int, total: int) -> None:
            self.go_on()
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
    before: dict[int, Any] = {}
    with contextlib.suppress(ValueError):  # not the main thread, as in some test runners
        before = {number: signal.signal(number, terminal.stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
        terminal.go_on()
    except (typer.Exit, typer.Abort, BrokenPipeError):
        raise  # typer's own business; the last one is a reader of our output that went away
    except (Exception, KeyboardInterrupt, _Stopped) as error:
        _fail(terminal, *_explained(error, terminal.stopped_by, go_on, debug), debug)
    finally:
        terminal.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def _explained(error: BaseException, stopped_by: int | None, go_on: str, debug: bool) -> tuple[str, int]:
    """One sentence for what ended a command, and its exit code."""
    # Whatever went wrong after Ctrl-C did so because of it.
    if stopped_by is not None or isinstance(error, KeyboardInterrupt):
        code = 128 + (stopped_by or signal.SIGINT)
        return f"interrupted: nothing half-written is left. {go_on}", code
    if isinstance(error, TractomeError):
        return f"error: {error}", EXIT_ERROR
    if isinstance(error, MemoryError):
        return "error: not enough memory. Close other programs or use a machine with more.", EXIT_ERROR
    hint = "" if debug else " Run again with --debug to see where, and report it please."
    return f"internal error: {type(error).__name__}: {error}. This is a bug.{hint}", EXIT_BUG


def _fail(terminal: Terminal, message: str, code: int, debug: bool) -> None:
    terminal.close()
    if debug:
        import traceback

        typer.echo(traceback.format_exc(), err=True)
    typer.echo(message, err=True)
    raise typer.Exit(code)
