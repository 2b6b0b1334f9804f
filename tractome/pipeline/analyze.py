"""The stage analyze, from a connectome's file to tables and pictures."""

from __future__ import annotations

from pathlib import Path

from tractome import __version__
from tractome.datatypes.analysis import Analysis
from tractome.errors import OptionError
from tractome.io.hashing import sha256_file
from tractome.io.matrices import read_connectome
from tractome.options import AnalyzeOptions
from tractome.pipeline.layout import find_connectome

_ENDING = "_connectome"


def analyze_path(
    path: Path, options: AnalyzeOptions, out: Path | None = None, *, atlas: str | None = None
) -> tuple[Analysis, tuple[Path, ...]]:
    """Analyse a connectome, and write what was found.

    Parameters
    ----------
    path : Path
        A subject's folder, or a connectome's file (.npz, labelled .tsv or .csv).
    options : AnalyzeOptions
    out : Path or None
        Folder to write to; by default ``analysis`` in the subject's folder.
    atlas : str or None
        Which connectome of the subject; may be left out when there is one.

    Returns
    -------
    analysis : Analysis
    made : tuple of Path

    Raises
    ------
    OptionError
        `out` is needed, as the file is not in a subject's folder; or see `stages.analyze.analyze`.
    """
    from tractome.io.analyses import write_analysis
    from tractome.io.analysis_figures import CURVES, draw_communities, draw_curves, draw_spread
    from tractome.stages.analyze import analyze

    source = find_connectome(path, atlas)
    if not source.exists():
        message = f"There is no {path}. Give a subject's folder, or a connectome's file (.npz, labelled .tsv or .csv)."
        raise OptionError(message)
    if out is None:
        if source.parent.name != "connectivity":
            message = f"{source} is not in a subject's folder; say where to write with --out."
            raise OptionError(message)
        out = source.parent.parent / "analysis"
    connectome = read_connectome(source)
    analysis = analyze(connectome, options)
    stem = out / source.name.split(".")[0].removesuffix(_ENDING)
    told = {"source": source.name, "source_sha256": sha256_file(source), "generated_by": f"tractome {__version__}"}
    made = [*write_analysis(stem, analysis, told)]
    pictures = {name: stem.with_name(f"{stem.name}_{name}.png") for name in ("communities", "curves", "spread")}
    measure = analysis.settings["measure"]
    draw_communities(pictures["communities"], analysis, connectome.matrices[measure], measure)
    if analysis.curves.keys() & CURVES.keys():
        draw_curves(pictures["curves"], analysis)
    else:
        pictures.pop("curves").unlink(missing_ok=True)
    draw_spread(pictures["spread"], analysis, connectome.centroids_mm)
    return analysis, (*made, *pictures.values())
