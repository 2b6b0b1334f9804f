"""Atlases: what is shipped agrees with itself, and tables of other programs can be read."""

import json

import numpy as np
import pytest

from tractome.datatypes.grid import Grid
from tractome.datatypes.parcellation import Parcellation, RegionTable
from tractome.errors import AtlasError
from tractome.io.atlases import (
    add_atlas,
    check_atlas,
    list_atlases,
    read_atlas,
    read_atlas_regions,
    read_region_table,
    read_template,
    write_region_table,
)
from tractome.io.nifti import write_nifti
from tractome_atlases import ATLAS_ROOT

BUNDLED = sorted(path.parent.name for path in ATLAS_ROOT.glob("*/labels.nii.gz"))
NAMED = sorted(path.parent.name for path in ATLAS_ROOT.glob("*/atlas.json"))


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """An empty folder for the user's own atlases."""
    folder = tmp_path / "atlases"
    monkeypatch.setenv("TRACTOME_ATLAS_DIR", str(folder))
    return folder


@pytest.fixture(scope="module")
def template():
    return read_template()


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_volume_and_table_agree(name):
    atlas = read_atlas(name)
    assert check_atlas(atlas.labels, atlas.grid, atlas.regions) == ()
    assert set(np.unique(atlas.labels)) - {0} == set(atlas.regions.labels)
    assert len(set(atlas.regions.names)) == atlas.info.n_regions == atlas.regions.n_regions
    assert not atlas.regions.from_image


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_sides_are_not_swapped(name):
    atlas = read_atlas(name)
    centroids = Parcellation.from_labels(atlas.labels, atlas.grid, atlas.regions).centroids_mm
    for side, sign in (("L", -1), ("R", 1)):
        here = np.array(atlas.regions.hemispheres) == side
        assert here.any()
        assert (centroids[here, 0] * sign > 0).all()
    # Voxel by voxel too: a header that shifts the volume across the midline would show here.
    world = atlas.grid.to_world(np.argwhere(atlas.labels > 0))
    row_of = dict(zip(atlas.regions.labels.tolist(), atlas.regions.hemispheres, strict=True))
    sides = np.array([{"L": -1, "R": 1, "B": 0}[row_of[label]] for label in atlas.labels[atlas.labels > 0].tolist()])
    assert (world[:, 0] * sides < -2.0).mean() < 0.001


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_regions_are_grey_matter_of_the_template(name, template):
    """No white matter as a region, and the header puts the volume where the template is: not a few mm beside it."""
    atlas = read_atlas(name)
    regions = atlas.regions
    cortex = regions.labels[np.array(regions.structures) == "cortex"]
    world = atlas.grid.to_world(np.argwhere(np.isin(atlas.labels, cortex)))[::5]

    def grey_at(shift):
        voxels = np.rint(template.grid.to_voxel(world + shift)).astype(int)
        within = ((voxels >= 0) & (voxels < template.grid.shape)).all(axis=1)
        return float(template.grey[tuple(voxels[within].T)].sum() / len(world))

    assert grey_at((0, 0, 0)) > 0.6
    for axis in range(3):
        for step in (-6.0, 6.0):
            assert grey_at(np.eye(3)[axis] * step) < grey_at((0, 0, 0))


@pytest.mark.parametrize("name", NAMED)
def test_bundled_licence_and_citation(name):
    folder = ATLAS_ROOT / name
    info = json.loads((folder / "atlas.json").read_text())
    assert "doi:" in info["citation"]
    if name not in BUNDLED:
        return
    assert {"name", "title", "space", "source", "version", "citation", "licence", "licence_url", "n_regions"} <= set(
        info
    )
    assert info["space"].startswith("MNI152")
    assert len((folder / "LICENSE").read_text()) > 1000


