"""What each number of a matrix means: the one list that stages, files and ``docs/definitions.md`` share."""

from __future__ import annotations

from tractome.datatypes.connectome import Measure


def mean_of_map(name: str, unit: str) -> Measure:
    """Meaning of the mean of a scalar map along the streamlines of an edge."""
    definition = (
        f"Mean over the streamlines of an edge of the segment-length-weighted mean of the {name} map, sampled "
        "trilinearly along each streamline. Each streamline counts alike; points where the map is not defined are "
        "left out. Absent (NaN) where no streamline runs."
    )
    return Measure(name, unit, definition, is_mean=True)


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
        Measure(
            "length",
            "mm",
            "Mean length of the streamlines of an edge; a length is the sum of the streamline's segments. "
            "Absent (NaN) where no streamline runs.",
            is_mean=True,
        ),
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
        *(mean_of_map(name, unit) for name, unit in MAP_UNITS.items()),
    )
}
"""Every measure that has a fixed name; a map of any other name gets `mean_of_map`."""


def measure_named(name: str, unit: str = "not stated") -> Measure:
    """Meaning of a measure of this name; one that is not in `MEASURES` is taken as what its file states, no more."""
    if name in MEASURES:
        return MEASURES[name]
    return Measure(name, unit, f"Read from a file as {name}; the file does not say what it is.", is_mean=False)
