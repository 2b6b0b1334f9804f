"""group: one connectome of many subjects, and how far repeated scans of the same subjects agree."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.connectome import Connectome, Measure
from tractome.errors import OptionError, TableError
from tractome.options import GroupOptions

_OVER = "Here the mean over the subjects that have both regions."

MIN_REPEATED = 3
"""Fewer subjects than this have no correlation among them."""


def group(connectomes: Sequence[Connectome], options: GroupOptions) -> Connectome:
    """Mean matrices of many subjects over the edges that they share.

    An edge is kept when at least `consensus_share` of the subjects have it (de Reus and van den Heuvel 2013, NeuroImage
    70:402); of those, with `group_density`, the most consistent ones: the lowest coefficient of variation over subjects
    (Roberts et al. 2017, NeuroImage 145:118).

    Parameters
    ----------
    connectomes : sequence of Connectome
        Two at least, of the same regions in the same order.
    options : GroupOptions

    Returns
    -------
    Connectome
        Each measure that all subjects have, but for those that say how sure a subject's edge is: of what adds up the
        mean over all subjects, 0 where one lacks the edge; of a mean such as FA the mean over the subjects that have
        it. Besides ``prevalence``, the share of subjects with the edge, and ``cv``, the coefficient of variation of the
        edge measure. Centroids and volumes are means. A subject that lacks a region says nothing of its edges: all is
        over the subjects that have both regions.

    Raises
    ------
    TableError
        Fewer than two subjects, or regions that are not the same.
    OptionError
        No measure that all have.
    """
    require_same_regions(connectomes)
    shared = [name for name in connectomes[0].plain_measures if all(name in each.matrices for each in connectomes)]
    name = options.group_measure or ("count" if "count" in shared else (shared or [""])[0])
    if name not in shared:
        message = f"group_measure: {name!r} is not in every subject; all have: {', '.join(shared) or 'nothing'}."
        raise OptionError(message)
    present = np.stack([_present(each) for each in connectomes])
    has_both = present[:, :, None] & present[:, None, :]
    weights = np.stack([np.nan_to_num(each.matrices[name]) for each in connectomes])
    prevalence = _mean(weights != 0, has_both)
    mean = _mean(weights, has_both)
    number = has_both.sum(axis=0)
    spread = np.sqrt(np.where(has_both, (weights - mean) ** 2, 0.0).sum(axis=0) / np.maximum(number - 1, 1))
    cv = np.divide(spread, np.abs(mean), out=np.full_like(mean, np.nan), where=(mean != 0) & (number > 1))
    kept = (prevalence >= options.consensus_share) & (prevalence > 0)
    if options.group_density is not None:
        kept &= _most_consistent(cv, kept, options.group_density)
    matrices, measures = {}, {}
    for each in shared:
        measure = connectomes[0].measures[each]
        stacked = np.stack([one.matrices[each] for one in connectomes])
        if measure.is_mean:
            matrices[each] = np.where(kept, _mean(stacked, np.isfinite(stacked), np.nan), np.nan)
        else:
            matrices[each] = np.where(kept, _mean(stacked, has_both), 0.0)
        measures[each] = dataclasses.replace(measure, definition=f"{measure.definition} {_OVER}")
    matrices["prevalence"], matrices["cv"] = np.where(kept, prevalence, 0.0), np.where(kept, cv, np.nan)
    shared_by = "Share of the subjects with both regions that have the edge."
    measures["prevalence"] = Measure("prevalence", "unitless", shared_by, False)
    measures["cv"] = Measure(
        "cv",
        "unitless",
        f"Standard deviation over subjects of {name}, divided by its mean; 0 where one lacks it.",
        True,
    )
    first, centroids = connectomes[0], np.stack([each.centroids_mm for each in connectomes])
    n_pairs = first.n_regions * (first.n_regions - 1) // 2
    return Connectome(
        regions=first.regions,
        centroids_mm=_mean(centroids, np.isfinite(centroids), np.nan),
        volumes_mm3=_mean(np.stack([each.volumes_mm3 for each in connectomes]), present),
        matrices=matrices,
        measures=measures,
        n_streamlines=sum(each.n_streamlines for each in connectomes),
        n_unassigned=sum(each.n_unassigned for each in connectomes),
        metadata={
            "atlas": first.regions.atlas,
            "n_subjects": str(len(connectomes)),
            "edges_from": name,
            "consensus_share": f"{options.consensus_share:g}",
            "group_density": "none" if options.group_density is None else f"{options.group_density:g}",
            "missing_regions": _missing(first.regions.names, present),
            "density": f"{np.count_nonzero(np.triu(kept, 1)) / max(n_pairs, 1):.6g}",
        },
    )


def require_same_regions(connectomes: Sequence[Connectome]) -> None:
    """Raise TableError unless there are two connectomes at least, of the same regions in the same order."""
    if len(connectomes) < 2:
        message = f"A group needs at least two subjects; got {len(connectomes)}."
        raise TableError(message)
    first = connectomes[0].regions
    for number, each in enumerate(connectomes[1:], start=2):
        if each.regions.names != first.names:
            differ = sorted(set(each.regions.names) ^ set(first.names))[:3]
            message = (
                f"The regions of subject {number} are not those of the first ({', '.join(differ) or 'another order'}). "
                "Subjects are put together only with the same region table; give it to each of them."
            )
            raise TableError(message)


def _most_consistent(cv: NDArray[np.float64], kept: NDArray[np.bool_], density: float) -> NDArray[np.bool_]:
    """The edges of lowest variation, never more than a share of `density` of all pairs; equal ones together."""
    n_regions = len(cv)
    wanted = int(np.floor(density * (n_regions * (n_regions - 1) // 2) + 1e-9))
    values = np.sort(cv[np.triu(kept, 1)])
    if len(values) <= wanted:
        return np.ones_like(kept)
    lower = values[:wanted][values[:wanted] < values[wanted]]
    return cv <= (lower[-1] if len(lower) else -1.0)


def _present(connectome: Connectome) -> NDArray[np.bool_]:
    """Which regions the subject has; a matrix made elsewhere may not know volumes, and then it has all."""
    has_volume: NDArray[np.bool_] = connectome.volumes_mm3 > 0
    return has_volume if has_volume.any() else np.ones_like(has_volume)


def _missing(names: Sequence[str], present: NDArray[np.bool_]) -> str:
    n_have, n = present.sum(axis=0), len(present)
    return "; ".join(f"{name} (in {k} of {n})" for name, k in zip(names, n_have, strict=True) if k < n)


def _mean(
    stacked: NDArray[np.float64] | NDArray[np.bool_], counted: NDArray[np.bool_], absent: float = 0.0
) -> NDArray[np.float64]:
    """Mean over the first axis of what is counted; `absent` where nothing is."""
    total = np.where(counted, stacked, 0.0).sum(axis=0)
    number = counted.sum(axis=0)
    mean: NDArray[np.float64] = np.divide(total, number, out=np.full(total.shape, absent), where=number > 0)
    return mean


@dataclass(frozen=True)
class Reliability:
    """How far repeated scans of the same subjects agree, over the edges that any scan has.

    `icc_median` and `icc_weighted` are of ICC(2,1) per edge, the second weighted by the edge's mean; `within` and
    `between` are mean Pearson correlations of log(1 + value) between two scans of one subject, and of two subjects;
    `identified` is the share of first scans whose most similar second scan is the same subject's.
    """

    measure: str
    n_subjects: int
    n_edges: int
    icc_median: float
    icc_weighted: float
    share_above_075: float
    """Share of the edges with an ICC above 0.75, called excellent by Cicchetti (1994)."""
    within: float
    between: float
    identified: float

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, for JSON."""
        return dataclasses.asdict(self)


