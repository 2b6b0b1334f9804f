"""What a scan's own fibres say about its gradient table: which flip and order of axes makes them run on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes._checks import frozen, require_shape
from tractome.errors import GradientError

VERDICTS = ("as_given", "other", "cannot_tell")


@dataclass(frozen=True, eq=False)
class OrientationVerdict:
    """Which of the 24 distinguishable signed permutations of the directions gives the most coherent fibres.

    A direction and its opposite are one measurement, so of the 48 signed permutations two each are the same. A scan
    that is mirrored *together with* its directions is as coherent as the right one: whether left is left is not decided
    here.

    Parameters
    ----------
    verdict : str
        ``"as_given"``, ``"other"`` (another transform is better beyond doubt) or ``"cannot_tell"``.
    axes : str
        ``"image"``: transforms are of directions as FSL's bvecs hold them, along the image's axes with x negated where
        the affine's determinant is positive. ``"world"``: of directions as MRtrix3's tables hold them, in RAS+.
    transforms : (24, 3, 3) int8
        Signed permutations T: corrected direction = T @ direction in the file. The first one is the identity.
    scores : (24,) float64
        Per transform, how much more alike (in squared cosine) the directions of two neighbours are when a fibre runs
        from one to the other than when it does not; unitless, 0 where direction and neighbourhood have nothing to do
        with each other.
    margins : (24,) float64
        How many standard errors (jackknife over blocks of space) the best transform's score lies above each; infinite
        for the best itself, NaN where there are too few blocks to tell.
    n_voxels, n_blocks : int
        What the judgement stands on.
    """

    verdict: str
    axes: str
    transforms: NDArray[np.int8]
    scores: NDArray[np.float64]
    margins: NDArray[np.float64]
    n_voxels: int
    n_blocks: int

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            message = f"A verdict is one of {', '.join(VERDICTS)}; got {self.verdict!r}."
            raise GradientError(message)
        for name, dtype, shape in (
            ("transforms", np.int8, (None, 3, 3)),
            ("scores", np.float64, (len(self.transforms),)),
            ("margins", np.float64, (len(self.transforms),)),
        ):
            array = frozen(getattr(self, name), dtype)
            require_shape(array, shape, f"The verdict's {name}", GradientError)
            object.__setattr__(self, name, array)

    @property
    def best(self) -> int:
        """Row of the transform with the highest score."""
        return int(np.argmax(self.scores))

    @property
    def transform(self) -> NDArray[np.int8]:
        """The transform with the highest score, (3, 3) int8."""
        best: NDArray[np.int8] = self.transforms[self.best]
        return best

    @property
    def runner_up(self) -> int:
        """Row of the transform that the best one is least sure to beat."""
        return int(np.argmin(np.where(np.isnan(self.margins), 0.0, self.margins)))

    @property
    def margin(self) -> float:
        """Standard errors between the best transform and its runner-up."""
        return float(self.margins[self.runner_up])

    @property
    def fix(self) -> str:
        """What turns the directions in the file into the best ones, such as ``"swap x and z"``; "nothing" if given."""
        return transform_words(self.transform)

    @property
    def summary(self) -> str:
        """The verdict in a sentence, with its numbers."""
        said = f"{self.margin:.1f} standard errors before the next ({transform_words(self.transforms[self.runner_up])})"
        if self.verdict == "as_given":
            return f"The directions as given make the most coherent fibres of all 24 flips and orders of axes, {said}."
        if self.verdict == "other":
            return (
                f"Fibres are coherent after this change of the directions: {self.fix}; {said}, and "
                f"{self.margins[0]:.1f} before the directions as given."
            )
        if np.isnan(self.margin):
            return "Too little white matter to tell whether the directions are flipped or exchanged."
        return (
            f"Whether the directions are flipped or exchanged cannot be told from these fibres: the best of 24 ways is "
            f"only {said}."
        )


def transform_words(transform: NDArray[np.int8]) -> str:
    """A signed permutation of x, y and z in words; it and its opposite are the same change.

    Parameters
    ----------
    transform : (3, 3) int
        New direction = transform @ old direction.

    Returns
    -------
    str
        Such as ``"nothing"``, ``"negate y"``, ``"swap x and z, then negate y"`` or ``"take y, z, x as x, y, z"``.
    """
    if (transform < 0).sum() > 1:
        transform = -transform
    sources = [int(np.flatnonzero(row)[0]) for row in transform]
    moved = [axis for axis in range(3) if sources[axis] != axis]
    words = []
    if len(moved) == 2:
        words.append(f"swap {' and '.join('xyz'[axis] for axis in moved)}")
    elif moved:
        words.append(f"take {', '.join('xyz'[axis] for axis in sources)} as x, y, z")
    negated = np.flatnonzero(transform.sum(axis=1) < 0)
    words += [f"negate {'xyz'[axis]}" for axis in negated]
    return ", then ".join(words) or "nothing"
