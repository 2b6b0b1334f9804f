"""Raw scans: which are preprocessed, what helps, and what to say of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tractome.errors import OptionError
from tractome.pipeline.ledger import Facts


@dataclass(frozen=True)
class PreprocessFiles:
    """What helps to correct a scan.

    Parameters
    ----------
    t1 : Path or None
        T1-weighted image of the same head.
    reversed_phase : tuple of Path
        b0 images with reversed phase encoding; of several the first that is reversed counts.
    metadata : mapping or None
        Content of the scan's sidecars; None to read the JSON file beside it.
    """

    t1: Path | None = None
    reversed_phase: tuple[Path, ...] = ()
    metadata: Mapping[str, Any] | None = field(default=None, hash=False)


def wants_preprocessing(asked: str, is_preprocessed: bool | None) -> tuple[bool, str]:
    """Whether a run preprocesses its scan, and why, in one sentence.

    Parameters
    ----------
    asked : str
        ``"yes"``, ``"no"`` or ``"auto"``: what is known to be raw.
    is_preprocessed : bool or None
        What the layout says of the scan; None where nothing does, as of a scan that was named by itself.

    Raises
    ------
    OptionError
        `asked` is none of the three.
    """
    if asked not in ("auto", "yes", "no"):
        message = f"--preprocess {asked} is not known; give auto, yes or no."
        raise OptionError(message)
    if asked != "auto":
        return asked == "yes", ""
    if is_preprocessed is None:
        return False, "Nothing says that the scan is raw: it is fitted as it is (--preprocess yes corrects it first)."
    return not is_preprocessed, "The scan is raw and is preprocessed first." if not is_preprocessed else ""


def preprocess_summary(facts: Facts) -> str:
    """One line about what was done."""
    parts = []
    if "denoise" in facts:
        noise = facts["denoise"]["signal_to_noise"]
        parts.append("signal over noise " + ", ".join(f"{value:.0f} at b = {b}" for b, value in noise.items()))
    if "align" in facts:
        moved = facts["align"]["displacement_mm"]
        parts.append(f"moved {moved['mean']:.2f} mm on average, {moved['largest']:.2f} at most")
        parts.append(f"{facts['align']['n_outlier_slices']} slices replaced")
    source = facts.get("distortion", {}).get("source", "none")
    if source != "none":
        shown = "a reversed b0" if source == "reversed" else "the T1"
        parts.append(f"distortion up to {facts['distortion']['displacement_mm']['largest']:.1f} mm from {shown}")
    before, after = facts.get("disagreement_before"), facts.get("disagreement_after")
    if before is not None and after is not None:
        parts.append(f"volumes disagree by {100 * after:.1f} % in place of {100 * before:.1f} %")
    return "; ".join(parts) or "nothing to do"
