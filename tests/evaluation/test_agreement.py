"""Agreement of the two annotators: the human ceiling, by itself and beside a prediction."""

import numpy as np
import pytest
import xarray as xr
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, jaccard_score, precision_score, recall_score

from s2cmc.errors import CatalogueError, QueryError

SCORES = ["precision", "recall", "f1", "iou", "balanced_accuracy"]
SYMMETRICAL = ["f1", "iou", "cloud_accuracy", "cloud_kappa", "three_class_accuracy", "three_class_kappa"]


@pytest.fixture(scope="module")
def found(opened: xr.Dataset) -> xr.Dataset:
    """Agreement by the default question, CALIBRATION and VALIDATION apart."""
    return opened.clouds.agreement(resamples=50)


@pytest.fixture(scope="module")
def result(opened: xr.Dataset, labels: xr.DataArray) -> xr.Dataset:
    """Scores of a prediction beside the human ceiling."""
    return opened.clouds.evaluate(labels, ["dataset", "cirrus"], resamples=50)


def _by_person(opened: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The masks of A and of B (scene, y, x); 255 throughout where there is none."""
    by_a = (opened.annotator == "A").values[:, None, None]
    mask, alt_mask = opened.mask.values, opened.alt_mask.values
    return np.where(by_a, mask, alt_mask), np.where(by_a, alt_mask, mask)


def _exchanged(opened: xr.Dataset) -> xr.Dataset:
    """The catalogue with A and B in each other's place."""
    swapped = opened.clouds.select(has_alt_mask=True)
    return swapped.assign(mask=swapped.alt_mask, alt_mask=swapped.mask)


@pytest.mark.parametrize("stratum", ["all", "dataset=CALIBRATION", "dataset=VALIDATION"])
def test_agreement_is_that_of_scikit_learn(stratum: str, opened: xr.Dataset, found: xr.Dataset) -> None:
    member = opened.has_alt_mask.values
    if stratum != "all":
        member = member & (opened.dataset.values == stratum.removeprefix("dataset="))
    by_a, by_b = _by_person(opened)
    row = found.sel(stratum=stratum)
    for name, number, scored in (
        ("clear", 0, member & opened.shadows_marked.values),
        ("cloud", 1, member),
        ("cloud_shadow", 2, member & opened.shadows_marked.values),
    ):
        a, b = (np.ravel(masks[scored] == number) for masks in (by_a, by_b))
        scores = (precision_score, recall_score, f1_score, jaccard_score)
        expected = [score(a, b) if (a | b).any() else np.nan for score in scores]
        of_class = row.sel(mask_class=name)
        np.testing.assert_allclose([of_class[score] for score in SCORES[:4]], expected, rtol=1e-12)
        assert of_class.scenes == scored.sum()
    a, b = (np.ravel(masks[member]) for masks in (by_a, by_b))
    np.testing.assert_allclose(row.pixel_agreement, accuracy_score(a, b), rtol=1e-12)
    np.testing.assert_allclose(row.cloud_accuracy, accuracy_score(a == 1, b == 1), rtol=1e-12)
    np.testing.assert_allclose(row.cloud_kappa, cohen_kappa_score(a == 1, b == 1), rtol=1e-12)


def test_three_classes_are_of_scenes_with_marked_shadows(opened: xr.Dataset, found: xr.Dataset) -> None:
    member = opened.has_alt_mask.values & opened.shadows_marked.values
    a, b = (np.ravel(masks[member]) for masks in _by_person(opened))
    of_all = found.sel(stratum="all")
    np.testing.assert_allclose(of_all.three_class_accuracy, accuracy_score(a, b), rtol=1e-12)
    np.testing.assert_allclose(of_all.three_class_kappa, cohen_kappa_score(a, b), rtol=1e-12)
    assert of_all.three_class_accuracy != of_all.pixel_agreement


def test_calibration_and_validation_stand_apart(opened: xr.Dataset, found: xr.Dataset) -> None:
    assert found.stratum.values.tolist() == ["all", "dataset=MAIN", "dataset=VALIDATION", "dataset=CALIBRATION"]
    assert found.scenes.sel(mask_class="cloud").values.tolist() == [3, 0, 2, 1]
    # No scene of MAIN has two masks.
    empty = found.sel(stratum="dataset=MAIN")
    assert empty[[*SCORES, "pixel_agreement", "cloud_kappa"]].to_array().isnull().all()


def test_agreement_does_not_care_who_is_who(opened: xr.Dataset, found: xr.Dataset) -> None:
    exchanged = _exchanged(opened).clouds.agreement(resamples=50)
    for name in [*SYMMETRICAL, "pixel_agreement", "f1_lower", "iou_upper", "cloud_kappa_lower"]:
        np.testing.assert_allclose(exchanged[name], found[name], rtol=1e-12, err_msg=name)
    np.testing.assert_allclose(exchanged.precision, found.recall, rtol=1e-12)
    np.testing.assert_array_equal(exchanged.fp, found.fn)
    assert (found.fp != found.fn).any()


def test_agreement_is_the_score_of_b_where_a_is_the_truth(opened: xr.Dataset, found: xr.Dataset) -> None:
    part = opened.clouds.select(has_alt_mask=True)
    masks_of_b = part.clouds.masks("B").load()
    expected = part.clouds.evaluate(masks_of_b, "dataset", truth="A", resamples=50)
    shared = [name for name in found.data_vars if name in expected]
    assert set(shared) >= {*SCORES, *SYMMETRICAL, "f1_lower", "scenes", "groups", "tp", "ignored_shadow"}
    xr.testing.assert_equal(found[shared], expected[shared])


def test_a_class_that_one_of_the_two_gave_has_a_score(opened: xr.Dataset) -> None:
    # A saw no cloud at all, which B did: of a prediction that would be undefined, of two persons it is disagreement.
    one = opened.clouds.select(has_alt_mask=True, annotator="A").isel(scene=[0]).load()
    one["mask"] = xr.zeros_like(one.mask)
    cloud = one.clouds.agreement(None, resamples=20).sel(stratum="all", mask_class="cloud")
    assert (cloud.f1, cloud.iou, cloud.precision) == (0, 0, 0)
    assert np.isnan(cloud.recall)


def test_merged_shadow_is_clear_to_both(opened: xr.Dataset) -> None:
    merged = opened.clouds.agreement(None, merge_shadow=True, resamples=20).sel(stratum="all")
    assert merged.mask_class.values.tolist() == ["non_cloud", "cloud"]
    a, b = (np.ravel(masks[opened.has_alt_mask.values]) == 1 for masks in _by_person(opened))
    assert merged.pixel_agreement == merged.cloud_accuracy == accuracy_score(a, b)
    np.testing.assert_allclose(merged.f1, [f1_score(~a, ~b), f1_score(a, b)], rtol=1e-12)


def test_boundaries_are_those_of_a(opened: xr.Dataset, found: xr.Dataset) -> None:
    away = opened.clouds.agreement(boundary_buffer=1, resamples=20)
    part = opened.clouds.select(has_alt_mask=True)
    expected = part.clouds.confusion(part.clouds.masks("B").load(), truth="A", boundary_buffer=1)
    np.testing.assert_array_equal(away.ignored_boundary[0], expected.ignored.sel(reason="boundary").sum())
    assert (away.f1 > found.f1)[0].all()


def test_agreement_records_its_options(opened: xr.Dataset) -> None:
    options = {"boundary_buffer": 1, "merge_shadow": True, "resamples": 20, "confidence": 0.5, "seed": 2}
    attributes = opened.clouds.agreement(**options).attrs
    assert {name: attributes.get(name) for name in options} == options


def test_agreement_needs_scenes_that_both_annotated(opened: xr.Dataset) -> None:
    alone = opened.clouds.select(has_alt_mask=False)
    with pytest.raises(CatalogueError, match="no scene here has masks of both annotators; select some"):
        alone.clouds.agreement()
    with pytest.raises(CatalogueError, match="no 'alt_mask', which is needed here"):
        opened.drop_vars("alt_mask").clouds.agreement()


@pytest.mark.usefixtures("no_compute")
@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"by": "surface"}, r"no question 'surface' to ask by"),
        ({"boundary_buffer": -2}, "boundary_buffer -2 is no number of pixels"),
        ({"resamples": 0}, "resamples 0 is no whole number from 1 on"),
    ],
    ids=str,
)
def test_what_agreement_cannot_be_asked_is_refused(option: dict, message: str, opened: xr.Dataset) -> None:
    with pytest.raises(QueryError, match=message):
        opened.clouds.agreement(**option)


