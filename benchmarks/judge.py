"""What a set of streamline weights costs, by a slow program of its own: the cost function of SIFT2.

    python benchmarks/judge.py TRACKS.tck FIXELS PROCESSING_MASK WEIGHTS [WEIGHTS ...]

FIXELS is a folder that MRtrix3's ``fod2fixel FOD FIXELS -afd afd.mif`` made, with ``index``, ``directions`` and ``afd``
as .nii; those are the lobes that ``tcksift2`` weighs against. Streamlines are cut into short pieces, each of which lies
in the voxel of its middle; what lies in one voxel in a row goes to the fixel nearest to its direction. Nothing of
tractome's kernels is used. The last line printed is one JSON object per set of weights.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PIECE_VOX = 0.1
"""Longest piece, as a share of a voxel."""
VARIATION, MIN_COVERAGE = 0.1, 0.1
"""Defaults of both programs: strength of the total variation, and share of the density below which a fixel is left."""

Array = NDArray[Any]


class Fixels:
    """Lobes as MRtrix3 wrote them, with the share of their voxels."""

    def __init__(self, folder: Path, processing_mask: Path) -> None:
        import nibabel

        image = nibabel.load(folder / "index.nii")
        index = np.asarray(image.dataobj).astype(np.int64)
        self.counts, self.firsts = index[..., 0], index[..., 1]
        self.to_voxel = np.linalg.inv(image.affine)
        directions = np.squeeze(np.asarray(nibabel.load(folder / "directions.nii").dataobj)).astype(np.float64)
        self.directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        self.density = np.ravel(np.asarray(nibabel.load(folder / "afd.nii").dataobj)).astype(np.float64)
        shares = np.asarray(nibabel.load(processing_mask).dataobj).astype(np.float64)
        self.share = np.zeros(len(self.density))
        voxels = np.flatnonzero(self.counts)
        owner = np.repeat(voxels, self.counts.flat[voxels])
        rank = np.arange(len(owner)) - np.repeat(np.cumsum(self.counts.flat[voxels]), self.counts.flat[voxels])
        self.share[self.firsts.flat[owner] + rank + self.counts.flat[owner]] = shares.flat[owner]


def _pieces(points: Array, number: Array, to_voxel: Array) -> tuple[Array, Array, Array]:
    """Vector (mm), voxel coordinates of the middle and streamline of each short piece."""
    is_within = number[1:] == number[:-1]
    start, way = points[:-1][is_within], np.diff(points, axis=0)[is_within]
    of = number[:-1][is_within]
    longest = np.linalg.norm(way @ to_voxel[:3, :3].T, axis=1)
    n_cuts = np.maximum(1, np.ceil(longest / PIECE_VOX)).astype(np.int64)
    segment = np.repeat(np.arange(len(way)), n_cuts)
    order = np.arange(len(segment)) - np.repeat(np.cumsum(n_cuts) - n_cuts, n_cuts)
    vector = way[segment] / n_cuts[segment, None]
    middle = start[segment] + vector * (order[:, None] + 0.5)
    return vector, middle @ to_voxel[:3, :3].T + to_voxel[:3, 3], of[segment]


def contributions(tck: Path, fixels: Fixels) -> tuple[Array, Array, Array, int]:
    """Streamline, fixel and length (mm) of every visit to a voxel that counts; number of streamlines."""
    from nibabel.streamlines import TckFile

    found: list[tuple[Array, Array, Array]] = []
    block: list[Array] = []
    n = 0

    def work() -> None:
        points = np.concatenate(block).astype(np.float64)
        number = np.repeat(np.arange(n - len(block), n), [len(each) for each in block])
        vector, at, of = _pieces(points, number, fixels.to_voxel)
        voxel = np.floor(at + 0.5).astype(np.int64)
        is_in = ((voxel >= 0) & (voxel < fixels.counts.shape)).all(axis=1)
        flat = np.where(is_in, np.ravel_multi_index(np.where(is_in[:, None], voxel, 0).T, fixels.counts.shape), -1)
        begins = np.flatnonzero(np.concatenate([[True], (flat[1:] != flat[:-1]) | (of[1:] != of[:-1])]))
        chord = np.add.reduceat(vector, begins)
        length = np.add.reduceat(np.linalg.norm(vector, axis=1), begins)
        place, owner = flat[begins], of[begins]
        kept = (place >= 0) & (fixels.counts.flat[np.maximum(place, 0)] > 0)
        place, owner, chord, length = place[kept], owner[kept], chord[kept], length[kept]
        best, fixel = np.full(len(place), -1.0), np.zeros(len(place), np.int64)
        for rank in range(int(fixels.counts.max())):
            has = fixels.counts.flat[place] > rank
            row = np.where(has, fixels.firsts.flat[place] + rank, 0)
            cosine = np.where(has, np.abs((fixels.directions[row] * chord).sum(axis=1)), -2.0)
            better = cosine > best
            best[better], fixel[better] = cosine[better], row[better]
        counts = fixels.share[fixel] > 0
        found.append((owner[counts], fixel[counts], length[counts]))

    for streamline in TckFile.load(tck, lazy_load=True).streamlines:
        block.append(np.asarray(streamline))
        n += 1
        if len(block) == 500:
            work()
            block = []
    if block:
        work()
    owner, fixel, length = (np.concatenate(each) for each in zip(*found, strict=True))
    return owner, fixel, length, n


def judge(made: tuple[Array, Array, Array, int], fixels: Fixels, weights: Array) -> dict[str, float]:
    """The parts of the cost of a set of weights."""
    owner, fixel, length, n = made
    n_fixels = len(fixels.density)
    coefficient = np.log(weights)
    lengths = np.bincount(fixel, length, n_fixels)
    weighted = np.bincount(fixel, length * weights[owner], n_fixels)
    mu = (fixels.share * fixels.density).sum() / (fixels.share * lengths).sum()
    term = fixels.share * (mu * weighted - fixels.density) ** 2
    fitted = (lengths > 0) & (mu * lengths >= MIN_COVERAGE * fixels.density)
    summed = np.bincount(fixel, length * coefficient[owner], n_fixels)
    mean = np.divide(summed, lengths, out=np.zeros(n_fixels), where=lengths > 0)
    counted = fixels.share[fixel] * length
    spread = np.bincount(owner, counted * (coefficient[owner] - mean[fixel]) ** 2, n)
    whole = np.bincount(owner, counted, n)
    variation = float((spread[whole > 0] / whole[whole > 0]).sum())
    variation *= VARIATION * float((fixels.share * fixels.density**2).sum()) / n
    found = {"mu": float(mu), "all": float(term.sum()), "fitted": float(term[fitted].sum()), "variation": variation}
    return found | {"cost": found["fitted"] + variation}


def read(path: Path) -> Array:
    """Weights of either program."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return np.array(" ".join(lines).split(), dtype=np.float64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tracks", type=Path)
    parser.add_argument("fixels", type=Path)
    parser.add_argument("processing_mask", type=Path)
    parser.add_argument("weights", type=Path, nargs="+")
    given = parser.parse_args()
    fixels = Fixels(given.fixels, given.processing_mask)
    made = contributions(given.tracks, fixels)
    found = {"none": judge(made, fixels, np.ones(made[3]))}
    found |= {str(path): judge(made, fixels, read(path)) for path in given.weights}
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
