"""Laws of the synthetic subject: geometry, wiring, signal, storage, files."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from tractome.datatypes.diffusion import GradientTable
from tractome.errors import OptionError
from tractome.options import PHANTOM_STORAGE, PhantomOptions
from tractome.phantom import make_phantom, phantom_grid, write_phantom
from tractome.phantom.geometry import CORTEX_MM, brain_centre_mm, cortical_surface, keyed_rng, make_anatomy
from tractome.phantom.gradients import even_directions, make_gradients
from tractome.phantom.signal import S0

SMALL = {
    "voxel_size_mm": 5.0,
    "t1_voxel_size_mm": 5.0,
    "n_cortical": 20,
    "n_deep": 6,
    "n_bundles": 24,
    "n_u_fibres": 8,
    "median_fibres": 60,
    "shells": (1000.0,),
    "directions": (12,),
    "n_b0": 2,
    "random_seed": 5,
}


def small(**changes):
    return PhantomOptions(**{**SMALL, **changes})


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(small())


@pytest.fixture(scope="module")
def lesioned():
    return make_phantom(small(lesion=True))


# --- anatomy ----------------------------------------------------------------------------------------------------------


def test_tissues_sum_to_one_in_the_mask_and_to_nothing_outside(phantom):
    sums = phantom.tissue.fractions.sum(axis=3)
    np.testing.assert_allclose(sums[phantom.image.mask], 1.0, atol=1e-5)
    assert not sums[~phantom.image.mask].any()
    assert phantom.tissue.fractions.min() >= 0


def test_every_region_is_there_in_its_hemisphere_and_tissue(phantom):
    assert phantom.parcellation.missing == ()
    assert phantom.parcellation.unknown_labels == ()
    left = np.array(phantom.regions.hemispheres) == "L"
    np.testing.assert_array_equal(phantom.parcellation.centroids_mm[:, 0] < 0, left)
    assert phantom.regions.names[0] == "ctx-lh-01"
    assert phantom.regions.names[10] == "ctx-rh-01"
    assert phantom.regions.names[20] == "deep-lh-01"
    # A region's voxel centres lie in its kind of grey matter by the exact shapes.
    rows, grid = phantom.parcellation.rows, phantom.parcellation.grid
    distance = phantom.anatomy.distances(grid.to_world(np.argwhere(rows >= 20)))
    assert (distance.deep <= 0).all()
    distance = phantom.anatomy.distances(grid.to_world(np.argwhere((rows >= 0) & (rows < 20))))
    assert ((distance.brain <= 0) & (distance.white > 0)).all()


def test_cortex_is_as_thick_as_stated():
    anatomy = make_anatomy(small())
    points = cortical_surface(anatomy, np.random.default_rng(0), 500)
    points = points[np.abs(points[:, 0]) > 25]
    outward = points - brain_centre_mm()
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    steps = np.linspace(-8, 8, 321)
    line = points[:, None] + steps[None, :, None] * outward[:, None]
    is_cortex = (anatomy.labels(line.reshape(-1, 3)) > 0).reshape(line.shape[:2])
    thickness = is_cortex.sum(axis=1) * (steps[1] - steps[0])
    # The ray is not exactly normal to the surface: never thinner, a little thicker.
    assert np.percentile(thickness, 5) > 0.9 * CORTEX_MM
    assert np.median(thickness) < 1.25 * CORTEX_MM


@pytest.mark.parametrize("storage", PHANTOM_STORAGE)
def test_a_world_point_has_the_same_label_in_every_storage_and_voxel_size(phantom, storage):
    other = make_phantom(small(storage=storage, voxel_size_mm=4.0, anatomy_voxel_size_mm=None))
    if storage != "oblique":
        assert other.grid.axis_codes == storage
    else:
        assert np.count_nonzero(np.abs(other.grid.affine[:3, :3]) > 1e-3) == 9
    grid, rows = other.parcellation.grid, other.parcellation.rows
    voxels = np.argwhere(rows >= 0)[::7]
    np.testing.assert_array_equal(rows[tuple(voxels.T)] + 1, phantom.anatomy.labels(grid.to_world(voxels)))
    np.testing.assert_array_equal(other.true_count, phantom.true_count)
    np.testing.assert_array_equal(other.wiring.fibres, phantom.wiring.fibres)
    np.testing.assert_allclose(other.true_mean_fa, phantom.true_mean_fa, atol=0.12)


@pytest.mark.parametrize("storage", [name for name in PHANTOM_STORAGE if name not in ("RAS", "oblique")])
def test_flipped_storage_holds_the_same_measurements(phantom, storage):
    other = make_phantom(small(storage=storage))
    place = np.full(other.grid.shape, -1)
    place[other.image.mask] = np.arange(other.image.n_voxels)
    world = phantom.grid.to_world(np.argwhere(phantom.image.mask))
    voxels = np.rint(other.grid.to_voxel(world)).astype(int)
    np.testing.assert_allclose(other.grid.to_world(voxels), world, atol=1e-9)
    np.testing.assert_array_equal(other.image.signal[place[tuple(voxels.T)]], phantom.image.signal)
    np.testing.assert_array_equal(other.gradients.bvecs, phantom.gradients.bvecs)


def test_labels_and_tissue_may_have_a_grid_of_their_own(phantom):
    other = make_phantom(small(anatomy_voxel_size_mm=4.0))
    np.testing.assert_allclose(other.parcellation.grid.voxel_sizes_mm, 4.0)
    np.testing.assert_allclose(other.tissue.grid.affine, other.parcellation.grid.affine)
    np.testing.assert_array_equal(other.image.signal, phantom.image.signal)


def test_slices_may_be_thicker():
    grid = phantom_grid(small(slice_thickness_mm=7.0))
    np.testing.assert_allclose(grid.voxel_sizes_mm, (5.0, 5.0, 7.0))


# --- wiring -----------------------------------------------------------------------------------------------------------


def test_truth_is_symmetric_and_counts_every_fibre_once(phantom):
    count = phantom.true_count
    np.testing.assert_array_equal(count, count.T)
    assert not count.diagonal().any()
    assert count.sum() / 2 == phantom.wiring.n_fibres == phantom.fibres().n_streamlines
    assert np.count_nonzero(np.triu(count)) == SMALL["n_bundles"] + SMALL["n_u_fibres"]
    np.testing.assert_array_equal(np.isnan(phantom.true_mean_fa), count == 0)
    np.testing.assert_array_equal(np.isnan(phantom.true_mean_md), count == 0)


def test_every_fibre_ends_in_its_two_regions(phantom):
    ends = phantom.wiring.fibres[:, [0, -1]].astype(np.float64)
    labels = phantom.anatomy.labels(ends.reshape(-1, 3)).reshape(-1, 2)
    np.testing.assert_array_equal(labels, phantom.wiring.ends[phantom.wiring.bundle] + 1)


def test_fibres_stay_out_of_csf_and_of_grey_matter_on_the_way(phantom):
    inner = phantom.wiring.fibres[~phantom.wiring.is_u[phantom.wiring.bundle], 14:-14].astype(np.float64)
    depth = phantom.anatomy.distances(inner.reshape(-1, 3)).passable
    assert np.mean(depth > -1.0) > 0.99


def test_fibres_are_smooth(phantom):
    steps = np.diff(phantom.wiring.fibres.astype(np.float64), axis=1)
    length = np.linalg.norm(steps, axis=2)
    cosine = (steps[:, 1:] * steps[:, :-1]).sum(axis=2) / (length[:, 1:] * length[:, :-1])
    turn_per_mm = np.degrees(np.arccos(np.clip(cosine, -1, 1))) / ((length[:, 1:] + length[:, :-1]) / 2)
    # A radius of 2.5 mm turns by 23 degrees per mm.
    assert np.percentile(turn_per_mm, 99.9) < 23


def test_u_fibres_join_neighbours_by_arcs_of_4_to_8_mm(phantom):
    edges = phantom.u_fibre_edges
    assert len(edges) == SMALL["n_u_fibres"]
    assert (edges < SMALL["n_cortical"]).all()
    assert (phantom.true_count[tuple(edges.T)] > 0).all()
    surface = cortical_surface(phantom.anatomy, np.random.default_rng(1), 20_000)
    rows = phantom.anatomy.cortical_rows(surface)
    for first, second in edges:
        gap = np.linalg.norm(surface[rows == first][:, None] - surface[rows == second][None], axis=2).min()
        assert gap < 4.0
    fibres = phantom.wiring.fibres[phantom.wiring.is_u[phantom.wiring.bundle]].astype(np.float64)
    chord = np.linalg.norm(fibres[:, -1] - fibres[:, 0], axis=1)
    length = np.linalg.norm(np.diff(fibres, axis=1), axis=2).sum(axis=1)
    np.testing.assert_allclose(length, np.pi / 2 * chord, rtol=0.01)
    assert chord.min() >= 8.0 - 1e-3
    assert chord.max() <= 16.0 + 1e-3


def test_bundles_differ_in_size_and_kind(phantom):
    sizes = np.bincount(phantom.wiring.bundle)
    assert sizes.max() > 2 * sizes.min()
    left = np.array(phantom.regions.hemispheres) == "L"
    ends = phantom.wiring.ends
    assert (left[ends[:, 0]] != left[ends[:, 1]]).any()
    assert (ends >= SMALL["n_cortical"]).any()


def test_commissural_fibres_cross_in_the_callosum(phantom):
    fibres = phantom.wiring.fibres.astype(np.float64)
    crossing = np.diff(np.sign(fibres[..., 0]), axis=1) != 0
    points = fibres[:, 1:][crossing]
    points[:, 0] = 0.0
    assert len(points)
    assert np.percentile(phantom.anatomy.callosum(points), 99) < 1.0


def test_same_seed_same_bytes_other_seed_other_wiring(phantom):
    again, other = make_phantom(small()), make_phantom(small(random_seed=6))
    np.testing.assert_array_equal(again.image.signal, phantom.image.signal)
    np.testing.assert_array_equal(again.structural.t1, phantom.structural.t1)
    assert not np.array_equal(other.true_count > 0, phantom.true_count > 0)


def test_a_lesion_changes_only_the_left(phantom, lesioned):
    left = np.array(phantom.regions.hemispheres) == "L"
    right_only = ~left[:, None] & ~left[None, :]
    np.testing.assert_array_equal(lesioned.true_count[right_only], phantom.true_count[right_only])
    lost = (phantom.true_count > 0) & (lesioned.true_count == 0)
    assert lost.any()
    assert (left[np.argwhere(lost)].any(axis=1)).all()
    kept = lesioned.true_count > 0
    np.testing.assert_array_equal(lesioned.true_count[kept], phantom.true_count[kept])
    sick = lesioned.tissue.fractions[..., 4] > 0
    assert sick.any()
    assert (lesioned.grid.to_world(np.argwhere(sick))[:, 0] < 0).all()
    assert not phantom.tissue.fractions[..., 4].any()
    # Right of the brain nothing is measured otherwise, but for bundles that the lesion cuts on the left.
    world = phantom.grid.to_world(np.argwhere(phantom.image.mask))
    changed = np.abs(lesioned.clean_signal - phantom.clean_signal).max(axis=1) > 1e-3
    cut = [b for b, (i, j) in enumerate(phantom.wiring.ends) if lost[i, j]]
    fibres = phantom.wiring.fibres[np.isin(phantom.wiring.bundle, cut)].reshape(-1, 3)
    from scipy.spatial import cKDTree

    assert cKDTree(fibres).query(world[changed & (world[:, 0] > 5)])[0].max(initial=0.0) < 12.0
    through = lesioned.anatomy.lesion(lesioned.wiring.fibres.astype(np.float64))
    assert through.min() > 0


# --- signal -----------------------------------------------------------------------------------------------------------


def test_b0_signal_is_that_of_the_tissues(phantom):
    b0 = phantom.clean_signal[:, phantom.gradients.is_b0]
    np.testing.assert_allclose(b0, (phantom.tissue.fractions[phantom.image.mask] @ S0)[:, None].repeat(2, 1), rtol=1e-5)


def test_noise_is_rician():
    noisy = make_phantom(small(snr=20.0))
    sigma = S0[2] / 20.0
    # E(M^2) = A^2 + 2 sigma^2 for any A: over 10^5 samples the mean is known to about half a percent of 2 sigma^2.
    excess = noisy.image.signal.astype(np.float64) ** 2 - noisy.clean_signal.astype(np.float64) ** 2
    error = excess.std() / np.sqrt(excess.size)
    assert abs(excess.mean() - 2 * sigma**2) < 5 * error
    quiet = make_phantom(small(snr=0.0))
    np.testing.assert_array_equal(quiet.image.signal, quiet.clean_signal)


def test_signal_falls_with_b_and_csf_falls_most():
    made = make_phantom(small(shells=(700.0, 2500.0), directions=(8, 8), snr=0.0))
    mean = [made.clean_signal[:, list(shell.volumes)].mean(axis=1) for shell in made.gradients.shells]
    b0 = made.image.mean_b0
    assert (mean[0] < b0).all()
    assert (mean[1] < mean[0]).all()
    tissue = made.tissue.fractions[made.image.mask]
    csf = tissue[:, 3] > 0.99
    assert csf.any()
    np.testing.assert_allclose(mean[0][csf], S0[3] * np.exp(-700 * 3e-3), rtol=0.02)


def test_signal_is_lowest_along_the_callosum(phantom):
    made = make_phantom(small(directions=(40,), snr=0.0))
    crossing = made.anatomy.callosum(made.grid.to_world(np.argwhere(made.image.mask)))
    world = made.grid.to_world(np.argwhere(made.image.mask))
    inside = (crossing < -3) & (np.abs(world[:, 0]) < 4)
    weighted = ~made.gradients.is_b0
    signal = made.clean_signal[inside][:, weighted].mean(axis=0)
    along = np.abs(made.gradients.bvecs[weighted, 0])
    assert signal[along > 0.9].max() < signal[along < 0.3].min()


def test_true_means_are_plausible_and_differ_between_edges(phantom):
    fa = phantom.true_mean_fa[phantom.true_count > 0]
    md = phantom.true_mean_md[phantom.true_count > 0]
    assert ((fa > 0.05) & (fa < 0.85)).all()
    assert ((md > 5e-4) & (md < 2.5e-3)).all()
    assert fa.std() > 0.02


def test_any_gradient_table_is_measured(phantom):
    rng = np.random.default_rng(3)
    bvals = np.array([0.0, 5.0, 300.0, 995.0, 1005.0, 1000.0, 3000.0, 1000.0, 1000.0])
    table = GradientTable(bvals, even_directions(len(bvals), rng))
    made = make_phantom(small(snr=0.0), gradients=table)
    assert made.gradients is table
    assert made.image.signal.shape == (phantom.image.n_voxels, len(bvals))


def test_directions_are_spread_evenly():
    directions = even_directions(32, keyed_rng(0))
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0)
    cosine = np.abs(directions @ directions.T)
    np.fill_diagonal(cosine, 0.0)
    nearest = np.degrees(np.arccos(cosine.max(axis=1)))
    # 32 points on a half sphere: perfect packing leaves about 21.7 degrees between neighbours.
    assert nearest.min() > 17
    table = make_gradients(PhantomOptions())
    assert table.describe() == "6 at b = 0, 32 at b = 1000, 32 at b = 2000"
    assert table.is_b0[0]


# --- files and options ------------------------------------------------------------------------------------------------


def test_a_written_phantom_reads_back_as_it_was(phantom, tmp_path):
    from tractome.io.gradients import read_gradients
    from tractome.io.images import read_labels, read_mask, read_tissue, read_volume
    from tractome.io.matrices import read_connectome
    from tractome.io.regions import read_region_table
    from tractome.options import ReadOptions

    made = make_phantom(small(storage="oblique"))
    write_phantom(tmp_path, made)
    read = read_gradients(
        tmp_path / "dwi.bval", tmp_path / "dwi.bvec", made.grid, made.gradients.n_volumes, ReadOptions()
    )
    np.testing.assert_allclose(read.gradients.bvecs, made.gradients.bvecs, atol=1e-6)
    mask, grid = read_mask(tmp_path / "mask.nii.gz")
    assert grid.is_same(made.grid)
    np.testing.assert_array_equal(mask, made.image.mask)
    labels, label_grid = read_labels(tmp_path / "labels.nii.gz")
    np.testing.assert_array_equal(labels - 1, made.parcellation.rows)
    assert label_grid.is_same(made.parcellation.grid)
    np.testing.assert_allclose(read_tissue(tmp_path / "5tt.nii.gz").fractions, made.tissue.fractions, atol=1e-6)
    t1, t1_grid = read_volume(tmp_path / "T1w.nii.gz")
    np.testing.assert_allclose(t1, made.structural.t1, atol=0.51)
    assert t1_grid.is_same(made.structural.t1_grid)
    regions = read_region_table(tmp_path / "regions.tsv")
    assert regions.names == made.regions.names
    for measure, truth in (("count", made.true_count), ("fa", made.true_mean_fa), ("md", made.true_mean_md)):
        connectome = read_connectome(tmp_path / f"truth_{measure}.tsv", regions=regions)
        np.testing.assert_allclose(connectome.matrices[measure], truth)
    facts = json.loads((tmp_path / "phantom.json").read_text())
    assert facts["n_fibres"] == made.wiring.n_fibres
    assert facts["options"]["random_seed"] == 5


def test_equal_phantoms_write_equal_bytes(phantom, tmp_path):
    write_phantom(tmp_path / "a", phantom)
    write_phantom(tmp_path / "b", make_phantom(small()))
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert {"dwi.nii.gz", "truth_count.tsv", "u_fibre_edges.tsv"} <= set(files)
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"n_cortical": 21}, "must be even"),
        ({"n_deep": 3}, "must be even"),
        ({"shells": (1000.0, 2000.0)}, "one number of directions per shell"),
        ({"n_u_fibres": 500}, "neighbouring cortical regions"),
        ({"n_bundles": 1000}, "Ask for fewer bundles"),
    ],
)
def test_impossible_options_are_refused(changes, says):
    with pytest.raises(OptionError, match=says):
        make_phantom(small(**changes))


def test_progress_is_told(phantom):
    told = []
    make_phantom(small(n_bundles=3, n_u_fibres=1, n_deep=0), progress=lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == list(range(1, told[-1][1] + 1))
    assert all(later > earlier for (earlier, _), (later, _) in itertools.pairwise(told))


@pytest.mark.parametrize("storage", PHANTOM_STORAGE)
def test_files_in_any_storage_keep_left_left_and_the_callosum_left_to_right(storage, tmp_path):
    from tractome.io.images import read_tissue
    from tractome.io.subjects import read_diffusion
    from tractome.options import FitOptions, ReadOptions
    from tractome.stages.fit import fit_tensors, principal_directions, tensor_maps

    made = make_phantom(small(storage=storage, lesion=True, directions=(20,), n_u_fibres=0))
    write_phantom(tmp_path, made)
    names = ("dwi.nii.gz", "dwi.bval", "dwi.bvec", "mask.nii.gz")
    image = read_diffusion(*(tmp_path / name for name in names), ReadOptions()).image
    world = image.grid.to_world(np.argwhere(image.mask))
    tissue = read_tissue(tmp_path / "5tt.nii.gz")
    sick = tissue.grid.to_world(np.argwhere(tissue.fractions[..., 4] > 0.9))
    assert len(sick)
    assert (sick[:, 0] < 0).all()
    # Sick tissue is brighter without diffusion weighting: the scan and the tissue map agree where it is.
    lesion = made.anatomy.lesion(world) < -2
    mirrored = made.anatomy.lesion(world * (-1, 1, 1)) < -2
    assert image.mean_b0[lesion].mean() > 1.3 * image.mean_b0[mirrored].mean()
    tensors = fit_tensors(image, FitOptions())
    callosum = (made.anatomy.callosum(world) < -1) & (np.abs(world[:, 0]) < 6)
    callosum &= tensor_maps(tensors)["fa"].values > 0.3
    assert callosum.sum() > 10
    across = np.median(np.abs(principal_directions(tensors)[callosum]), axis=0)
    assert across[0] > 0.9
    assert across[1:].max() < 0.4


def test_whole_brain_at_2_mm_keeps_to_memory_and_time():
    import time

    started = time.process_time()
    made = make_phantom(PhantomOptions(t1_voxel_size_mm=4.0, median_fibres=100, n_bundles=60, directions=(8, 8)))
    # 70 volumes and all the fibres take about twice as long; the limit is a minute on two cores.
    assert time.process_time() - started < 40
    assert 150_000 < made.image.n_voxels < 220_000


def test_a_lesion_may_cut_every_bundle():
    options = {"n_bundles": 1, "n_u_fibres": 0, "voxel_size_mm": 8.0, "random_seed": 6}
    assert make_phantom(small(**options)).wiring.n_fibres > 0
    made = make_phantom(small(**options, lesion=True))
    assert made.wiring.n_fibres == 0
    assert not made.true_count.any()
    assert np.isnan(made.true_mean_fa).all()


def test_many_small_regions_are_all_there():
    made = make_phantom(small(n_cortical=600, voxel_size_mm=3.0, n_bundles=4, n_u_fibres=4))
    assert made.parcellation.missing == ()


def test_the_sample_subject_is_what_its_command_makes():
    from tractome.io.images import read_labels
    from tractome.io.matrices import read_connectome

    folder = Path(__file__).parents[1] / "sample_data"
    if not folder.is_dir():
        pytest.skip("the sample subject is not beside these tests")
    facts = json.loads((folder / "phantom.json").read_text())
    stored = {name: tuple(value) if isinstance(value, list) else value for name, value in facts["options"].items()}
    made = make_phantom(PhantomOptions(**stored))
    np.testing.assert_array_equal(read_labels(folder / "labels.nii.gz")[0] - 1, made.parcellation.rows)
    truth = read_connectome(folder / "truth_count.tsv").matrices["count"]
    # On another processor a fibre at the edge of what is allowed may fall on the other side.
    np.testing.assert_allclose(made.true_count, truth, rtol=0.02, atol=2)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 6e6


def test_the_command_scans_with_a_table_from_files(tmp_path):
    from typer.testing import CliRunner

    from tractome.io.gradients import read_gradients, write_gradients
    from tractome.options import ReadOptions
    from tractome_cli.app import app

    options = small(storage="LPS")
    grid, table = phantom_grid(options), make_gradients(small(shells=(700.0,), directions=(9,), random_seed=2))
    write_gradients(tmp_path / "a.bval", tmp_path / "a.bvec", table, grid)
    size = "--voxel-size 5 --t1-voxel-size 8 --cortical 20 --deep 6 --bundles 4 --u-fibres 2 --median-fibres 60"
    arguments = ["phantom", str(tmp_path / "out"), *size.split(), "--storage", "LPS"]
    files = ["--bval", str(tmp_path / "a.bval"), "--bvec", str(tmp_path / "a.bvec")]
    result = CliRunner().invoke(app, arguments + files)
    assert result.exit_code == 0, result.output
    read = read_gradients(tmp_path / "out" / "dwi.bval", tmp_path / "out" / "dwi.bvec", grid, 11, ReadOptions())
    np.testing.assert_allclose(read.gradients.bvals, table.bvals)
    np.testing.assert_allclose(read.gradients.bvecs, table.bvecs, atol=1e-6)
    refused = CliRunner().invoke(app, [*arguments, "--force", *files[2:]])
    assert refused.exit_code == 2
