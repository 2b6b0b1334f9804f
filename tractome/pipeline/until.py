"""Tracking until it is enough: the edges of a parcellation are looked at while streamlines come."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tractome.datatypes.convergence import Look
from tractome.datatypes.tractogram import StreamlineTable
from tractome.errors import TrackingError
from tractome.io.convergence import draw_convergence, write_convergence
from tractome.options import ConnectOptions, TrackOptions
from tractome.pipeline.atlases import choose_atlas, read_parcellation
from tractome.pipeline.ledger import Facts, Ledger, Made
from tractome.pipeline.listener import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

ROLES = ("until_labels", "until_regions")
"""Roles of the files that say when tracking stops, but not what a streamline is."""

HOPELESS = 10_000
"""Tracking gives up when so many streamlines joined no two regions."""


@dataclass(frozen=True)
class Until:
    """What `until_cv` adds to the step of tracking.

    Parameters
    ----------
    ledger : Ledger
    target_cv : float
    n_most : int
        Accepted streamlines at most.
    atlas : str
        Whose edges are looked at.
    options : ConnectOptions
        How ends are given to its regions.
    """

    ledger: Ledger
    target_cv: float
    n_most: int
    atlas: str
    options: ConnectOptions

    @classmethod
    def of(
        cls, ledger: Ledger, options: TrackOptions, atlas: str | None = None, connect: ConnectOptions | None = None
    ) -> Until | None:
        """What the options ask for; None where they give a number.

        Parameters
        ----------
        ledger : Ledger
        options : TrackOptions
        atlas : str or None
            Which parcellation; may be None when the subject has one.
        connect : ConnectOptions, optional
            How ends are given to its regions.

        Raises
        ------
        TableError, OptionError
            The subject has no parcellation, or several and none was named.
        """
        if options.until_cv is None:
            return None
        atlas = choose_atlas(ledger, atlas, "parcellate")
        ledger.finished(f"parcellate/{atlas}")
        return cls(ledger, options.until_cv, options.max_streamlines, atlas, connect or ConnectOptions())

    def key(self) -> dict[str, Any]:
        """What the streamlines kept depend on, besides the options of tracking."""
        radius_mm = None if self.options.assignment == "end-voxel" else self.options.radius_mm
        return {"until": {"atlas": self.atlas, "assignment": self.options.assignment, "radius_mm": radius_mm}}

    def inputs(self) -> dict[str, Path]:
        """The files of the parcellation, by role."""
        subject = self.ledger.subject
        return dict(zip(ROLES, (subject.labels(self.atlas), subject.regions(self.atlas)), strict=True))


class Watch:
    """Counts edges as streamlines come, looks at them in fixed rounds, and says when they are enough."""

    def __init__(self, until: Until) -> None:
        from tractome.stages.connect import EdgeCounts, round_ends

        self._until = until
        self._counts = EdgeCounts(read_parcellation(until.ledger, until.atlas), until.options)
        self._ends = round_ends(until.n_most)
        self._next = next(self._ends)
        self.looks: list[Look] = []

    @property
    def needs_directions(self) -> bool:
        """Whether tables must hold the directions in which streamlines end."""
        return self._counts.needs_directions

    def round_ends(self) -> Iterator[int]:
        """Where blocks must end."""
        from tractome.stages.connect import round_ends

        return round_ends(self._until.n_most)

    def is_enough(self, table: StreamlineTable) -> bool:
        """Count the streamlines of one table, and look at the edges where a round ends.

        Raises
        ------
        TrackingError
            So many streamlines joined no two regions that more of them will not either.
        """
        counts, until = self._counts, self._until
        counts.add(table)
        if counts.n_streamlines < self._next:
            return False
        self._next = next(self._ends, self._next)
        look = counts.look(until.target_cv)
        self.looks.append(look)
        if look.n_edges == 0 and look.n_streamlines >= HOPELESS:
            message = (
                f"None of {look.n_streamlines:,} streamlines joins two regions of {until.atlas}, so --until-cv waits "
                "in vain. Look at the pictures of the labels and the streamlines in figures/: labels and scan must lie "
                "in one space, and masks must let streamlines reach two regions."
            )
            raise TrackingError(message)
        return look.is_enough(until.target_cv)

    def progress(self, update: Progress | None) -> Progress | None:
        """A callback that shows how far it is to the number that will be enough, as far as one can tell."""
        if update is None:
            return None
        return lambda done, _: update(done, max(done, min(self._until.n_most, self._n_expected())))

    def _n_expected(self) -> int:
        """Streamlines that will be enough: the square of the error falls with their number."""
        last = self.looks[-1] if self.looks else None
        if last is None or last.n_edges == 0:
            return self._until.n_most
        return int(last.n_streamlines * max(1.0, (last.largest_cv / self._until.target_cv) ** 2))

    def write(self, made: Made) -> Facts:
        """Write the curve and its picture; what was reached, and a note where that is not what was wanted."""
        until, last = self._until, self.looks[-1]
        subject, is_met = until.ledger.subject, last.is_enough(until.target_cv)
        write_convergence(made(subject.convergence), self.looks)
        draw_convergence(made(subject.figure("convergence")), self.looks, until.target_cv, until.atlas)
        if not is_met:
            reached = (
                f"the largest coefficient of variation is {last.largest_cv:.3g}; about "
                f"{round(self._n_expected(), -3):,} streamlines would do"
                if last.n_edges
                else "no streamline joins two regions"
            )
            until.ledger.listener.note(
                f"--until-cv {until.target_cv:g} was not met: at {last.n_streamlines:,} streamlines {reached}. Give a "
                "larger --max-streamlines, or a larger --until-cv."
            )
        return {
            "until_cv": until.target_cv,
            "until_atlas": until.atlas,
            "cv_met": is_met,
            "cv_reached": last.largest_cv if last.n_edges else None,
            "n_edges_looked_at": last.n_edges,
            "n_looks": len(self.looks),
        }
