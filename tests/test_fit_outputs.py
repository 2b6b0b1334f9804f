"""What fit writes beside the FODs (responses, apparent fibre density, peaks), and responses given to it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fibres import angle_deg
from runs import Heard

from tractome.errors import GradientError, OptionError
from tractome.io.images import read_orientation_field, read_volume
from tractome.io.nifti import open_nifti
from tractome.io.responses import read_response
from tractome.kernels.peaks import largest_peaks
from tractome.options import FitOptions, ReadOptions
from tractome.pipeline import find_scan, fit_subject, new_subject


def fit(phantom, out, responses=(), **options):
    scan = find_scan(phantom / "dwi.nii.gz", mask=phantom / "mask.nii.gz", responses=tuple(responses))
    with new_subject(out, scan.dwi, None, Heard()) as ledger:
        record = fit_subject(ledger, scan, ReadOptions(), FitOptions(lmax=4, **options))
    return record, out / "sub-01" / "dwi"


@pytest.fixture(scope="module")
def fitted(phantom, tmp_path_factory):
    return fit(phantom, tmp_path_factory.mktemp("fitted"), model="csd", n_peaks=3)


def test_the_response_lies_beside_the_fods_and_is_the_one_of_their_sidecar(fitted):
    record, folder = fitted
    written = read_response(folder / "sub-01_model-csd_response-wm.txt")
    facts = json.loads((folder / "sub-01_model-csd_param-wmfod_dwimap.json").read_text())
    np.testing.assert_allclose(written.zonal, facts["ResponseFunction"]["wm"], rtol=1e-12)
    assert written.bvals.tolist() == facts["Shells"]
    assert "dwi/sub-01_model-csd_response-wm.txt" in record.outputs


def test_afd_is_the_integral_of_the_fod(fitted):
    _, folder = fitted
    field = read_orientation_field(
        folder / "sub-01_model-csd_param-wmfod_dwimap.nii.gz", folder / "sub-01_desc-brain_mask.nii.gz"
    )
    afd, _ = read_volume(folder / "sub-01_model-csd_param-afd_dwimap.nii.gz")
    np.testing.assert_allclose(afd[field.mask], field.coefficients[:, 0] * np.sqrt(4 * np.pi), rtol=1e-6)
    assert not afd[~field.mask].any()


def test_peaks_are_vectors_of_the_fods_maxima(fitted):
    _, folder = fitted
    field = read_orientation_field(
        folder / "sub-01_model-csd_param-wmfod_dwimap.nii.gz", folder / "sub-01_desc-brain_mask.nii.gz"
    )
    file = open_nifti(folder / "sub-01_model-csd_param-peaks_dwimap.nii.gz")
    assert file.n_volumes == 9
    vectors = np.stack([volume[field.mask] for volume in file.volumes()], axis=1).reshape(-1, 3, 3)
    lengths = np.linalg.norm(vectors, axis=2)
    assert (np.diff(lengths, axis=1) <= 1e-6).all()
    directions, amplitudes = largest_peaks(field.coefficients, field.lmax, 1)
    clear = (lengths[:, 0] > 0.2) & (lengths[:, 1] < 0.8 * lengths[:, 0])
    np.testing.assert_allclose(lengths[clear, 0], amplitudes[clear, 0], rtol=0.03)
    assert angle_deg(vectors[clear, 0], directions[clear, 0]).max() < 2


def test_without_peaks_asked_for_there_is_no_such_image_and_a_given_response_gives_the_same_fods(
    fitted, phantom, tmp_path
):
    _, folder = fitted
    record, again = fit(phantom, tmp_path, [folder / "sub-01_model-csd_response-wm.txt"])
    name = "sub-01_model-csd_param-wmfod_dwimap.nii.gz"
    first, second = (read_orientation_field(each / name).coefficients for each in (folder, again))
    np.testing.assert_allclose(first, second, atol=1e-6)
    assert not (again / "sub-01_model-csd_param-peaks_dwimap.nii.gz").exists()
    assert record.facts["model"] == "csd" and "response-wm.txt" in record.facts["model_reason"]


def test_another_response_is_another_result(fitted, phantom, tmp_path):
    record, folder = fitted
    text = (folder / "sub-01_model-csd_response-wm.txt").read_text().splitlines()
    doubled = " ".join(str(2 * float(word)) for word in text[1].split())
    (tmp_path / "wm.txt").write_text(f"{text[0]}\n{doubled}\n")
    other, again = fit(phantom, tmp_path / "out", [tmp_path / "wm.txt"])
    assert other.key != record.key
    name = "sub-01_model-csd_param-afd_dwimap.nii.gz"
    first, second = (read_volume(each / name)[0] for each in (folder, again))
    high = first > 0.5
    assert np.median(second[high] / first[high]) == pytest.approx(0.5, abs=0.02)


def test_normalisation_is_written_and_divided_out(phantom, tmp_path):
    _, plain = fit(phantom, tmp_path / "plain", model="msmt")
    _, folder = fit(phantom, tmp_path / "normal", model="msmt", normalise=True)
    scale, _ = read_volume(folder / "sub-01_model-msmt_param-normalisation_dwimap.nii.gz")
    mask = scale > 0
    for name in ("wmfod", "csf", "gm"):
        path = f"sub-01_model-msmt_param-{name}_dwimap.nii.gz"
        first, second = (next(open_nifti(each / path).volumes()) for each in (plain, folder))
        np.testing.assert_allclose(second[mask], (first[mask] / scale[mask]), rtol=1e-4, atol=1e-6)
    facts = json.loads((folder / "sub-01_model-msmt_param-wmfod_dwimap.json").read_text())
    assert set(facts["Normalisation"]["BalanceFactors"]) == {"wm", "gm", "csf"}
    assert not (plain / "sub-01_model-msmt_param-normalisation_dwimap.nii.gz").exists()


def test_normalisation_of_one_tissue_is_refused_at_once(phantom, tmp_path):
    with pytest.raises(OptionError, match="Add --model msmt"):
        fit(phantom, tmp_path, normalise=True)


def test_the_command_line_takes_responses_and_their_faults_end_with_code_2(fitted, phantom, tmp_path):
    from typer.testing import CliRunner

    from tractome_cli.app import app

    _, folder = fitted
    response = folder / "sub-01_model-csd_response-wm.txt"
    words = ["fit", "--dwi", phantom / "dwi.nii.gz", "--mask", phantom / "mask.nii.gz", "--out", tmp_path]

    def run(*more):
        return CliRunner().invoke(app, [str(word) for word in (*words, *more)])

    for more, complaint in (
        (("--response", tmp_path / "none.txt"), "There is no response"),
        (("--response", response, "--model", "msmt"), "belong to model = csd"),
        (("--response", f"{response},{response}"), "must be b0"),
        (("--response", response, "--lmax", "8"), "ends at lmax 4"),
        (("--normalise", "--lmax", "4"), "Add --model msmt"),
    ):
        result = run(*more)
        assert result.exit_code == 2 and complaint in result.stderr, (more, result.stderr)
    result = run("--response", response, "--peaks", 2)
    assert result.exit_code == 0, result.output
    assert "response-wm.txt" in " ".join(result.output.split()).replace(" ", "")
    assert open_nifti(tmp_path / "sub-01" / "dwi" / "sub-01_model-csd_param-peaks_dwimap.nii.gz").n_volumes == 6


def test_a_response_that_is_not_there_or_does_not_fit_stops_fit_at_once(phantom, tmp_path):
    with pytest.raises(GradientError, match="Check the paths given with --response"):
        fit(phantom, tmp_path / "out", [tmp_path / "none.txt"])
    (tmp_path / "wm.txt").write_text("# Shells: 3000\n1000 -500 100\n")
    with pytest.raises(GradientError, match="do not meet at b = 3000"):
        fit(phantom, tmp_path / "out", [tmp_path / "wm.txt"])
