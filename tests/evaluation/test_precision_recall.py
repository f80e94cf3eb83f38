"""Precision and recall of cloud at every threshold, against scikit-learn and against `evaluate`."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from sklearn.metrics import average_precision_score, precision_recall_curve

from s2cmc.errors import PredictionError, QueryError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def probabilities(opened: xr.Dataset) -> xr.DataArray:
    """Multiples of 0.001 below 1, higher where there is cloud; NaN here and there."""
    rng = np.random.default_rng(5)
    steps = rng.integers(0, 700, opened.mask.shape) + 300 * (opened.mask.values == 1)
    values = np.where(rng.random(steps.shape) < 0.01, np.nan, steps / 1000)
    return xr.DataArray(values, dims=("scene", "y", "x"), coords={"scene": opened.scene.values})


@pytest.fixture(scope="module")
def counts(opened: xr.Dataset, probabilities: xr.DataArray) -> xr.Dataset:
    """What `probabilities` are counted as; the threshold does not matter to a curve."""
    return opened.clouds.confusion(probabilities, threshold=0.7).compute()


@pytest.fixture(scope="module")
def curve(opened: xr.Dataset, counts: xr.Dataset) -> xr.Dataset:
    return opened.clouds.precision_recall(counts, ["cirrus", "difficulty"])


def _pixels(opened: xr.Dataset, probabilities: xr.DataArray, member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether there is cloud, and its probability, in the pixels of some scenes that have both."""
    truth, probability = opened.mask.values[member], probabilities.values[member]
    used = (truth <= 2) & ~np.isnan(probability)
    return truth[used] == 1, probability[used]


def test_curves_are_those_of_scikit_learn(opened: xr.Dataset, probabilities: xr.DataArray, curve: xr.Dataset) -> None:
    cirrus = opened.cirrus.values
    for name, member in {"all": cirrus | True, "cirrus": cirrus, "not cirrus": ~cirrus}.items():
        row = curve.sel(stratum=name)
        cloud, probability = _pixels(opened, probabilities, member)
        precision, recall, thresholds = precision_recall_curve(cloud, probability)
        # The bins of the curve begin at the very numbers that the probabilities are.
        at = row.sel(threshold=thresholds)
        np.testing.assert_allclose(at.precision, precision[:-1], rtol=1e-12)
        np.testing.assert_allclose(at.recall, recall[:-1], rtol=1e-12)
        harmonic = 2 * precision[:-1] * recall[:-1] / (precision[:-1] + recall[:-1])
        np.testing.assert_allclose(at.f1, harmonic, rtol=1e-12)
        np.testing.assert_allclose(row.average_precision, average_precision_score(cloud, probability), rtol=1e-12)


@pytest.mark.parametrize(
    ("threshold", "dtype"), [(0.001, "float64"), (0.3, "float32"), (0.537, "float32"), (0.999, "float64")]
)
def test_a_curve_holds_the_scores_of_every_threshold(
    threshold: float, dtype: str, opened: xr.Dataset, probabilities: xr.DataArray
) -> None:
    part = opened.isel(scene=[0, 3, 5, 9])
    # 1 has no bin of its own, and stands in the last one.
    given = xr.where(probabilities > 0.95, 1, probabilities).astype(dtype)
    scored = part.clouds.evaluate(given, threshold=threshold, resamples=1).sel(stratum="all", mask_class="cloud")
    found = part.clouds.precision_recall(given).sel(stratum="all", threshold=threshold)
    for name in ("precision", "recall", "f1"):
        np.testing.assert_allclose(found[name], scored[name], rtol=1e-12)