def test_labels_of_all_scenes_are_a_question_of_agreement_too(opened: xr.Dataset) -> None:
    hard = xr.DataArray(np.where(opened.difficulty > 4, "yes", "no"), dims="scene", name="hard")
    found = opened.clouds.agreement(hard, resamples=20)
    expected = opened.clouds.agreement("difficulty", resamples=20)
    np.testing.assert_array_equal(found.f1.sel(stratum="hard=yes"), expected.f1.sel(stratum="difficulty=5"))


def test_the_ceiling_of_a_prediction_is_agreement_on_the_same_scenes(opened: xr.Dataset, result: xr.Dataset) -> None:
    part = opened.clouds.select(has_alt_mask=True)
    expected = part.clouds.agreement(["dataset", "cirrus"], resamples=50)
    # All that is symmetrical pixel by pixel; the chances of kappa depend on who was the main annotator of which scene.
    for name in ("f1", "iou", "cloud_accuracy", "three_class_accuracy"):
        np.testing.assert_allclose(result[f"human_{name}"], expected[name], rtol=1e-12, err_msg=name)
    assert result.human_f1.sel(stratum="all").notnull().all()
    np.testing.assert_array_equal(result.doubly_annotated, expected.scenes)


def test_the_ceiling_is_the_other_mask_against_the_same_truth(opened: xr.Dataset, result: xr.Dataset) -> None:
    part = opened.clouds.select(has_alt_mask=True)
    expected = part.clouds.evaluate(part.alt_mask.compute(), ["dataset", "cirrus"], resamples=20)
    for name in (*SCORES, *SYMMETRICAL):
        np.testing.assert_array_equal(result[f"human_{name}"], expected[name], err_msg=name)