def reliability(first: Sequence[Connectome], second: Sequence[Connectome], measure: str) -> Reliability:
    """Compare two scans of each of several subjects, given in the same order.

    Raises
    ------
    TableError
        Fewer than three subjects, unequal numbers, or regions that are not the same.
    OptionError
        The measure is not in all of them.
    """
    if len(first) != len(second) or len(first) < MIN_REPEATED:
        message = (
            f"There are {len(first)} first and {len(second)} second scans; one of each is needed of at least "
            f"{MIN_REPEATED} subjects."
        )
        raise TableError(message)
    require_same_regions([*first, *second])
    if not all(measure in each.matrices for each in (*first, *second)):
        message = f"measure: not all of these connectomes have {measure!r}. Name one that all have."
        raise OptionError(message)
    upper = np.triu_indices(first[0].n_regions, 1)
    values = np.stack(
        [[np.nan_to_num(each.matrices[measure])[upper] for each in scans] for scans in (first, second)], axis=2
    )  # subjects, edges, scans
    values = values[:, (values != 0).any(axis=(0, 2))]
    icc = intraclass_correlation(values.transpose(1, 0, 2))
    mean = np.abs(values).mean(axis=(0, 2))
    known = np.isfinite(icc)
    logs = np.log1p(np.maximum(values, 0.0))
    n_subjects = len(first)
    similar = np.corrcoef(logs[:, :, 0], logs[:, :, 1])[:n_subjects, n_subjects:]
    own = np.diag(similar)
    return Reliability(
        measure=measure,
        n_subjects=n_subjects,
        n_edges=int(known.sum()),
        icc_median=float(np.median(icc[known])) if known.any() else float("nan"),
        icc_weighted=float((icc[known] * mean[known]).sum() / mean[known].sum()) if known.any() else float("nan"),
        share_above_075=float((icc[known] > 0.75).mean()) if known.any() else float("nan"),
        within=float(own.mean()),
        between=float((similar.sum() - own.sum()) / (n_subjects * (n_subjects - 1))),
        identified=float((similar.argmax(axis=1) == np.arange(n_subjects)).mean()),
    )


def intraclass_correlation(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """ICC(2,1): absolute agreement of single scans, subjects and scans random (Shrout and Fleiss 1979).

    Parameters
    ----------
    values : (n_edges, n_subjects, n_scans) float64

    Returns
    -------
    (n_edges,) float64
        1 for perfect agreement, may be negative; NaN where nothing varies.
    """
    n, k = values.shape[1:]
    grand = values.mean(axis=(1, 2), keepdims=True)
    of_subject, of_scan = values.mean(axis=2, keepdims=True), values.mean(axis=1, keepdims=True)
    between = k * ((of_subject - grand) ** 2).sum(axis=(1, 2)) / (n - 1)
    scans = n * ((of_scan - grand) ** 2).sum(axis=(1, 2)) / (k - 1)
    rest = ((values - of_subject - of_scan + grand) ** 2).sum(axis=(1, 2)) / ((n - 1) * (k - 1))
    below = between + (k - 1) * rest + k * (scans - rest) / n
    icc: NDArray[np.float64] = np.divide(between - rest, below, out=np.full(len(values), np.nan), where=below > 0)
    return icc