def test_desikan_killiany_has_the_names_that_other_atlases_share():
    regions = read_atlas("desikan-killiany-83").regions
    assert regions.n_regions == 83
    assert regions.structures.count("cortex") == 68
    assert regions.structures.count("subcortex") == 14
    assert regions.names[-1] == "brainstem"
    lefts = {name.removesuffix("-left") for name in regions.names if name.endswith("-left")}
    rights = {name.removesuffix("-right") for name in regions.names if name.endswith("-right")}
    assert lefts == rights
    assert {"precentral", "thalamus", "accumbens", "bankssts"} <= lefts
    for name in ("precentral", "cuneus", "amygdala"):
        assert regions.centroids_mm[regions.names.index(f"{name}-left"), 0] < 0
        assert regions.centroids_mm[regions.names.index(f"{name}-right"), 0] > 0


def test_freesurfer_labels_have_the_same_names():
    """One anatomical region, one name: a matrix from FreeSurfer's labels compares with one from the MNI volume."""
    info, regions = read_atlas_regions("freesurfer-dk-84")
    assert info.n_regions == regions.n_regions == 84
    volume = read_atlas("desikan-killiany-83").regions
    assert [name for name in volume.names if name != "brainstem"] == list(regions.names[:82])
    assert regions.hemispheres[:82] == volume.hemispheres[:82]
    assert set(regions.names[82:]) == {"cerebellum-cortex-left", "cerebellum-cortex-right"}
    # FreeSurfer's numbers, from its colour table.
    label = dict(zip(regions.names, regions.labels.tolist(), strict=True))
    assert (label["precentral-left"], label["precentral-right"], label["insula-right"]) == (1024, 2024, 2035)
    assert (label["thalamus-left"], label["accumbens-right"], label["cuneus-left"]) == (10, 58, 1005)
    with pytest.raises(AtlasError, match="no volume"):
        read_atlas("freesurfer-dk-84")


@pytest.mark.parametrize("n_regions", [100, 200, 400])
def test_schaefer_networks_and_known_places(n_regions):
    regions = read_atlas(f"schaefer-{n_regions}").regions
    assert set(regions.networks) == {"Vis", "SomMot", "DorsAttn", "SalVentAttn", "Limbic", "Cont", "Default"}
    assert regions.hemispheres.count("L") == regions.hemispheres.count("R") == n_regions // 2
    # Centroids that CBIG publishes for its own volumes (mm), each the last label of one hemisphere or the first.
    published = {
        100: {"7Networks_LH_Vis_1": (-26, -34, -17), "7Networks_RH_Default_pCunPCC_2": (7, -52, 31)},
        200: {"7Networks_LH_Default_PHC_1": (-26, -32, -18), "7Networks_RH_Default_pCunPCC_3": (6, -58, 44)},
        400: {"7Networks_LH_Vis_8": (-45, -70, -8), "7Networks_RH_SalVentAttn_PrC_1": (51, 3, 41)},
    }[n_regions]
    for name, place in published.items():
        assert np.abs(regions.centroids_mm[regions.names.index(name)] - place).max() < 1.5


def test_misspelt_name_suggests_the_nearest():
    with pytest.raises(AtlasError, match="desikan-killiany-83"):
        read_atlas("desikan-kiliany")
    with pytest.raises(AtlasError, match=r"Did you mean 'schaefer-400'"):
        read_atlas("Schaefer400")


# Tables of regions.


def write(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("own.tsv", "label\tname\themisphere\n0\tbackground\tB\n3\tfoo\tL\n7\tbar\tright\n"),
        ("abagen.csv", "id,label,hemisphere,structure\n3,foo,L,cortex\n7,bar,R,cortex\n"),
        ("bids_dseg.tsv", "index\tname\tcolor\themi\n3\tfoo\t#ff0000\tlh\n7\tbar\t#00ff00\trh\n"),
        ("semicolons.csv", "Label; Region ;Hemi\n3;foo;Left\n7;bar;Right\n"),
        ("byte_order_mark.csv", "\ufeffLabel,Name,Side\n3,foo,L\n7,bar,R\n"),
    ],
)
def test_tables_of_many_kinds_say_the_same(tmp_path, name, text):
    regions = read_region_table(write(tmp_path / name, text))
    assert regions.labels.tolist() == [3, 7]
    assert regions.names == ("foo", "bar")
    assert regions.hemispheres == ("L", "R")
    assert regions.atlas == name.split(".")[0]


