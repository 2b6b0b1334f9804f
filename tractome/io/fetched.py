"""Atlases that nilearn downloads, made into atlases of the user's own."""

from __future__ import annotations

import csv
import difflib
import inspect
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.errors import AtlasError
from tractome.io.atlases import AtlasInfo, add_atlas
from tractome.io.nifti import write_nifti

_PREFIX = "fetch_atlas_"
_BACKGROUND = ("background", "unknown", "medial_wall", "medial wall")
"""Names of what is no region, in small letters, without the word for the side."""

Value = str | int | float


def atlas_fetchers() -> tuple[str, ...]:
    """Names of nilearn's atlases: what follows ``nilearn.datasets.fetch_atlas_``."""
    from nilearn import datasets

    return tuple(sorted(name.removeprefix(_PREFIX) for name in dir(datasets) if name.startswith(_PREFIX)))


def fetch_atlas(fetcher: str, settings: Mapping[str, Value], name: str | None = None) -> tuple[AtlasInfo, str]:
    """Download an atlas with nilearn and add it to the user's own; from then on no network is needed.

    Parameters
    ----------
    fetcher : str
        One of `atlas_fetchers`, such as ``"aal"`` or ``"harvard_oxford"``.
    settings : mapping of str to str, int or float
        Arguments of that function of nilearn.
    name : str, optional
        Name in tractome; by default made of the fetcher and the settings.

    Returns
    -------
    info : AtlasInfo
    note : str
        What of the downloaded table is not in the atlas; empty if all is.

    Raises
    ------
    AtlasError
        nilearn has no such atlas or setting, the download failed, the atlas is not one whole number per voxel, or
        see `add_atlas`.
    """
    bunch = _downloaded(fetcher, settings)
    labels, grid = _label_volume(bunch, fetcher)
    named = _named_labels(bunch, fetcher)
    present = {int(label) for label in np.unique(labels)} - {0}
    passed_over = {label for label, region in named.items() if label == 0 or _is_background(region)}
    labels[np.isin(labels, list(passed_over))] = 0
    absent = sorted(region for label, region in named.items() if label not in present | passed_over)
    rows = [(label, region) for label, region in sorted(named.items()) if label in present - passed_over]
    note = f"Named by nilearn, but not in the volume, and left out: {', '.join(absent)}." if absent else ""
    if name is None:
        name = "-".join([fetcher, *map(str, settings.values())])
        name = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")
    description = {
        "title": f"{fetcher} as nilearn.datasets.{_PREFIX}{fetcher} gives it",
        "space": str(bunch.get("template") or "not stated"),
        "source": f"nilearn.datasets.{_PREFIX}{fetcher}({', '.join(f'{k}={v!r}' for k, v in settings.items())})",
        "version": _nilearn_version(),
        "citation": _description(bunch),
        "licence": "that of the atlas's authors: see the citation; tractome does not ship it",
        "notes": note,
    }
    with tempfile.TemporaryDirectory() as room:
        volume, table = Path(room) / "labels.nii.gz", Path(room) / "regions.tsv"
        write_nifti(volume, [labels], None, np.int32, grid)
        with table.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, delimiter="\t").writerows([("label", "name"), *rows])
        return add_atlas(name, volume, table, description=description), note


def _downloaded(fetcher: str, settings: Mapping[str, Value]) -> Mapping[str, Any]:
    from nilearn import datasets

    known = atlas_fetchers()
    if fetcher not in known:
        close = difflib.get_close_matches(fetcher, known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        message = f"nilearn has no atlas {fetcher!r}.{hint} It has: {', '.join(known)}."
        raise AtlasError(message)
    function: Callable[..., Mapping[str, Any]] = getattr(datasets, _PREFIX + fetcher)
    takes = inspect.signature(function).parameters
    if unknown := sorted(set(settings) - set(takes)):
        message = f"{_PREFIX}{fetcher} of nilearn does not take {', '.join(unknown)}; it takes: {', '.join(takes)}."
        raise AtlasError(message)
    quiet = {"verbose": 0} if "verbose" in takes and "verbose" not in settings else {}
    try:
        return function(**settings, **quiet)
    except Exception as error:  # whatever a download may meet: no network, a moved file, an unknown version
        message = (
            f"nilearn could not fetch {fetcher}: {error}. A network is needed the first time, and settings that this "
            "atlas has; see nilearn's documentation."
        )
        raise AtlasError(message) from error


def _label_volume(bunch: Mapping[str, Any], fetcher: str) -> tuple[NDArray[np.int64], Grid]:
    from nilearn.image import load_img

    image = load_img(bunch["maps"])
    values = np.asarray(image.dataobj)
    if bunch.get("atlas_type") == "probabilistic" or values.ndim != 3 or not np.array_equal(values, np.rint(values)):
        shape = " x ".join(map(str, values.shape))
        message = (
            f"The atlas {fetcher} ({shape}) has probabilities or several maps, not one region per voxel. Choose a "
            "deterministic one, such as aal, destrieux_2009, harvard_oxford (a maxprob one) or schaefer_2018."
        )
        raise AtlasError(message)
    return values.astype(np.int64), Grid(image.shape, image.affine)


def _named_labels(bunch: Mapping[str, Any], fetcher: str) -> dict[int, str]:
    """Names by label value: of nilearn's look-up table, or of its two lists."""
    table = bunch.get("lut")
    if table is not None:
        return {int(label): _text(region) for label, region in zip(table["index"], table["name"], strict=True)}
    names = [_text(each) for each in bunch.get("labels", [])]
    values = [int(each) for each in bunch.get("indices", range(len(names)))]
    if not names or len(names) != len(values):
        message = f"nilearn gives no names for the labels of {fetcher}: it cannot become a table of regions."
        raise AtlasError(message)
    return dict(zip(values, names, strict=True))


def _text(value: Any) -> str:
    return (value.decode() if isinstance(value, bytes) else str(value)).strip()


def _is_background(region: str) -> bool:
    return re.sub(r"^(l|r|lh|rh|left|right)[-_. ]", "", region.lower()) in _BACKGROUND


def _description(bunch: Mapping[str, Any]) -> str:
    """The first paragraph of nilearn's description, which names the papers."""
    text = " ".join(_text(bunch.get("description", "")).split())
    return text[:1000] or "not stated; see nilearn's documentation"


def _nilearn_version() -> str:
    from importlib.metadata import version

    return f"nilearn {version('nilearn')}"
