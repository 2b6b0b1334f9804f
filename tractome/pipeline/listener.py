"""How the pipeline tells what it is doing, without printing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with what is done and the total, in one unit."""


class Listener(Protocol):
    """Hears what the pipeline does."""

    def begins(self, stage: str) -> None:
        """A stage starts to work."""

    def progress(self, what: str, unit: str = "") -> Progress | None:
        """A callback for one piece of work, or None when nobody looks."""

    def note(self, message: str) -> None:
        """Something that the user should know and that is no error."""

    def ends(self, stage: str, seconds: float) -> None:
        """A stage is done."""

    def skips(self, stage: str) -> None:
        """A stage was done before, with the same inputs and options."""


class LogListener:
    """A listener that draws and prints nothing: it only logs."""

    def begins(self, stage: str) -> None:
        """Log the beginning of a stage."""
        logger.info("%s: begins", stage)

    def progress(self, what: str, unit: str = "") -> Progress | None:
        """Nobody looks."""
        return None

    def note(self, message: str) -> None:
        """Log a note as a warning."""
        logger.warning(message)

    def ends(self, stage: str, seconds: float) -> None:
        """Log the end of a stage."""
        logger.info("%s: done in %.1f s", stage, seconds)

    def skips(self, stage: str) -> None:
        """Log that a stage was done before."""
        logger.info("%s: done before", stage)