def test_beside_the_ceiling_stands_the_prediction_on_the_same_scenes(
    opened: xr.Dataset, labels: xr.DataArray, result: xr.Dataset
) -> None:
    part = opened.clouds.select(has_alt_mask=True)
    expected = part.clouds.evaluate(labels, ["dataset", "cirrus"], resamples=20)
    for name in (*SCORES, *SYMMETRICAL):
        np.testing.assert_array_equal(result[f"doubly_{name}"], expected[name], err_msg=name)


@pytest.mark.parametrize(("truth", "rival"), [("other", "primary"), ("A", "B"), ("B", "A")])
def test_the_ceiling_is_counted_like_the_prediction(
    truth: str, rival: str, opened: xr.Dataset, labels: xr.DataArray
) -> None:
    options = {"truth": truth, "boundary_buffer": 1, "merge_shadow": True}
    found = opened.clouds.evaluate(labels, resamples=20, **options)
    part = opened.clouds.select(has_alt_mask=True)
    expected = part.clouds.evaluate(part.clouds.masks(rival).load(), resamples=20, **options)
    for name in ("precision", "recall", "f1", "cloud_kappa"):
        np.testing.assert_array_equal(found[f"human_{name}"], expected[name])
    assert found.human_f1.notnull().all()


def test_without_doubly_annotated_scenes_there_is_no_ceiling(opened: xr.Dataset, labels: xr.DataArray) -> None:
    found = opened.clouds.select(has_alt_mask=False).clouds.evaluate(labels, resamples=20)
    assert int(found.doubly_annotated.sum()) == 0
    assert found[["human_f1", "doubly_f1", "human_cloud_kappa"]].to_array().isnull().all()
