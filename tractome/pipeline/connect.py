"""The stage connect, from files to files: all atlases that are asked for in one pass over the streamlines."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tractome.datatypes.connectome import Connectome
from tractome.datatypes.fields import ScalarMap
from tractome.datatypes.parcellation import Parcellation
from tractome.datatypes.prepared_maps import prepare_maps
from tractome.datatypes.tractogram import StreamlineTable
from tractome.io.read_ahead import read_ahead
from tractome.io.tractograms import read_streamline_tables
from tractome.options import ConnectOptions
from tractome.pipeline.atlases import choose_atlas, read_parcellation
from tractome.pipeline.connect_facts import connectome_facts
from tractome.pipeline.ledger import Facts, Ledger, Made, Step
from tractome.pipeline.maps import MapFile, read_map, subject_maps
from tractome.pipeline.weigh import weights_in_force, with_weights
from tractome.pipeline.whole import require_whole, whole_streamlines
from tractome.provenance import StageRecord, option_values


def connect_subject(
    ledger: Ledger,
    options: ConnectOptions,
    *,
    atlas: str | None = None,
    maps: Sequence[MapFile] = (),
    retrace: bool = False,
) -> StageRecord:
    """Make the matrices of one parcellation, unless that is done.

    Parameters
    ----------
    ledger : Ledger
    options : ConnectOptions
    atlas : str or None
        Which parcellation; may be None when the subject has one.
    maps, retrace
        As `connect_atlases`.
    """
    atlas = choose_atlas(ledger, atlas, "parcellate")
    return connect_atlases(ledger, options, (atlas,), maps=maps, retrace=retrace)[atlas]


def connect_atlases(
    ledger: Ledger,
    options: ConnectOptions,
    atlases: Sequence[str],
    *,
    maps: Sequence[MapFile] = (),
    retrace: bool = False,
) -> dict[str, StageRecord]:
    """Make the matrices of several parcellations in one pass over the streamlines; those that are done stay.

    Parameters
    ----------
    ledger : Ledger
    options : ConnectOptions
    atlases : sequence of str
    maps : sequence of MapFile
        Besides those that were sampled while tracking.
    retrace : bool
        Track the same streamlines again when whole ones are needed and none are kept.

    Returns
    -------
    dict of str to StageRecord
        By atlas.

    Raises
    ------
    TableError
        Nothing was tracked or parcellated; or whole streamlines are needed (a new map, the forward assignment, pooled
        means), none are kept, and `retrace` is not given.
    """
    ledger.finished("track")
    work = _Pass(ledger, options, tuple(atlases), _all_maps(ledger, maps), weights_in_force(ledger), retrace)
    return {atlas: ledger.do(work.step(atlas)) for atlas in atlases}


def _all_maps(ledger: Ledger, given: Sequence[MapFile]) -> tuple[MapFile, ...]:
    """The subject's maps, then those given: one of a name that is there already stands in its place."""
    return tuple(({each.name: each for each in subject_maps(ledger)} | {each.name: each for each in given}).values())


@dataclass
class _Pass:
    """One pass over the streamlines for all atlases, made when the first of them turns out to be needed."""

    ledger: Ledger
    options: ConnectOptions
    atlases: tuple[str, ...]
    maps: tuple[MapFile, ...]
    mu: float | None
    """Of the streamlines' weights; None where they were not weighed."""
    retrace: bool
    made: dict[str, tuple[Connectome, Parcellation]] = field(default_factory=dict)

    def step(self, atlas: str) -> Step:
        """The step of one atlas."""
        ledger, subject = self.ledger, self.ledger.subject
        from_image = bool(ledger.finished(f"parcellate/{atlas}").facts["from_image"])
        inputs = {
            "streamlines": subject.streamline_table,
            "labels": subject.labels(atlas),
            "regions": subject.regions(atlas),
        }
        inputs |= {each.role: each.path for each in self.maps}
        if any(each.mask is not None for each in self.maps):
            inputs["mask"] = subject.mask
        if self.mu is not None:
            inputs["weights"] = subject.weights
        prefix = f"{subject.name}_seg-{atlas}"
        units = {each.name: each.unit for each in self.maps}
        return Step(
            name=f"connect/{atlas}",
            options=option_values(self.options)
            | {"atlas": atlas, "from_image": from_image, "maps": units}
            | ({} if self.mu is None else {"mu": self.mu}),
            inputs=inputs,
            may_write=(
                f"connectivity/{prefix}_connectome.npz",
                f"figures/{prefix}_matrices.png",
                f"figures/{prefix}_connectome.png",
            ),
            work=lambda made: self._work(atlas, made),
        )

    def _work(self, atlas: str, made: Made) -> Facts:
        from tractome.io.figures import draw_connectome, draw_matrices
        from tractome.io.matrices import write_connectome

        if atlas not in self.made:
            self._make()
        connectome, parcellation = self.made.pop(atlas)
        subject = self.ledger.subject
        sources = {
            f"{role}_sha256": made.inputs[role]
            for role in ("streamlines", "labels", "regions", "weights")
            if role in made.inputs
        }
        connectome = dataclasses.replace(connectome, metadata={**connectome.metadata, **sources})
        write_connectome(made(subject.connectome(atlas)), connectome)
        draw_matrices(made(subject.figure(f"seg-{atlas}_matrices")), connectome)
        draw_connectome(made(subject.figure(f"seg-{atlas}_connectome")), connectome)
        return connectome_facts(connectome, parcellation)

    def _make(self) -> None:
        """Add up all atlases."""
        from tractome.stages.connect import ConnectomeBuilder, regional_means

        maps = [read_map(each) for each in self.maps]
        parcellations = {atlas: read_parcellation(self.ledger, atlas) for atlas in self.atlases}
        builders = {atlas: ConnectomeBuilder(each, self.options) for atlas, each in parcellations.items()}
        for table in self._tables(maps):
            for builder in builders.values():
                builder.add(table)
        for atlas, builder in builders.items():
            features = regional_means(parcellations[atlas], maps)
            self.made[atlas] = builder.build(features), parcellations[atlas]

    def _tables(self, maps: list[ScalarMap]) -> Iterator[StreamlineTable]:
        """The rows of all streamlines, part by part, with their weights."""
        rows = self._rows(maps)
        return rows if self.mu is None else with_weights(rows, self.ledger.subject.weights, self.mu)

    def _rows(self, maps: list[ScalarMap]) -> Iterator[StreamlineTable]:
        from tractome.stages.connect import summarise

        subject, options = self.ledger.subject, self.options
        why = self._why_whole()
        if not why:
            wanted = [each.name for each in self.maps]
            for table in read_ahead(read_streamline_tables(subject.streamline_table)):
                yield dataclasses.replace(table, means={name: table.means[name] for name in wanted})
            return
        kept = require_whole(self.ledger, why, retrace=self.retrace)
        self.ledger.listener.note(f"{why}: whole streamlines are {'read' if kept else 'tracked again'}.")
        prepared, is_forward = prepare_maps(maps), options.assignment == "forward"
        for block in whole_streamlines(self.ledger, kept):
            yield summarise(block, prepared, directions=is_forward, crossed=options.pooled)

    def _why_whole(self) -> str:
        """Why the table of ends does not do; empty where it does."""
        sampled = self.ledger.finished("track").inputs
        new = [each.name for each in self.maps if not each.is_hash(sampled.get(each.role))]
        if new:
            return f"The map {', '.join(new)} was not sampled while tracking"
        if self.options.assignment == "forward":
            return "The forward assignment needs the direction in which a streamline ends"
        return "A pooled mean needs the voxels that a streamline crosses" if self.options.pooled else ""
