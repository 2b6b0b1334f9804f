"""`tractome connect FILE`: tractograms made elsewhere, to matrices, and to a table that other atlases go to."""

from __future__ import annotations

import numpy as np
import pytest
import wirings
from typer.testing import CliRunner

from tractome.datatypes.fields import ScalarMap
from tractome.datatypes.parcellation import Parcellation
from tractome.io.images import write_volume
from tractome.io.matrices import read_connectome
from tractome.io.regions import write_region_table
from tractome.io.tractograms import TractogramWriter, read_tractogram
from tractome.options import ConnectOptions
from tractome.stages.connect import connect, summarise
from tractome_cli.app import app


def run_cli(*given):
    return CliRunner().invoke(app, list(given))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A tractogram in every format, two label images with their tables, and a map, on different grids."""
    folder = tmp_path_factory.mktemp("foreign")
    rng = np.random.default_rng(4)
    grid = wirings.random_grid(rng)
    streamlines = wirings.tractogram(rng, grid, 300)
    for suffix in ("tck", "trk", "trx"):
        with TractogramWriter(folder / f"whole.{suffix}", grid) as writer:
            writer.write(streamlines)
    for name in ("coarse", "fine"):
        parcellation = wirings.parcellation(rng, grid)
        labels = np.where(parcellation.rows >= 0, parcellation.regions.labels[parcellation.rows], 0)
        write_volume(folder / f"{name}.nii.gz", labels.astype(np.int16), grid)
        write_region_table(folder / f"{name}.tsv", parcellation.regions)
    volume = rng.normal(size=grid.shape).astype(np.float32)
    volume[0, 0, 0] = 0.0
    write_volume(folder / "t1.nii.gz", volume, grid)
    return folder


def words(files, out, suffix="tck", *more):
    given = ["connect", str(files / f"whole.{suffix}"), "--out", str(out), "--map", f"t1[ms]={files / 't1.nii.gz'}"]
    for name in ("coarse", "fine"):
        given += ["--labels", str(files / f"{name}.nii.gz"), "--regions", str(files / f"{name}.tsv")]
    return [*given, "--radius", "2", *more]


def made_by_hand(files, name, options, **more):
    import nibabel

    from tractome.datatypes.grid import Grid
    from tractome.io.regions import read_region_table

    image, t1 = nibabel.load(files / f"{name}.nii.gz"), nibabel.load(files / "t1.nii.gz")
    grid, values = Grid(image.shape, image.affine), t1.get_fdata(dtype=np.float32)
    labels = np.asarray(image.dataobj).astype(np.int64)
    parcellation = Parcellation.from_labels(labels, grid, read_region_table(files / f"{name}.tsv", name))
    map_ = ScalarMap("t1", "ms", values.reshape(-1), np.ones(grid.shape, bool), grid)
    (block,) = read_tractogram(files / "whole.tck")
    return connect(summarise(block, [map_], **more), parcellation, options)


@pytest.mark.parametrize("suffix", ["tck", "trk", "trx"])
def test_all_atlases_and_maps_at_once(files, tmp_path, suffix):
    result = run_cli(*words(files, tmp_path / "out", suffix))
    assert result.exit_code == 0, result.output
    for name in ("coarse", "fine"):
        path = tmp_path / f"out/sub-01/connectivity/sub-01_seg-{name}_connectome.npz"
        made, expected = read_connectome(path), made_by_hand(files, name, ConnectOptions(radius_mm=2.0))
        assert made.measures["t1"].unit == "ms" and np.isfinite(made.node_features["t1"][:5]).all()
        np.testing.assert_array_equal(made.matrices["count"], expected.matrices["count"])
        np.testing.assert_allclose(made.matrices["t1"], expected.matrices["t1"], rtol=2e-4, atol=1e-5)


def test_its_table_takes_other_rules_and_its_file_what_needs_whole_streamlines(files, tmp_path):
    out = tmp_path / "out"
    assert run_cli(*words(files, out)).exit_code == 0
    more = ["--assignment", "forward", "--pooled", "--radius", "3", "--stat", "mean,median"]
    result = run_cli("connect", str(out / "sub-01"), "--atlas", "all", *more)
    assert result.exit_code == 0, result.output
    options = ConnectOptions(assignment="forward", radius_mm=3.0, pooled=True, statistics=("mean", "median"))
    made = read_connectome(out / "sub-01/connectivity/sub-01_seg-fine_connectome.npz")
    expected = made_by_hand(files, "fine", options, directions=True, crossed=True)
    assert made.matrices.keys() == expected.matrices.keys() >= {"t1pooled", "t1median"}
    for name, matrix in expected.matrices.items():
        np.testing.assert_allclose(made.matrices[name], matrix, rtol=1e-5, err_msg=name)


def test_what_is_missing_is_said(files, tmp_path):
    tracks, labels = str(files / "whole.tck"), ["--labels", str(files / "fine.nii.gz")]
    out = ["--out", str(tmp_path / "out")]
    for given, complaint in (
        ([tracks, *labels], "--out"),
        ([tracks, *out], "--labels"),
        ([str(files / "none.tck"), *labels, *out], "no "),
        ([tracks, *labels, *labels, *out], "different names"),
        ([tracks, *labels, *out, "--map", f"a={files / 'none.nii'}"], "no "),
        ([tracks, *labels, *out, "--regions", "a", "--regions", "b"], "Give one"),
        ([str(tmp_path), *labels], "belongs to a tractogram"),
    ):
        result = run_cli("connect", *given)
        assert result.exit_code == 2 and complaint in " ".join(result.output.split()), (given, result.output)
    assert run_cli(*words(files, tmp_path / "out")).exit_code == 0
    other = run_cli(*words(files, tmp_path / "out", "trk"))
    assert other.exit_code == 2 and "--subject" in other.output