def test_a_curve_has_a_thousand_thresholds_and_says_of_what(curve: xr.Dataset) -> None:
    np.testing.assert_array_equal(curve.threshold, np.arange(1000) / 1000)
    assert curve.stratum.values[:3].tolist() == ["all", "cirrus", "not cirrus"]
    assert {name: variable.dims for name, variable in curve.data_vars.items()} == {
        "precision": ("stratum", "threshold"),
        "recall": ("stratum", "threshold"),
        "f1": ("stratum", "threshold"),
        "average_precision": ("stratum",),
    }
    assert (curve.recall.sel(stratum="all").diff("threshold") <= 0).all()
    assert curve.recall.sel(stratum="all", threshold=0) == 1


def test_the_threshold_of_the_counts_does_not_matter(
    opened: xr.Dataset, probabilities: xr.DataArray, curve: xr.Dataset
) -> None:
    for asked in (probabilities, opened.clouds.confusion(probabilities.chunk(scene=2), threshold=0.1)):
        xr.testing.assert_identical(opened.clouds.precision_recall(asked, ["cirrus", "difficulty"]), curve)


def test_probabilities_in_files_have_a_curve(
    opened: xr.Dataset, probabilities: xr.DataArray, curve: xr.Dataset, tmp_path: Path
) -> None:
    for one in probabilities:
        np.save(tmp_path / f"{one.scene.item()}.npy", one.values)
    xr.testing.assert_identical(opened.clouds.precision_recall(tmp_path, ["cirrus", "difficulty"]), curve)


def test_a_stratum_without_cloud_has_no_curve(opened: xr.Dataset, counts: xr.Dataset) -> None:
    found = opened.clouds.precision_recall(counts, "scene")
    without = found.sel(stratum=opened.scene.values[(opened.mask_cloud_percent == 0).values])
    assert without.sizes["stratum"] > 0
    assert without.to_array().isnull().all()
    assert found.average_precision.sel(stratum=opened.scene.values[5]) == 1, "a scene of nothing but cloud"


def test_above_the_highest_probability_nothing_is_predicted(opened: xr.Dataset) -> None:
    half = xr.DataArray(np.full((10, 64, 64), 0.5), dims=("scene", "y", "x"), coords={"scene": opened.scene.values})
    found = opened.clouds.precision_recall(half).sel(stratum="all")
    share = float((opened.mask.values == 1).sum() / (opened.mask.values != 255).sum())
    np.testing.assert_allclose(found.precision.sel(threshold=[0, 0.5, 0.501, 0.999]), [share, share, np.nan, np.nan])
    assert found.recall.sel(threshold=[0, 0.5, 0.501, 0.999]).values.tolist() == [1, 1, 0, 0]
    np.testing.assert_allclose(found.average_precision, share)


@pytest.mark.parametrize("options", [{"truth": "A"}, {"boundary_buffer": 2}], ids=str)
def test_a_curve_is_of_what_was_counted(options: dict, opened: xr.Dataset, probabilities: xr.DataArray) -> None:
    found = opened.clouds.precision_recall(probabilities, **options)
    counts = opened.clouds.confusion(probabilities, threshold=0.25, **options)
    xr.testing.assert_identical(found, opened.clouds.precision_recall(counts))
    scored = opened.clouds.evaluate(counts, resamples=1).sel(mask_class="cloud")
    np.testing.assert_allclose(found.f1.sel(threshold=0.25), scored.f1)


@pytest.mark.usefixtures("no_compute")
def test_labels_have_no_curve(opened: xr.Dataset, probabilities: xr.DataArray, counts: xr.Dataset) -> None:
    cloud = probabilities > 0.5
    with pytest.raises(PredictionError, match="bool values are labels"):
        opened.clouds.precision_recall(cloud)
    with pytest.raises(PredictionError, match="needs probabilities; these counts are of labels"):
        opened.clouds.precision_recall(opened.clouds.confusion(cloud))
    for option in ({"boundary_buffer": 1}, {"truth": "B"}):
        with pytest.raises(QueryError, match="comes too late: these counts are made"):
            opened.clouds.precision_recall(counts, **option)
    with pytest.raises(PredictionError, match="do not hold every scene"):
        opened.clouds.precision_recall(counts.isel(scene=[0, 1]))
