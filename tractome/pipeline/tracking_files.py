"""Files that tracking may be given besides what the fit made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid, require_same_grid
from tractome.datatypes.seeds import Mask
from tractome.errors import ImageError, OptionError
from tractome.io.images import read_mask
from tractome.options import TrackOptions

if TYPE_CHECKING:
    from tractome.stages.track import Gates


@dataclass(frozen=True)
class TrackingFiles:
    """Files that say where streamlines start, pass and end.

    Parameters
    ----------
    tissue : Path or None
        Five-tissue-type image, for anatomical constraints.
    seed_mask : Path or None
        Where streamlines may start, on the grid of the scan.
    seed_points : Path or None
        Points to start in: see `io.seed_points`.
    include, exclude : tuple of Path
        Masks of which a streamline must visit all, and may visit none; on any grids.
    within : Path or None
        Mask that ends a streamline where it leaves it; on any grid.
    """

    tissue: Path | None = None
    seed_mask: Path | None = None
    seed_points: Path | None = None
    include: tuple[Path, ...] = ()
    exclude: tuple[Path, ...] = ()
    within: Path | None = None

    def roles(self) -> dict[str, Path]:
        """The files that there are, by role."""
        return {role: path for role, _, path in self._all()}

    def require(self, options: TrackOptions) -> None:
        """Raise unless every file is there and fits the options."""
        for _, flag, path in self._all():
            if not path.is_file():
                message = f"There is no {path}. Check the path given with {flag}."
                raise ImageError(message)
        if options.seed_source == "points" and self.seed_points is None:
            message = "--seed-source points needs a file of points. Give it with --seed-points."
            raise OptionError(message)
        if self.seed_points is not None and options.until_cv is not None:
            message = (
                "--until-cv needs seeds in random order, and those of --seed-points are tried one point after the "
                "other: the first of them say nothing of the rest. Give one of the two."
            )
            raise OptionError(message)
        if self.seed_points is not None and self.seed_mask is not None:
            message = "--seed-points and --seed-mask both say where streamlines start. Give one of them."
            raise OptionError(message)

    def _all(self) -> Iterator[tuple[str, str, Path]]:
        for name in ("tissue", "seed_mask", "seed_points"):
            path: Path | None = getattr(self, name)
            if path is not None:
                yield name, "--" + name.replace("_", "-"), path
        for name, paths in (("include", self.include), ("exclude", self.exclude)):
            for number, path in enumerate(paths, start=1):
                yield f"{name}_{number}", f"--{name}", path
        if self.within is not None:
            yield "tracking_mask", "--tracking-mask", self.within

    def read_seed_mask(self, grid: Grid) -> NDArray[np.bool_] | None:
        """The seed mask, which must be on the grid of the scan."""
        if self.seed_mask is None:
            return None
        mask, mask_grid = read_mask(self.seed_mask)
        require_same_grid(grid, mask_grid, "the scan", str(self.seed_mask))
        return mask

    def read_gates(self) -> Gates:
        """The masks to pass, to avoid and to stay in."""
        from tractome.stages.track import Gates

        return Gates(
            tuple(_read(path) for path in self.include),
            tuple(_read(path) for path in self.exclude),
            _read(self.within) if self.within is not None else None,
        )


def _read(path: Path) -> Mask:
    inside, grid = read_mask(path)
    return Mask(str(path), inside, grid)
