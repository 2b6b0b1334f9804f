"""What the commands show, as rows of text: no printing here, no computing there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tractome.datatypes.findings import CheckReport

Rows = list[tuple[str, str]]


def number(value: float | None, digits: int = 3) -> str:
    """A number for people; a dash where there is none. A small one is not rounded to nothing."""
    if value is None or value != value:
        return "-"
    return f"{value:.{digits}{'g' if 0 < abs(value) < 0.5 * 10**-digits else 'f'}}"


def source_rows(sources: Mapping[str, Any]) -> Rows:
    """What a run would take, by role."""
    files = [(role.replace("_", " "), path or "-") for role, path in sources["files"].items()]
    reverse = [("reversed phase", path) for path in sources["reverse_phase"]]
    return [("layout", sources["layout"] or "-"), ("atlas", sources["atlas"] or "-"), *files, *reverse]


def run_rows(summary: Mapping[str, Any]) -> Rows:
    """The numbers of a run that matter."""
    facts = summary["facts"]
    fit, regions, track, connect = (facts[stage] for stage in ("fit", "parcellate", "track", "connect"))
    rejected = sorted(track["rejected"].items(), key=lambda item: -item[1])
    n_rejected = sum(track["rejected"].values())
    rows = [
        ("scan", f"{fit['gradients']}; {fit['grid']}"),
        ("brain volume", f"{fit['brain_volume_ml']:,.0f} ml, mask {fit['mask']}"),
        ("directions from", f"{fit['model']}: {fit['model_reason']}"),
        ("mean FA in white matter", f"{number(track['mean_fa_white_matter'])} ({track['white_matter']})"),
        ("atlas", f"{regions['atlas']}: {regions['n_regions']} regions, {_missing(regions['missing'])}"),
        *_registration(regions),
        *_tissue(facts),
        ("streamlines accepted", f"{track['n_accepted']:,} of {track['n_seeds']:,} seeds"),
        ("streamlines rejected", f"{n_rejected:,}"),
        *((f"  {reason.replace('_', ' ').replace('csf', 'CSF')}", f"{count:,}") for reason, count in rejected),
        ("mean length", f"{track['mean_length_mm']:.1f} mm"),
        *([("stopped at", convergence(track))] if "until_cv" in track else []),
        *([("streamline weights", _weights(facts["weigh"]))] if "weigh" in facts else []),
        ("edges", f"{connect['n_edges']:,}, density {number(connect['density'])}"),
        ("unassigned streamlines", f"{connect['n_unassigned']:,} ({connect['unassigned_share']:.1%})"),
        *([("error of counts", _sureness(connect))] if connect["n_edges_carrying"] else []),
    ]
    if connect["n_homologous_pairs"] >= 3:
        rows.append(
            (
                "left-right strength r",
                f"{number(connect['homologous_strength_correlation'])} over {connect['n_homologous_pairs']} pairs",
            )
        )
    return [*rows, *_further(facts)]


def convergence(track: Mapping[str, Any]) -> str:
    """How sure the edges were when tracking stopped."""
    verdict = "" if track["cv_met"] else ", not met"
    edges = f"{track['n_edges_looked_at']:,} edges of {track['until_atlas']}"
    wanted = f"wanted {track['until_cv']:g}{verdict}"
    return f"a coefficient of variation of {number(track['cv_reached'])} or less in {edges} ({wanted})"


def _sureness(connect: Mapping[str, Any]) -> str:
    """Monte-Carlo errors of the counts of the edges that carry weight."""
    median, largest = connect["cv_carrying_median"], connect["cv_carrying_largest"]
    edges = f"the {connect['n_edges_carrying']:,} edges that hold 90 % of all counts"
    return f"of tracking: {median:.1%} in the median, {largest:.1%} at most of {edges}"


def _weights(weigh: Mapping[str, Any]) -> str:
    """Mu, what weighing did to the misfit, and how many streamlines are left of it."""
    misfit = f"misfit {weigh['misfit_before']:.4g} -> {weigh['misfit_after']:.4g}"
    return f"mu {weigh['mu_per_mm']:.6g} per mm, {misfit}, effective number {weigh['n_effective']:,.0f}"


def _further(facts: Mapping[str, Any]) -> Rows:
    """A row for each parcellation but the first."""
    rows = []
    for name in (stage.partition("/")[2] for stage in facts if stage.startswith("connect/")):
        regions, connect = facts[f"parcellate/{name}"], facts[f"connect/{name}"]
        found = f"{regions['n_regions']} regions, {_missing(regions['missing'])}; {connect['n_edges']:,} edges"
        rows.append((f"also {name}", f"{found}, {connect['unassigned_share']:.1%} of the streamlines unassigned"))
    return rows


def _registration(facts: Mapping[str, Any]) -> Rows:
    quality = facts.get("registration")
    return [("registration", str(quality.get("summary", "")))] if isinstance(quality, Mapping) else []


def _tissue(facts: Mapping[str, Any]) -> Rows:
    made = facts.get("tissue")
    return [("tissue map from", f"{made['source']}: {made['reason']}")] if made is not None else []


def stage_rows(summary: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Time, memory and files of every stage."""
    rows = []
    for stage, seconds in summary["seconds"].items():
        memory = summary["peak_memory_mb"][stage]
        files = summary["files"][stage]
        folders = sorted({path.split("/")[0] for path in files})
        rows.append((stage, f"{seconds:,.1f} s", f"{memory:,.0f} MB", f"{len(files)} in {', '.join(folders)}"))
    total, most = sum(summary["seconds"].values()), max(summary["peak_memory_mb"].values())
    return [*rows, ("all", f"{total:,.1f} s", f"{most:,.0f} MB", summary["folder"])]


