"""Responses as files: written, read back, given in place of estimated ones; MRtrix3's and ours alike."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
from fibres import block, table
from test_fit import brain

from tractome.datatypes.response import ResponseTable
from tractome.errors import GradientError, OptionError
from tractome.io.responses import read_response, write_response
from tractome.options import FitOptions
from tractome.stages.fit import estimate_response, fit_fods, fit_tensors, given_response

WHITE = np.array([[3500, 0, 0, 0, 0, 0], [1800, -570, 100, -17, 0, 0], [1060, -550, 180, -43, 6, -2.5]])
GREY, CSF = np.array([[3500.0], [1700], [800]]), np.array([[7000.0], [350], [126]])
SHELLS = np.array([0.0, 1000, 2000])
TWO_SHELLS = table((20, 32), (1000.0, 2000.0))


def tables(*zonal, bvals=SHELLS):
    return [ResponseTable(np.asarray(rows, float), bvals, f"{i}.txt") for i, rows in enumerate(zonal)]


def test_what_is_written_is_read_back(tmp_path):
    write_response(tmp_path / "wm.txt", WHITE / 3, [5, 1000.25, 2000])
    back = read_response(tmp_path / "wm.txt")
    np.testing.assert_allclose(back.zonal, WHITE / 3, rtol=1e-14)
    np.testing.assert_array_equal(back.bvals, [5, 1000.25, 2000])
    assert (tmp_path / "wm.txt").read_text().startswith("# Shells: 5,1000.25,2000\n")


def test_the_text_of_mrtrix_is_read(tmp_path):
    path = tmp_path / "response.txt"
    path.write_text(
        "# Shells: 0,1000,2000\n# command_history: amp2response dwi.mif -shells '0,1000,2000'  (version=3.0.3)\n"
        "3518.16231345749 0 0\n1829.8917001531 -572.617501067353 100.958024191452\n\n1067 -556.0 1.8e2 \n"
    )
    found = read_response(path)
    assert found.bvals.tolist() == [0, 1000, 2000] and found.name == "response.txt"
    assert found.zonal[1].tolist() == [1829.8917001531, -572.617501067353, 100.958024191452]
    assert found.zonal.shape == (3, 3)
    path.write_text("1062.5, -561 180\n")
    found = read_response(path)
    assert found.bvals is None and found.zonal.tolist() == [[1062.5, -561, 180]]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "has no row"),
        ("1 2 3\n4 5\n", "rows of 2, 3 numbers"),
        ("1 2 x\n", "line 1: '1 2 x'"),
        ("# Shells: 0,1000\n1 2\n", "has 1 rows, but its line '# Shells:' names 2"),
        ("-1 2\n", "not positive"),
        ("nan 2\n", "not positive"),
    ],
)
def test_what_is_no_response_is_refused(tmp_path, text, complaint):
    path = tmp_path / "response.txt"
    path.write_text(text)
    with pytest.raises(GradientError, match=complaint):
        read_response(path)


def test_a_missing_or_binary_response_is_refused(tmp_path):
    with pytest.raises(GradientError, match="cannot be read: No such file"):
        read_response(tmp_path / "none.txt")
    (tmp_path / "image.txt").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(GradientError, match="not text"):
        read_response(tmp_path / "image.txt")


def test_the_number_of_files_says_the_model():
    one = given_response(tables(WHITE[2:], bvals=SHELLS[2:]), TWO_SHELLS, FitOptions())
    assert one.choice.model == "csd" and one.choice.shells_s_per_mm2 == (2000.0,) and one.choice.lmax == 8
    assert set(one.zonal) == {"wm"} and "0.txt" in one.choice.reason
    two = given_response(tables(WHITE, CSF), TWO_SHELLS, FitOptions())
    assert two.choice.model == "msmt" and list(two.zonal) == ["wm", "csf"] and two.bvals.tolist() == [0, 1000, 2000]
    three = given_response(tables(WHITE, GREY, CSF), TWO_SHELLS, FitOptions(model="msmt"))
    assert list(three.zonal) == ["wm", "gm", "csf"]
    np.testing.assert_array_equal(three.zonal["gm"], GREY)
    with pytest.raises(OptionError, match="4 response files"):
        given_response(tables(WHITE, GREY, CSF, CSF), TWO_SHELLS, FitOptions())
    with pytest.raises(OptionError, match="3 response files belong to model = msmt"):
        given_response(tables(WHITE, GREY, CSF), TWO_SHELLS, FitOptions(model="csd"))
    with pytest.raises(OptionError, match="belong to model = csd"):
        given_response(tables(WHITE[2:], bvals=SHELLS[2:]), TWO_SHELLS, FitOptions(model="tensor"))


def test_one_response_of_several_rows_gives_the_row_of_the_shell():
    high = given_response(tables(WHITE), TWO_SHELLS, FitOptions())
    np.testing.assert_array_equal(high.zonal["wm"], WHITE[2:, :5])
    low = given_response(tables(WHITE), TWO_SHELLS, FitOptions(fod_shell_s_per_mm2=1000))
    assert low.choice.shells_s_per_mm2 == (1000.0,)
    np.testing.assert_array_equal(low.zonal["wm"], WHITE[1:2, :5])
    with pytest.raises(GradientError, match="no line '# Shells:'"):
        given_response(tables(WHITE, bvals=None), TWO_SHELLS, FitOptions())


def test_one_row_names_the_shell_even_where_another_would_be_chosen():
    low = given_response(tables(WHITE[1:2], bvals=SHELLS[1:2]), TWO_SHELLS, FitOptions())
    assert low.choice.shells_s_per_mm2 == (1000.0,)
    unnamed = given_response(tables(WHITE[2:], bvals=None), TWO_SHELLS, FitOptions())
    assert unnamed.choice.shells_s_per_mm2 == (2000.0,)


def test_b_values_that_jitter_are_one_shell():
    scan = table((20, 32), (995.0, 2010.0))
    assert given_response(tables(WHITE, CSF), scan, FitOptions()).choice.shells_s_per_mm2 == (995.0, 2010.0)


def test_shells_that_do_not_meet_are_refused():
    with pytest.raises(GradientError, match="do not meet at b = 3000"):
        given_response(tables(WHITE[2:], bvals=np.array([3000.0])), TWO_SHELLS, FitOptions())
    with pytest.raises(GradientError, match="do not meet at b = 1000"):
        given_response(tables(WHITE[2:], bvals=SHELLS[2:]), TWO_SHELLS, FitOptions(fod_shell_s_per_mm2=1000))
    with pytest.raises(GradientError, match="do not meet at b = 2000"):
        given_response(tables(WHITE, CSF), table((32,), (1000.0,)), FitOptions())
    with pytest.raises(GradientError, match="has no row for b = 1000"):
        given_response(tables(WHITE[[0, 2]], CSF[[0, 2]], bvals=SHELLS[[0, 2]]), TWO_SHELLS, FitOptions())
    with pytest.raises(GradientError, match="has 2 rows; the scan has b0 and 2 shells"):
        given_response(tables(WHITE[:2], CSF[:2], bvals=None), TWO_SHELLS, FitOptions())
    with pytest.raises(GradientError, match=r"0.txt 3, 0.txt 2"):
        given_response([*tables(WHITE), *tables(CSF[:2], bvals=SHELLS[:2])], TWO_SHELLS, FitOptions())
    with pytest.raises(GradientError, match="it must be b0"):
        given_response(tables(WHITE[1:], CSF[1:], bvals=SHELLS[1:]), TWO_SHELLS, FitOptions())
    with pytest.raises(GradientError, match="begin with b0"):
        given_response(tables(WHITE, CSF), table((20, 32), (1000.0, 2000.0), n_b0=0), FitOptions())


def test_orders_that_the_response_lacks_are_refused_or_left_out():
    short = tables(WHITE[2:, :4], bvals=SHELLS[2:])
    assert given_response(short, TWO_SHELLS, FitOptions()).choice.lmax == 6
    with pytest.raises(OptionError, match="ends at lmax 6"):
        given_response(short, TWO_SHELLS, FitOptions(lmax=8))
    with pytest.raises(GradientError, match="isotropic"):
        given_response(tables(CSF, CSF), TWO_SHELLS, FitOptions())
    with pytest.raises(GradientError, match="Give white matter first"):
        given_response(tables(WHITE, WHITE), TWO_SHELLS, FitOptions())


@pytest.mark.parametrize("model", ["csd", "msmt"])
def test_an_estimated_response_written_and_given_makes_the_same_fods(tmp_path, model):
    scan, _, _ = brain(table((20, 45), (1000.0, 2500.0), n_b0=5), (8, 6, 5))
    if model == "msmt":  # enough of each tissue to estimate from
        scan, _, _ = brain(table((20, 45), (1000.0, 2500.0), n_b0=5))
    options = FitOptions(model=model)
    response = estimate_response(scan, fit_tensors(scan, options), options)
    for name, zonal in response.zonal.items():
        write_response(tmp_path / f"{name}.txt", zonal, response.bvals)
    back = [read_response(tmp_path / f"{name}.txt") for name in response.zonal]
    given = given_response(back, scan.gradients, FitOptions())
    assert (given.choice.model, given.choice.lmax) == (response.choice.model, response.choice.lmax)
    small = block(scan.signal[:60], scan.gradients, (60, 1, 1))
    first, second = fit_fods(small, response, options), fit_fods(small, given, FitOptions())
    np.testing.assert_allclose(first.coefficients, second.coefficients, atol=1e-6)
    assert first.tissues.keys() == second.tissues.keys()


def _mrtrix(words, folder):
    subprocess.run([*words, "-quiet", "-nthreads", "2", "-force"], cwd=folder, check=True)


@pytest.mark.real
def test_responses__mrtrix_comparison(shared_data, tmp_path, mrtrix):
    """On a phantom: ours within a few percent of dwi2response's, and dwi2fod reads ours as it reads its own."""
    from tractome.io.images import read_orientation_field, write_volume
    from tractome.io.subjects import read_diffusion
    from tractome.options import ReadOptions

    folder = shared_data / "phantom_2mm"
    names = [folder / f"dwi.{end}" for end in ("nii.gz", "bval", "bvec")]
    gradients = ["-fslgrad", folder / "dwi.bvec", folder / "dwi.bval"]
    _mrtrix(["mrconvert", names[0], *gradients, "dwi.mif"], tmp_path)
    masked = ["-mask", folder / "mask.nii.gz", "-scratch", tmp_path]
    _mrtrix(["dwi2response", "tournier", "dwi.mif", "sf.txt", "-lmax", "8", "-shells", "2000", *masked], tmp_path)
    _mrtrix(["dwi2response", "dhollander", "dwi.mif", "wm.txt", "gm.txt", "csf.txt", *masked], tmp_path)
    scan = read_diffusion(*names, folder / "mask.nii.gz", ReadOptions()).image
    tensors = fit_tensors(scan, FitOptions())
    one = estimate_response(scan, tensors, FitOptions(model="csd"))
    three = estimate_response(scan, tensors, FitOptions(model="msmt"))

    theirs = read_response(tmp_path / "sf.txt")
    assert theirs.bvals.tolist() == [2000]
    np.testing.assert_allclose(one.zonal["wm"][0], theirs.zonal[0], atol=0.03 * theirs.zonal[0, 0])
    for tissue in ("wm", "gm", "csf"):
        theirs = read_response(tmp_path / f"{tissue}.txt")
        assert theirs.bvals.tolist() == three.bvals.tolist() == [0, 1000, 2000]
        n = min(theirs.zonal.shape[1], three.zonal[tissue].shape[1])
        apart = np.abs(three.zonal[tissue][:, :n] - theirs.zonal[:, :n]) / theirs.zonal[:, :1]
        assert apart.max() < (0.06 if tissue == "wm" else 0.15), (tissue, apart)

    inside = np.zeros_like(scan.mask)
    inside[30:40, 40:44, 30:34] = True
    inside &= scan.mask
    write_volume(tmp_path / "small.nii", inside, scan.grid)
    small = read_diffusion(*names, tmp_path / "small.nii", ReadOptions()).image
    bases = {"csd": [one], "msmt": [three]}
    for model, (response,) in bases.items():
        words = ["dwi2fod", "csd" if model == "csd" else "msmt_csd", "dwi.mif"]
        for tissue, zonal in response.zonal.items():
            write_response(tmp_path / f"ours-{tissue}.txt", zonal, response.bvals)
            words += [f"ours-{tissue}.txt", f"{model}-{tissue}.nii"]
        extra = ["-shells", "2000"] if model == "csd" else []
        _mrtrix([*words, "-mask", "small.nii", *extra], tmp_path)
        given = [read_response(tmp_path / f"ours-{tissue}.txt") for tissue in response.zonal]
        ours = fit_fods(small, given_response(given, small.gradients, FitOptions()), FitOptions())
        theirs = read_orientation_field(tmp_path / f"{model}-wm.nii", tmp_path / "small.nii")
        a, b = ours.coefficients[:, 1:], theirs.coefficients[:, 1:]
        acc = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        white = ours.coefficients[:, 0] > 0.15
        assert np.median(acc[white]) > 0.98
        assert np.median(ours.coefficients[white, 0] / theirs.coefficients[white, 0]) == pytest.approx(1, abs=0.03)
