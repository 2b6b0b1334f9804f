"""The whole way for one subject: stages in order, each only when it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tractome.options import (
    ConnectOptions,
    ExportOptions,
    FitOptions,
    ParcellateOptions,
    PreprocessOptions,
    ReadOptions,
    TissueOptions,
    TrackOptions,
    WeighOptions,
)
from tractome.pipeline.align import align_labels
from tractome.pipeline.check import CheckedFiles
from tractome.pipeline.checked import check_subject
from tractome.pipeline.connect import connect_subject
from tractome.pipeline.export import export_subject
from tractome.pipeline.fit import ScanFiles, fit_subject
from tractome.pipeline.layout import SubjectFolder
from tractome.pipeline.ledger import Ledger
from tractome.pipeline.parcellate import LabelSource, parcellate_subject, require_sources
from tractome.pipeline.preprocess import preprocess_subject
from tractome.pipeline.raw import PreprocessFiles
from tractome.pipeline.threads import use_threads
from tractome.pipeline.tissue import require_tissue_files, with_tissue
from tractome.pipeline.tissue_sources import TissueFiles
from tractome.pipeline.track import require_tracking_inputs, track_subject
from tractome.pipeline.tracking_files import TrackingFiles
from tractome.pipeline.until import Until
from tractome.pipeline.weigh import weigh_subject
from tractome.provenance import StageRecord


@dataclass(frozen=True)
class SubjectFiles:
    """Everything that one subject brings.

    Parameters
    ----------
    scan : ScanFiles
    regions_from : LabelSource
        Where its regions come from.
    tissue, seed_mask, seed_points, include, exclude, within
        See `TrackingFiles`.
    """

    scan: ScanFiles
    regions_from: LabelSource = field(default_factory=LabelSource)
    tissue: Path | None = None
    seed_mask: Path | None = None
    seed_points: Path | None = None
    include: tuple[Path, ...] = ()
    exclude: tuple[Path, ...] = ()
    within: Path | None = None
    freesurfer: Path | None = None
    """Label image with FreeSurfer's numbers, for a tissue map, where the regions come from elsewhere."""
    labels_follow_t1: bool = False
    """Whether those labels lie where the T1 lies, and not yet where the scan does."""
    raw: PreprocessFiles | None = None
    """What helps to preprocess the scan; None for a scan that is fitted as it is."""
    further: Mapping[str, LabelSource] = field(default_factory=dict)
    """Where the regions of further parcellations come from, by their names."""

    @property
    def tissue_sources(self) -> TissueFiles:
        """Those that a tissue map may be made from."""
        source = self.regions_from
        return TissueFiles(source.t1, self.freesurfer, source.labels, source.regions)

    def aligned(self, ledger: Ledger, options: ParcellateOptions) -> tuple[SubjectFiles, dict[str, StageRecord]]:
        """The same with labels that lie where the scan does, and the record of bringing them there."""
        source = self.regions_from
        paths = {"regions": source.labels, "freesurfer": self.freesurfer if self.freesurfer != source.labels else None}
        paths |= {name: each.labels for name, each in self.further.items()}
        images = {what: path for what, path in paths.items() if path is not None}
        if not self.labels_follow_t1 or not images:
            return self, {}
        record, moved = align_labels(ledger, options, source.t1, images)
        there = {images[what]: path for what, path in moved.items()}
        labels, freesurfer = (there[path] if path is not None else None for path in (source.labels, self.freesurfer))
        further = {
            name: replace(each, labels=there[each.labels] if each.labels is not None else None)
            for name, each in self.further.items()
        }
        moved_files = replace(self, regions_from=replace(source, labels=labels), freesurfer=freesurfer, further=further)
        return moved_files, {"align": record}

    def checked(self, atlas: str | None = None) -> CheckedFiles:
        """Those that are checked before anything is computed; `atlas` is the name of the parcellation."""
        source = self.regions_from
        return CheckedFiles(self.scan, source, self.tissue, atlas if source.labels is not None else None)

    @property
    def tracking(self) -> TrackingFiles:
        """Those that tracking needs."""
        return TrackingFiles(self.tissue, self.seed_mask, self.seed_points, self.include, self.exclude, self.within)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of every stage."""

    read: ReadOptions = field(default_factory=ReadOptions)
    preprocess: PreprocessOptions = field(default_factory=PreprocessOptions)
    fit: FitOptions = field(default_factory=FitOptions)
    parcellate: ParcellateOptions = field(default_factory=ParcellateOptions)
    tissue: TissueOptions = field(default_factory=TissueOptions)
    track: TrackOptions = field(default_factory=TrackOptions)
    connect: ConnectOptions = field(default_factory=ConnectOptions)
    export: ExportOptions = field(default_factory=ExportOptions)
    weigh: WeighOptions | None = None
    """How streamlines are weighed; None for not at all."""
    whole: str | None = None
    """Format in which whole streamlines are kept too."""
    check: bool = False
    """Whether to check the files first, and refuse what cannot be right."""
    accept: tuple[str, ...] = ()
    """Names of findings of that check that do not count."""


def run_subject(ledger: Ledger, files: SubjectFiles, options: RunOptions) -> dict[str, StageRecord]:
    """Do all stages that are not done yet.

    What can be checked at once (names, files, formats) is checked before the first stage. Parcellation comes before
    tracking: it fails sooner when labels or registration are wrong.

    Returns
    -------
    dict of str to StageRecord
        By stage, in order.
    """
    require_sources(files.regions_from, options.parcellate)
    for name, source in files.further.items():
        require_sources(source, replace(options.parcellate, atlas=name))
    require_tracking_inputs(options.track, files.tracking, options.whole)
    require_tissue_files(options.tissue, files.tissue_sources, files.tissue)
    use_threads(options.track.n_threads, ledger.listener)
    first: dict[str, StageRecord] = {}
    if options.check:
        first["check"] = check_subject(ledger, files.checked(options.parcellate.atlas), options.read, options.accept)
    scan = files.scan
    if files.raw is not None:
        scan = preprocess_subject(ledger, scan, options.read, options.preprocess, files.raw)
        first["preprocess"] = ledger.finished("preprocess")
    first["fit"] = fit_subject(ledger, scan, options.read, options.fit)
    files, aligned = files.aligned(ledger, options.parcellate)
    first |= aligned
    done = dict(first)
    done["parcellate"] = parcellate_subject(ledger, options.parcellate, files.regions_from, options.track.n_threads)
    if files.regions_from.labels is None:
        # Before parcellate in the summary, as it was in time.
        done = {**first, "register": ledger.finished("register"), "parcellate": done["parcellate"]}
    atlas = str(done["parcellate"].facts["atlas"])
    for name, source in files.further.items():
        named = replace(options.parcellate, atlas=name)
        done[f"parcellate/{name}"] = parcellate_subject(ledger, named, source, options.track.n_threads)
    tracking, tissue = with_tissue(
        ledger, files.tracking, options.tissue, files.tissue_sources, options.parcellate, options.track.n_threads
    )
    if tissue is not None:
        done["tissue"] = tissue
    until = Until.of(ledger, options.track, atlas, options.connect)
    done["track"] = track_subject(ledger, options.track, tracking, whole=options.whole, until=until)
    if options.weigh is not None:
        done["weigh"] = weigh_subject(ledger, options.weigh, retrace=True)
    done["connect"] = connect_subject(ledger, options.connect, atlas=atlas)
    done["export"] = export_subject(ledger, options.export, atlas=atlas)
    for name in files.further:
        done[f"connect/{name}"] = connect_subject(ledger, options.connect, atlas=name)
        done[f"export/{name}"] = export_subject(ledger, options.export, atlas=name)
    if ledger.n_done == 0:
        ledger.listener.note("Everything was done before with these inputs and options; nothing was changed.")
    return done


def summarise_run(subject: SubjectFolder, done: dict[str, StageRecord]) -> dict[str, Any]:
    """What a run made, in plain values.

    Returns
    -------
    dict
        ``folder``; ``facts``, ``seconds``, ``peak_memory_mb`` and ``files`` by stage.
    """
    return {
        "folder": str(subject.root),
        "subject": subject.name,
        "facts": {stage: record.facts for stage, record in done.items()},
        "seconds": {stage: record.seconds for stage, record in done.items()},
        "peak_memory_mb": {stage: record.peak_memory_mb for stage, record in done.items()},
        "files": {stage: sorted(record.outputs) for stage, record in done.items()},
    }
