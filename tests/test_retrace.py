"""Streamlines tracked again from the numbers of their seeds: the same bytes, for every method and source of seeds."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tracking_fields as fields
from runs import OPTIONS, copy, done, files_of, phantom  # noqa: F401
from test_track_seeds import points_of_the_scene

from tractome.datatypes.seeds import Mask
from tractome.errors import OptionError, TableError, TrackingError
from tractome.io.matrices import read_connectome
from tractome.io.tractograms import read_streamline_table
from tractome.options import DIRECTION_METHODS, SEED_SOURCES, ConnectOptions, TrackOptions
from tractome.pipeline import LogListener, connect_subject, old_subject, parse_map, track_subject
from tractome.pipeline.whole import whole_streamlines
from tractome.stages.fit.fixels import segment_fixels
from tractome.stages.track import Gates, dynamic, retrace, track


def scene_of(source, **options):
    """Field, options and the other arguments of `track` for a source of seeds."""
    field, tissue = fields.scene()
    chosen = TrackOptions(**{"seed_source": source, "seeds_per_point": 5, "seeds_per_axis": 1} | options)
    upper = np.zeros(field.grid.shape, bool)
    upper[:, (2 * field.grid.shape[1]) // 3 :] = True
    more = {
        "tissue": tissue,
        "gates": Gates(exclude=(Mask("upper third", upper, field.grid),)),
        "seed_points": points_of_the_scene() if source == "points" else None,
        "fixels": segment_fixels(field) if source == "dynamic" else None,
    }
    return field, chosen, more


def bytes_of(blocks):
    blocks = list(blocks)
    return (
        b"".join(block.points.tobytes() for block in blocks),
        np.concatenate([block.seed_index for block in blocks]),
        np.concatenate([block.stop_reasons for block in blocks]).tobytes(),
    )


@pytest.mark.parametrize("method", DIRECTION_METHODS)
@pytest.mark.parametrize("source", SEED_SOURCES)
def test_the_same_bytes_come_again(source, method, monkeypatch):
    monkeypatch.setattr(dynamic, "FIRST_ROUND", 60)  # several rounds in a short test
    goal = {"n_seeds": 300} if source in ("grid", "points") else {"n_streamlines": 60}
    field, options, more = scene_of(source, method=method, **goal)
    first = bytes_of(track(field, options, **more))
    assert len(first[1]) > 20 and first[1][-1] > len(first[1]), "some seeds must have been rejected"
    again = dataclasses.replace(options, block_size=41)
    second = bytes_of(retrace(field, again, first[1], **more))
    assert first[0] == second[0] and first[2] == second[2]
    np.testing.assert_array_equal(first[1], second[1])


def test_another_field_is_noticed():
    field, options, more = scene_of("white-matter", n_streamlines=60)
    accepted = bytes_of(track(field, options, **more))[1]
    weaker = dataclasses.replace(field, coefficients=field.coefficients * 0.12)
    with pytest.raises(TrackingError, match="Track again"):
        list(retrace(weaker, options, accepted, **more))


def connectome_of(copy, options=None, **words):  # noqa: F811
    with old_subject(copy, LogListener()) as ledger:
        connect_subject(ledger, options or ConnectOptions(), **words)
        return read_connectome(ledger.subject.connectome("labels"))


def test_a_map_that_was_not_sampled_needs_whole_streamlines(phantom, copy):  # noqa: F811
    fa = copy / "sub-01/dwi/sub-01_model-tensor_param-fa_dwimap.nii.gz"
    given = (parse_map(f"again[au]={fa}"),)
    with pytest.raises(TableError, match="--retrace"):
        connectome_of(copy, maps=given)
    made = connectome_of(copy, maps=given, retrace=True)
    assert made.measures["again"].unit == "au"
    run = made.matrices["count"] > 0
    # The same map; only that beside the mask 0 is a value here.
    np.testing.assert_allclose(made.matrices["again"][run], made.matrices["fa"][run], rtol=0.15)
    before = connectome_of(copy)
    for name in ("count", "length", "fa"):
        assert made.matrices[name].tobytes() == before.matrices[name].tobytes()


@pytest.mark.parametrize("options", [ConnectOptions(assignment="forward"), ConnectOptions(pooled=True)])
def test_retraced_and_kept_streamlines_give_the_same_matrices(phantom, copy, options):  # noqa: F811
    with pytest.raises(TableError, match="--tractogram trx"):
        connectome_of(copy, options=options)
    retraced = connectome_of(copy, options=options, retrace=True)
    with old_subject(copy, LogListener()) as ledger:
        track_subject(ledger, OPTIONS.track, files_of(phantom).tracking, whole="trx")
    kept = connectome_of(copy, options=options)
    assert retraced.matrices.keys() == kept.matrices.keys()
    for name, matrix in kept.matrices.items():
        assert matrix.tobytes() == retraced.matrices[name].tobytes(), name
    if options.pooled:
        assert np.isfinite(kept.matrices["fapooled"][kept.matrices["count"] > 0]).all()


def test_a_changed_input_and_other_streamlines_are_noticed(phantom, copy):  # noqa: F811
    with old_subject(copy, LogListener()) as ledger:
        track_subject(ledger, OPTIONS.track, files_of(phantom).tracking, whole="tck")
        kept = ledger.subject.tractogram("tck")
        assert sum(block.n_streamlines for block in whole_streamlines(ledger, kept)) == 300
        content = bytearray(kept.read_bytes())
        content[-36:-32] = np.float32(1.0).tobytes()  # x of the last point
        kept.write_bytes(content)
        with pytest.raises(TableError, match="not the 300 of the table"):
            list(whole_streamlines(ledger, kept))
        mask = ledger.subject.mask
        mask.write_bytes(mask.read_bytes() + b" ")
        with pytest.raises(TableError, match="changed since"):
            list(whole_streamlines(ledger, None))
        assert read_streamline_table(ledger.subject.streamline_table).n_streamlines == 300


@pytest.mark.parametrize("words", ["fa", "=x.nii", "a b=x.nii", "f-a=x.nii", "fa="])
def test_a_map_is_a_name_and_a_file(words):
    with pytest.raises(OptionError, match="NAME=FILE"):
        parse_map(words)
