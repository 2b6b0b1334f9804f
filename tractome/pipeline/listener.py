"""How the pipeline tells what it is doing, without printing."""

from __future__ import annotations

import logging
from collections.abc import Callable

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with what is done and the total, in one unit."""


class Listener:
    """Hears what the pipeline does. This one only logs; the command line draws."""

    def begins(self, stage: str) -> None:
        """A stage starts to work."""
        logger.info("%s: begins", stage)

    def progress(self, what: str, unit: str = "") -> Progress | None:
        """A callback for one piece of work, or None when nobody looks."""
        return None

    def note(self, message: str) -> None:
        """Something that the user should know and that is no error."""
        logger.warning(message)

    def ends(self, stage: str, seconds: float) -> None:
        """A stage is done."""
        logger.info("%s: done in %.1f s", stage, seconds)

    def skips(self, stage: str) -> None:
        """A stage was done before, with the same inputs and options."""
        logger.info("%s: done before", stage)