def test_freesurfer_colour_table(tmp_path):
    text = (
        "#$Id: FreeSurferColorLUT.txt $\n\n#No. Label Name:      R   G   B   A\n\n"
        "0   Unknown                 0   0   0   0\n10  Left-Thalamus           0   118 14  0\n"
        "1024    ctx-lh-precentral   60  20  220 0\n2024    ctx-rh-precentral   60  20  220 0\n"
        "16  Brain-Stem   119 159 176 0\n"
    )
    regions = read_region_table(write(tmp_path / "lut.txt", text))
    assert regions.labels.tolist() == [10, 1024, 2024, 16]
    assert regions.names == ("Left-Thalamus", "ctx-lh-precentral", "ctx-rh-precentral", "Brain-Stem")
    assert regions.hemispheres == ("L", "L", "R", "B")


def test_mrtrix_label_file(tmp_path):
    text = (
        "# MRtrix\n0 ??? Unknown 0 0 0 0\n1    L.BSTS  ctx-lh-bankssts  25 5 25 255\n42 R.TH Right-Thalamus 0 1 2 255\n"
    )
    regions = read_region_table(write(tmp_path / "fs_default.txt", text))
    assert regions.names == ("ctx-lh-bankssts", "Right-Thalamus")
    assert regions.hemispheres == ("L", "R")


def test_names_shared_by_both_sides_get_the_side(tmp_path):
    text = "label,name,hemisphere\n1,insula,L\n2,insula,R\n3,brainstem,B\n"
    assert read_region_table(write(tmp_path / "t.csv", text)).names == ("insula-left", "insula-right", "brainstem")


def test_table_round_trip(tmp_path):
    regions = read_atlas("schaefer-100").regions
    write_region_table(tmp_path / "a.tsv", regions)
    again = read_region_table(tmp_path / "a.tsv", "schaefer-100")
    for field in ("names", "hemispheres", "structures", "networks", "atlas", "from_image"):
        assert getattr(again, field) == getattr(regions, field)
    assert np.array_equal(again.labels, regions.labels)
    assert np.allclose(again.centroids_mm, regions.centroids_mm)
    write_region_table(tmp_path / "b.tsv", again)
    assert (tmp_path / "a.tsv").read_bytes() == (tmp_path / "b.tsv").read_bytes()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("label\tname\n0\tbackground\n", "every label is 0"),
        ("label\tcolour\n1\tred\n", "a column called name"),
        ("name\themisphere\nfoo\tL\n", "a column of whole numbers"),
        ("label\tname\n1\tfoo\n1\tbar\n", "distinct"),
        ("label\tname\n1\tfoo\n2\tfoo\n", "distinct"),
        ("label\tname\themisphere\n1\tfoo\tup\n", "hemisphere 'up'"),
        ("label\tname\n1\tfoo\textra\n", "row 2: 3 cells"),
        ("1 2 3\n", "line 1"),
    ],
)
def test_bad_tables_say_why(tmp_path, text, says):
    with pytest.raises(AtlasError, match=says):
        read_region_table(write(tmp_path / "t.tsv", text))


def test_missing_table(tmp_path):
    with pytest.raises(AtlasError, match="cannot be read"):
        read_region_table(tmp_path / "nothing.tsv")


# Atlases of one's own.


def boxes(sides=("L", "R"), labels=(1, 2)):
    """Two boxes, the first left, the second right of the midline, on a grid in a standard space."""
    volume = np.zeros((20, 10, 10), dtype=np.int64)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (-19.0, -9.0, -9.0)
    volume[2:6, 2:8, 2:8] = labels[0]
    volume[14:18, 2:8, 2:8] = labels[1]
    regions = RegionTable(
        labels=np.array([1, 2]),
        names=("first", "second"),
        hemispheres=sides,
        structures=("cortex", "cortex"),
        networks=("", ""),
        centroids_mm=np.full((2, 3), np.nan),
        atlas="boxes",
    )
    return volume, Grid(volume.shape, affine), regions


