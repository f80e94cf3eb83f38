"""The checks of one scene: what is stored follows from it bit for bit, or the scene stops with an error."""

import re
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from s2cmc.conversion.source.checks import (
    VALID_LABELS,
    check_subscene,
    count_extremes,
    count_labels,
    fill_dn,
    fill_floats,
    percentages_agree,
    shadows_consistent,
    tags_consistent,
    to_dn,
    to_labels,
    to_one_hot,
)
from s2cmc.errors import SceneError
from s2cmc.schema.bands import BAND_NAMES
from s2cmc.schema.catalogue import TAGS

SCENE = "S2A_MSIL1C_20180101T010721_N0206_R045_T53HLD_20180101T041600"
ALL_DN = np.arange(65_536, dtype=np.uint16)
TEN_THOUSAND = np.float32(10_000)


def bits(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, np.float32).view(np.uint32)


def pixel(value: float, band: str = "B04") -> np.ndarray:
    """Reflectance of 3 x 2 pixels, 0.1 but for `value` at y=2, x=1 of one band."""
    array = np.full((3, 2, 13), 0.1, np.float32)
    array[2, 1, BAND_NAMES.index(band)] = value
    return array


def test_all_65536_dn_come_back_bit_for_bit() -> None:
    reflectance = (ALL_DN / TEN_THOUSAND).reshape(256, 256, 1).repeat(13, axis=2)
    dn = to_dn(reflectance, SCENE)
    assert dn.dtype == np.uint16
    assert np.array_equal(dn[..., 5].ravel(), ALL_DN)
    assert np.array_equal(bits(dn / TEN_THOUSAND), bits(reflectance))


def test_a_scene_of_any_height_and_memory_order_is_converted() -> None:
    dn = np.random.default_rng(0).integers(0, 65_536, (130, 7, 13), np.uint16)
    assert np.array_equal(to_dn(dn / TEN_THOUSAND, SCENE), dn)
    assert np.array_equal(to_dn(np.asfortranarray(dn / TEN_THOUSAND), SCENE), dn)
    assert np.array_equal(to_dn((dn / TEN_THOUSAND).astype(">f4"), SCENE), dn)


def test_reflectance_above_1_is_kept() -> None:
    reflectance = np.full((1, 1, 13), np.float32(1.9))
    assert (to_dn(reflectance, SCENE) == 19_000).all()


_WHOLE = set(bits(ALL_DN / TEN_THOUSAND).tolist())
_FLOAT_BITS = st.integers(0, 2**32 - 1) | st.integers(0, 65_535).flatmap(
    # Neighbours of whole DN are where a careless rounding would let a loss through.
    lambda dn: st.integers(-2, 2).map(lambda ulp: max(0, int((np.float32(dn) / TEN_THOUSAND).view(np.uint32)) + ulp))
)


@settings(deadline=None)
@given(st.lists(_FLOAT_BITS, min_size=1, max_size=6), st.integers(0, 51))
@example([0x7FA0_0000], 0)  # a signalling NaN
@example([0xFF7F_FFFF], 0)  # the lowest number: times 10000 it overflows
def test_any_float32_comes_back_in_every_bit_or_is_an_error(drawn: list[int], first: int) -> None:
    pattern = np.zeros((2, 2, 13), np.uint32)
    pattern.ravel()[(first + 7 * np.arange(len(drawn))) % 52] = drawn
    reflectance = pattern.view(np.float32)
    whole = np.vectorize(_WHOLE.__contains__)(pattern)
    if whole.all():
        assert np.array_equal(bits(to_dn(reflectance, SCENE) / TEN_THOUSAND), pattern)
        return
    with pytest.raises(SceneError, match=r"would be lost|no reflectance|these are DN") as error:
        to_dn(reflectance, SCENE)
    for name, wrong, band in zip(BAND_NAMES, np.moveaxis(~whole, -1, 0), np.moveaxis(reflectance, -1, 0), strict=True):
        y, x = np.unravel_index(wrong.argmax(), wrong.shape)
        line = f"{name}: {wrong.sum()} pixels, the first at y={y}, x={x} is {band[y, x]!s}"
        assert (line in str(error.value)) == wrong.any()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (float("-inf"), "-inf"),
        (-0.0, "-0.0"),
        (-0.0001, "-1e-04"),
        (0.12345, "0.12345"),  # 1234.5 DN
        (6.5536, "6.5536"),  # 65536 DN
        (1e-45, "1e-45"),
        (np.nextafter(np.float32(0.1), np.float32(1)), "0.1"),
    ],
)
def test_what_is_no_whole_dn_stops_the_scene(value: float, shown: str) -> None:
    message = (
        f"{SCENE}: reflectance .*B04: 1 pixels, the first at y=2, x=1 is {re.escape(shown)}.*--reflectance float32"
    )
    with pytest.raises(SceneError, match=message):
        to_dn(pixel(value), SCENE)