def file_rows(summary: Mapping[str, Any]) -> Rows:
    """The files that most people look for."""
    wanted = {
        "matrices": "_connectome.npz",
        "tables": "_relmat.tsv",
        "graph": "/graph/",
        "streamlines": "_streamlines.trx",
        "convergence": "_convergence.tsv",
        "pictures": ".png",
    }
    paths = [f"/{path}" for stage in summary["files"].values() for path in stage]
    rows = []
    for what, part in wanted.items():
        # The count comes first: it is what most people open.
        found = sorted((path[1:] for path in paths if part in path), key=lambda path: "stat-count" not in path)
        if found:
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            rows.append((what, found[0] + more))
    return [*rows, ("how it was made", "provenance.json")]


def finding_rows(report: CheckReport) -> list[tuple[str, str, str]]:
    """What a check found: what is refused first."""
    return [
        ("accepted" if each.name in report.accepted else each.severity, each.name, each.message)
        for each in report.findings
    ]


def comparison_rows(comparison: Mapping[str, Any]) -> Rows:
    """How far two connectomes agree."""
    rows = [
        ("measure", str(comparison["measure"])),
        ("regions in both", f"{comparison['n_regions']} ({len(comparison['left_out'])} left out)"),
        ("edges", f"{comparison['n_edges']:,}"),
        ("edges of the reference", f"{comparison['n_reference_edges']:,}"),
        ("edges in both", f"{comparison['n_common_edges']:,}"),
        ("average precision", number(comparison["average_precision"])),
        ("Pearson r", number(comparison["pearson"])),
        ("Spearman r", number(comparison["spearman"])),
        ("Pearson r of log(1 + value)", number(comparison["log_pearson"])),
    ]
    if comparison["n_listed_edges"]:
        share = f"{number(comparison['listed_recall'])} of {comparison['n_listed_edges']:,}"
        rows.append(("listed edges found", share))
    for name, error in sorted(comparison["errors"].items()):
        if not error["n_edges"]:
            rows.append((f"error of {name}", "no edge in both"))
            continue
        rows.append(
            (
                f"error of {name}",
                f"mean {error['mean_absolute']:.4g} {error['unit']}, bias {error['bias']:+.4g}, "
                f"r {number(error['pearson'])} over {error['n_edges']:,} edges",
            )
        )
    return rows


def _missing(names: Sequence[str]) -> str:
    """How many regions a subject lacks, and which."""
    shown = f": {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}" if names else ""
    return f"{len(names)} missing{shown}"


def reliability_rows(result: Mapping[str, Any]) -> Rows:
    """How far two scans of the same subjects agree."""
    return [
        ("measure", str(result["measure"])),
        ("subjects, two scans each", str(result["n_subjects"])),
        ("edges", f"{result['n_edges']:,}"),
        ("median ICC(2,1) of an edge", number(result["icc_median"])),
        ("mean ICC(2,1) weighted by the edge", number(result["icc_weighted"])),
        ("edges with an ICC above 0.75", f"{result['share_above_075']:.1%}"),
        ("Pearson r of log(1 + value), one subject", number(result["within"])),
        ("Pearson r of log(1 + value), two subjects", number(result["between"])),
        ("scans whose likest is their own second", f"{result['identified']:.1%}"),
    ]