def test_check_atlas_lists_every_mismatch():
    assert check_atlas(*boxes()) == ()
    volume, grid, regions = boxes(sides=("R", "L"))
    volume[0, 0, 0] = 9
    volume[volume == 2] = 3
    faults = " ".join(check_atlas(volume, grid, regions))
    assert "not in the table: 3, 9" in faults
    assert "not in the volume: 2" in faults
    assert "first" in faults and "left and right" in faults


def test_check_atlas_finds_a_header_that_disagrees_with_the_centroids():
    volume, grid, regions = boxes()
    measured = Parcellation.from_labels(volume, grid, regions).centroids_mm
    stated = RegionTable(
        regions.labels, regions.names, regions.hemispheres, regions.structures, regions.networks, measured, "boxes"
    )
    assert check_atlas(volume, grid, stated) == ()
    moved = grid.affine.copy()
    moved[1, 3] += 5.0
    assert "2 regions lie more than 2 mm" in check_atlas(volume, Grid(grid.shape, moved), stated)[0]


def test_added_atlas_is_found_and_checked(tmp_path, own_folder):
    volume, grid, regions = boxes()
    write_nifti(tmp_path / "labels.nii.gz", [volume], None, np.int16, grid)
    write_region_table(tmp_path / "regions.tsv", regions)
    made = add_atlas("boxes", tmp_path / "labels.nii.gz", tmp_path / "regions.tsv", None, {"space": "MNI152NLin6Asym"})
    assert (own_folder / "boxes" / "atlas.json").is_file()
    assert made in list_atlases()
    atlas = read_atlas("boxes")
    assert np.array_equal(atlas.labels, volume)
    assert atlas.info.space == "MNI152NLin6Asym"
    assert atlas.regions.names == ("first", "second")
    assert np.allclose(atlas.regions.centroids_mm[:, 0], [-12.0, 12.0])
    with pytest.raises(AtlasError, match="already"):
        add_atlas("boxes", tmp_path / "labels.nii.gz", tmp_path / "regions.tsv")


def test_added_atlas_that_contradicts_itself_is_refused_whole(tmp_path, own_folder):
    volume, grid, regions = boxes(sides=("R", "L"))
    volume[0, 0, 0] = 9
    write_nifti(tmp_path / "labels.nii.gz", [volume], None, np.int16, grid)
    write_region_table(tmp_path / "regions.tsv", regions)
    with pytest.raises(AtlasError, match=r"not in the table: 9.*other side of the midline"):
        add_atlas("boxes", tmp_path / "labels.nii.gz", tmp_path / "regions.tsv")
    assert not own_folder.exists()
    with pytest.raises(AtlasError, match="cannot be the name"):
        add_atlas("my atlas/..", tmp_path / "labels.nii.gz", tmp_path / "regions.tsv")
    with pytest.raises(AtlasError, match="has no colour"):
        add_atlas("boxes", tmp_path / "labels.nii.gz", tmp_path / "regions.tsv", None, {"colour": "red"})


def test_damaged_own_atlas_is_named(own_folder):
    (own_folder / "broken").mkdir(parents=True)
    (own_folder / "broken" / "atlas.json").write_text("{not json")
    with pytest.raises(AtlasError, match="broken"):
        list_atlases()


def test_template_is_a_brain_in_mni_space(template):
    assert template.space == "MNI152NLin2009aSym"
    assert np.array_equal(template.t1, template.t1[::-1])
    volume_cm3 = (template.t1 > 0).sum() * template.grid.voxel_volume_mm3 / 1000
    assert 1500 < volume_cm3 < 2100
    assert template.white.max() <= 1.0 and template.grey.max() <= 1.0
    centre = template.grid.to_world(np.argwhere(template.white > 0.5)).mean(axis=0)
    assert np.abs(centre - (0, -20, 10)).max() < 15
