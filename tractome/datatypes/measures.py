"""What each number of a matrix means: the one list that stages, files and ``docs/definitions.md`` share."""

from __future__ import annotations

from tractome.datatypes.connectome import Measure, error_name

_ABSENT = "Absent (NaN) where no streamline runs."
_ALIKE = "Each streamline counts alike"
_WEIGHTED = "Each streamline counts by its weight"


def _of_streamline(name: str) -> str:
    """What a map's value on one streamline is."""
    return f"the segment-length-weighted mean of the {name} map, sampled trilinearly along each streamline"


def mean_of_map(name: str, unit: str, *, weighted: bool = False) -> Measure:
    """Meaning of the mean of a scalar map along the streamlines of an edge."""
    definition = (
        f"Mean over the streamlines of an edge of {_of_streamline(name)}. {_WEIGHTED if weighted else _ALIKE}; points "
        f"where the map is not defined are left out. {_ABSENT}"
    )
    return Measure(name, unit, definition, is_mean=True)


def mean_length(*, weighted: bool = False) -> Measure:
    """Meaning of the mean length of the streamlines of an edge."""
    how = f"{_WEIGHTED}. " if weighted else ""
    definition = (
        f"Mean length of the streamlines of an edge; a length is the sum of the streamline's segments. {how}{_ABSENT}"
    )
    return Measure("length", "mm", definition, is_mean=True)


def statistic_of(name: str, unit: str, statistic: str, *, weighted: bool = False) -> Measure:
    """Meaning of the median, min, max or sum of length, or of a map, over the streamlines of an edge."""
    what = "length (the sum of its segments)" if name == "length" else f"map value: {_of_streamline(name)}"
    if statistic == "sum":
        factor = "weight x " if weighted else ""
        definition = f"Sum over the streamlines of an edge of the streamline's {factor}{what}."
        return Measure(f"{name}sum", unit, definition, is_mean=False)
    word = {"median": "Median", "min": "Smallest", "max": "Largest"}[statistic]
    definition = f"{word} over the streamlines of an edge of the streamline's {what}. {_ALIKE}. {_ABSENT}"
    return Measure(f"{name}{statistic}", unit, definition, is_mean=True)


def pooled_mean_of_map(name: str, unit: str, *, weighted: bool = False) -> Measure:
    """Meaning of the mean of a scalar map over the voxels that the streamlines of an edge cross."""
    how = "by the streamline's weight" if weighted else "once"
    definition = (
        f"Mean of the {name} map over the voxels that the streamlines of an edge cross: the voxels' own values, each "
        f"voxel counted {how} for every streamline that crosses it, however far; so long streamlines count for more. "
        f"Voxels where the map is not defined are left out. {_ABSENT}"
    )
    return Measure(f"{name}pooled", unit, definition, is_mean=True)


MAP_UNITS = {"fa": "unitless", "md": "mm2/s", "ad": "mm2/s", "rd": "mm2/s"}
"""Unit of each map that the fit gives."""

MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure(
            "count",
            "streamlines",
            "Number of streamlines whose two ends were assigned to the two regions.",
            is_mean=False,
        ),
        mean_length(),
        Measure(
            "invnodevol",
            "streamlines/mm3",
            "2 x count / (volume of one region + volume of the other), volumes in mm3 on the label image's own grid.",
            is_mean=False,
        ),
        Measure(
            "density",
            "streamlines/mm4",
            "invnodevol / length: 2 x count / ((volume of one region + volume of the other) x mean streamline length).",
            is_mean=False,
        ),
        Measure(
            "weight",
            "fibre density/mm",
            "mu x the sum of the weights of the streamlines of an edge; mu, the proportionality coefficient of the "
            "weights, is stated beside it (1 where it is not known).",
            is_mean=False,
        ),
        *(mean_of_map(name, unit) for name, unit in MAP_UNITS.items()),
    )
}
"""Every measure that has a fixed name; a map of any other name gets `mean_of_map`."""


EFFECTIVE_NUMBER = "neff"


def standard_error_of(measure: Measure) -> Measure:
    """Meaning of the Monte-Carlo standard error of a measure."""
    given = " Weights are taken as given." if measure.name == "weight" else ""
    return Measure(
        error_name(measure.name),
        measure.unit,
        f"Monte-Carlo standard error of {measure.name}, from the streamlines of this run: how far it would spread over "
        f"repeated tracking of the same scan with other random numbers.{given} It says nothing of noise in the scan, "
        "nor of biology.",
        is_mean=measure.is_mean,
        about=measure.name,
    )


def effective_number(*, weighted: bool = False) -> Measure:
    """Meaning of the effective number of streamlines of an edge."""
    how = (
        "the sum of their weights squared over the sum of their squared weights (Kish 1965)"
        if weighted
        else "their count, since each counts alike"
    )
    definition = (
        f"Effective number of streamlines of an edge: {how}. As many streamlines of one weight would give a sum with "
        "the same Monte-Carlo error."
    )
    return Measure(EFFECTIVE_NUMBER, "streamlines", definition, is_mean=False, about="weight" if weighted else "count")


P_VALUE = "pvalue"


def chance_of_strays(*, falloff: bool = False) -> Measure:
    """Meaning of the p-value of an edge."""
    fall = ", falls with the distance between the regions," if falloff else ""
    definition = (
        "Chance that strays alone would give as many streamlines or more. Null: the edge holds only strays, "
        "streamlines that took a wrong turn; their expected number is proportional to the root of (streamlines that "
        f"leave one region for elsewhere) x (those that leave the other) x (mean length){fall} and varies from pair to "
        "pair by one gamma distribution, both fitted to the counts of all pairs. Not corrected for the number of "
        "pairs. Absent (NaN) where no streamline runs and on the diagonal."
    )
    return Measure(P_VALUE, "unitless", definition, is_mean=True, about="count")


def measure_named(name: str, unit: str = "not stated") -> Measure:
    """Meaning of a measure of this name; one that is not in `MEASURES` is taken as what its file states, no more."""
    if name in MEASURES:
        return MEASURES[name]
    if name == EFFECTIVE_NUMBER:
        return effective_number()
    if name == P_VALUE:
        return chance_of_strays()
    for measure in MEASURES.values():
        if name == error_name(measure.name):
            return standard_error_of(measure)
    return Measure(name, unit, f"Read from a file as {name}; the file does not say what it is.", is_mean=False)