def test_every_wrong_band_is_named_with_its_count() -> None:
    array = pixel(float("nan"), "B02")
    array[:, 0, BAND_NAMES.index("B8A")] = 0.00005
    with pytest.raises(
        SceneError, match=r"B02: 1 pixels, .*x=1 is nan; B8A: 3 pixels, the first at y=0, x=0 is 5e-05\)"
    ):
        to_dn(array, SCENE)


def test_a_subscene_has_13_bands_of_the_common_size_in_float32() -> None:
    check_subscene(np.zeros((4, 5, 13), np.float32), (4, 5), SCENE)
    with pytest.raises(SceneError, match=rf"{SCENE}: .* shape \(5, 4, 13\); expected \(4, 5, 13\)"):
        check_subscene(np.zeros((5, 4, 13), np.float32), (4, 5), SCENE)
    with pytest.raises(SceneError, match=r"shape \(4, 5, 12\); expected \(4, 5, 13\) \(y, x, band\)"):
        check_subscene(np.zeros((4, 5, 12), np.float32), (4, 5), SCENE)
    with pytest.raises(
        SceneError, match=r"shape \(13, 4, 5\); its axes look transposed, band first; expected \(4, 5, 13\)"
    ):
        check_subscene(np.zeros((13, 4, 5), np.float32), (4, 5), SCENE)
    with pytest.raises(SceneError, match="is float64; expected float32 reflectance"):
        check_subscene(np.zeros((4, 5, 13)), (4, 5), SCENE)
    with pytest.raises(SceneError, match="is uint16; expected float32 reflectance"):
        check_subscene(np.zeros((4, 5, 13), np.uint16), (4, 5), SCENE)


def test_zero_and_saturated_pixels_are_counted_once_however_many_bands() -> None:
    dn = np.full((4, 4, 13), 1000, np.uint16)
    dn[0, 0] = 0
    dn[0, 1, 3] = 0
    dn[1, :, 7] = 65_535
    expected = {"zero_pixels": 2, "saturated_pixels": 4, "nonfinite_pixels": 0, "invalid_pixels": 2}
    assert count_extremes(dn) == count_extremes(dn / TEN_THOUSAND) == expected


def test_pixels_that_are_not_finite_or_negative_are_counted() -> None:
    reflectance = np.full((4, 4, 13), 0.1, np.float32)
    reflectance[0, 0] = np.nan
    reflectance[1, 2, 5] = np.inf
    reflectance[2, 2, 5] = -0.001
    reflectance[2, 2, 6] = 0
    expected = {"zero_pixels": 1, "saturated_pixels": 0, "nonfinite_pixels": 3, "invalid_pixels": 3}
    assert count_extremes(reflectance) == expected


@pytest.mark.parametrize("fill", ["uint16", "float32"])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (-9999.0, r"values from -9999 to -9999 are no reflectance \(B04: 1 pixels, .*expected -0\.1 to 6\.6.*--skip"),
        (7.5, r"values from 7\.5 to 7\.5 are no reflectance"),
        (6501.0, r"its reflectance is whole and goes up to 6501 .*these are DN; convert with --from-dn"),
    ],
    ids=["fill value", "too bright", "DN"],
)
def test_values_that_no_reflectance_has_stop_the_scene(fill: str, value: float, said: str) -> None:
    """Also where floats are stored as they are: 6501 would be taken for a reflectance."""
    with pytest.raises(SceneError, match=rf"{SCENE}: {said}"):
        fill_as(fill, pixel(value))


@pytest.mark.parametrize("fill", ["uint16", "float32"])
def test_a_scene_of_small_dn_is_no_reflectance_of_1_to_6(fill: str) -> None:
    dn = np.resize(np.arange(7, dtype=np.float32), (3, 4, 13))
    with pytest.raises(SceneError, match=r"consists of whole numbers only: these are DN; convert with --from-dn"):
        fill_as(fill, dn)
    dn[2, 3, 12] = 0.5
    fill_as(fill, dn)


def fill_as(dtype: str, values: np.ndarray) -> None:
    if dtype == "uint16":
        fill_dn(np.empty((13, *values.shape[:2]), np.uint16), [values], SCENE)
    else:
        fill_floats(np.empty_like(values), [values], SCENE)


def test_every_dn_held_as_float_comes_back() -> None:
    values = ALL_DN.astype(np.float32).reshape(-1, 4, 1)[:8192].repeat(13, axis=2)
    planes = np.empty((13, *values.shape[:2]), np.uint16)
    fill_dn(planes, [values], SCENE, from_dn=True)
    assert np.array_equal(np.moveaxis(planes, 0, -1).astype(np.float32), values)


@pytest.mark.parametrize("value", [0.65, -1.0, 65_536.0, float("nan"), -0.0])
def test_what_is_no_dn_stops_a_scene_of_dn(value: float) -> None:
    with pytest.raises(SceneError, match=r"not whole DN in 0\.\.65535 .*convert without --from-dn if they are reflect"):
        fill_dn(np.empty((13, 3, 2), np.uint16), [pixel(value)], SCENE, from_dn=True)


_ONE_HOT = hnp.arrays(np.uint8, (3, 4, 3), elements=st.integers(0, 1))


@settings(deadline=None)
@given(_ONE_HOT, st.sampled_from(["?", "u1", "<f4", "<i8", "<f8", ">f4"]))
def test_every_array_of_0_and_1_comes_back(array: np.ndarray, dtype: str) -> None:
    one_hot = array.astype(dtype)
    labels = to_labels(one_hot, (3, 4), SCENE, "masks")
    assert labels.dtype == np.uint8
    assert set(labels.ravel()) <= set(VALID_LABELS)
    back = to_one_hot(labels, np.dtype(dtype))
    assert back.dtype == np.dtype(dtype)
    assert back.tobytes() == one_hot.tobytes()


def test_one_hot_is_the_class_and_anything_else_240_and_its_bits() -> None:
    every = np.array([[[bit >> c & 1 for c in range(3)] for bit in range(8)]], bool)
    assert to_labels(every, (1, 8), SCENE, "masks").tolist() == [[240, 0, 1, 243, 2, 245, 246, 247]]


@pytest.mark.parametrize(
    ("value", "dtype"), [(2, "u1"), (255, "u1"), (-1, "i1"), (0.5, "f4"), (np.nan, "f8"), (np.inf, "f4"), (-0.0, "f4")]
)
def test_a_mask_value_other_than_0_and_1_stops_the_scene(value: float, dtype: str) -> None:
    mask = np.zeros((3, 2, 3), dtype)
    mask[1, 0, 2] = mask[2, 0, 2] = value
    message = (
        f"{SCENE}: 2 values of its array in alt_masks are neither 0 nor 1, the first at y=1, x=0, class cloud_shadow"
    )
    with pytest.raises(SceneError, match=f"{message} is {mask[1, 0, 2]!s}"):
        to_labels(mask, (3, 2), SCENE, "alt_masks")


def test_a_bool_whose_byte_is_neither_0_nor_1_stops_the_scene() -> None:
    mask = np.zeros((3, 2, 3), np.uint8)
    mask[1, 0, 2] = 2
    with pytest.raises(SceneError, match=r"1 values .* neither 0 nor 1"):
        to_labels(mask.view(bool), (3, 2), SCENE, "masks")


@pytest.mark.parametrize("dtype", ["S1", "complex64", "datetime64[s]"])
def test_a_mask_is_of_bool_or_numbers(dtype: str) -> None:
    with pytest.raises(SceneError, match="expected bool or numbers that are 0 or 1"):
        to_labels(np.zeros((3, 2, 3), dtype), (3, 2), SCENE, "masks")


@pytest.mark.parametrize("shape", [(2, 3, 3), (3, 2), (3, 2, 4), (3, 3, 2), (1, 3, 2, 3)])
def test_a_mask_has_three_classes_of_the_size_of_the_subscene(shape: tuple[int, ...]) -> None:
    expected = re.escape(f"{SCENE}: its array in masks has shape {shape}; expected (3, 2, 3) (y, x, class)")
    with pytest.raises(SceneError, match=expected):
        to_labels(np.zeros(shape, bool), (3, 2), SCENE, "masks")


@settings(deadline=None)
@given(_ONE_HOT)
def test_counts_are_those_of_the_published_channels(one_hot: np.ndarray) -> None:
    alone = one_hot.sum(axis=-1) == 1
    counts = count_labels(to_labels(one_hot, (3, 4), SCENE, "masks"))
    assert [counts["clear"], counts["cloud"], counts["cloud_shadow"]] == one_hot[alone].sum(axis=0).tolist()
    assert counts["invalid"] == (~alone).sum()
    assert [counts["clear_set"], counts["cloud_set"], counts["cloud_shadow_set"]] == one_hot.sum((0, 1)).tolist()


def percentages(clear: float, cloud: float, shadow: float) -> dict[str, float]:
    return {"clear_percent": clear, "cloud_percent": cloud, "shadow_percent": shadow}


PIXELS = 1022 * 1022


@pytest.mark.parametrize(
    ("row", "agree"),
    [
        (percentages(100 * 1_000_000 / PIXELS, 100 * 44_483 / PIXELS, 100 * 1 / PIXELS), True),
        (percentages(100 * 1_000_000 / PIXELS, 100 * 44_484 / PIXELS, 0.0), False),  # one pixel elsewhere
        (percentages(95.74, 4.26, 0.0), False),  # rounded
        (percentages(100.0, 0.0, 0.0), False),
    ],
)
def test_percentages_agree_to_the_pixel(row: dict[str, float], agree: bool) -> None:
    counts = {"clear_set": 1_000_000, "cloud_set": 44_483, "cloud_shadow_set": 1}
    assert percentages_agree(row, counts, PIXELS) is agree


def test_percentages_count_a_pixel_of_two_classes_in_both() -> None:
    mask = np.array([[[1, 0, 0], [0, 1, 1], [1, 0, 0], [0, 0, 0]]], np.uint8)
    counts = count_labels(to_labels(mask, (1, 4), SCENE, "masks"))
    assert percentages_agree(percentages(50, 25, 25), counts, 4)
    assert not percentages_agree(percentages(50, 0, 0), counts, 4)


def tagged(*tags: str) -> dict[str, bool]:
    return {tag.published: tag.published in tags for tag in TAGS}


CLOUD = ("cirrus", "thin", "high", "extended")
CONSISTENT: list[tuple[tuple[str, ...], int, bool]] = [
    ((), 0, True),
    (("snow/ice", "coastal"), 0, True),  # surface tags say nothing of cloud
    (CLOUD, 10, True),
    ((*CLOUD, "snow/ice", "cumulus", "low"), 10, True),
    (CLOUD, 0, False),  # tags of cloud, and none in the mask
    ((), 10, False),  # cloud, and no tag
    (CLOUD[:3], 10, False),  # no extent
    (CLOUD[1:], 10, False),  # no type
    (CLOUD[1:], 0, False),
]


@pytest.mark.parametrize(("tags", "cloud_pixels", "consistent"), CONSISTENT)
def test_cloud_tags_answer_all_four_questions_or_none(
    tags: tuple[str, ...], cloud_pixels: int, consistent: bool
) -> None:
    assert tags_consistent(tagged(*tags), cloud_pixels) is consistent


@pytest.mark.parametrize(("marked", "pixels", "consistent"), [(1, 0, True), (1, 9, True), (0, 0, True), (0, 9, False)])
@pytest.mark.parametrize("as_published", [int, bool])
def test_shadow_stands_only_where_shadows_were_marked(
    marked: int, pixels: int, consistent: bool, as_published: Callable[[int], int]
) -> None:
    assert shadows_consistent({"shadows_marked": as_published(marked)}, pixels) is consistent
