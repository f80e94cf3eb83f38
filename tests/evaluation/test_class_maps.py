"""What the labels of common algorithms mean: each map is written out here from the algorithm's own documentation."""

import re
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from s2cmc.errors import QueryError
from s2cmc.evaluation.class_maps import CLASS_MAPS, IGNORED, UNKNOWN, advice, find_class_map, value_problems

CLEAR, CLOUD, SHADOW, NONE = 0, 1, 2, IGNORED

# Class of label 0, 1, 2, ... of each algorithm.
DOCUMENTED = {
    "catalogue": [CLEAR, CLOUD, SHADOW],
    "binary": [CLEAR, CLOUD],
    "s2cloudless": [CLEAR, CLOUD],
    "sen2cor": [
        NONE,  # 0 no data
        NONE,  # 1 saturated or defective
        CLEAR,  # 2 dark area (dark features, topographic shadow)
        SHADOW,  # 3 cloud shadow
        CLEAR,  # 4 vegetation
        CLEAR,  # 5 not vegetated
        CLEAR,  # 6 water
        CLEAR,  # 7 unclassified
        CLOUD,  # 8 cloud, medium probability
        CLOUD,  # 9 cloud, high probability
        CLOUD,  # 10 thin cirrus
        CLEAR,  # 11 snow or ice
    ],
    "fmask": [CLEAR, CLEAR, SHADOW, CLEAR, CLOUD],  # clear land, clear water, cloud shadow, snow, cloud; 255 fill
    "python-fmask": [NONE, CLEAR, CLOUD, SHADOW, CLEAR, CLEAR],  # null, clear, cloud, cloud shadow, snow, water
    "cloudsen12": [CLEAR, CLOUD, CLOUD, SHADOW],  # clear, thick cloud, thin cloud, cloud shadow
    "omnicloudmask": [CLEAR, CLOUD, CLOUD, SHADOW],  # clear, thick cloud, thin cloud, cloud shadow
}


@pytest.mark.parametrize("name", CLASS_MAPS)
def test_a_named_map_is_that_of_the_documentation(name: str) -> None:
    wanted = DOCUMENTED[name]
    table = find_class_map(name).table()
    assert (table.dtype, table.shape) == (np.uint8, (256,))
    assert table[: len(wanted)].tolist() == wanted
    assert set(table[len(wanted) : 255].tolist()) == {UNKNOWN}
    assert table[255] == NONE


@pytest.mark.parametrize(
    ("name", "has_shadow"),
    [
        ("catalogue", True),
        ("binary", False),
        ("s2cloudless", False),
        ("sen2cor", True),
        ("fmask", True),
        ("python-fmask", True),
        ("cloudsen12", True),
        ("omnicloudmask", True),
    ],
)
def test_cloud_masks_alone_have_no_shadow(name: str, has_shadow: bool) -> None:
    assert find_class_map(name).has_shadow is has_shadow


def test_maps_of_the_same_labels_are_told_apart_by_name() -> None:
    # Both are called Fmask, and label 2 is shadow for one and cloud for the other.
    assert find_class_map("fmask").table()[2] == SHADOW
    assert find_class_map("python-fmask").table()[2] == CLOUD


def test_every_named_map_says_where_its_labels_come_from() -> None:
    assert set(CLASS_MAPS) == set(DOCUMENTED)
    for name, class_map in CLASS_MAPS.items():
        assert class_map.name == name
        assert class_map.source


def test_a_mapping_of_the_caller_will_do() -> None:
    found = find_class_map({10: 0, 20: 1, 30: 2, 40: None})
    assert (found.name, found.has_shadow, found.known) == ("given", True, [10, 20, 30, 40, 255])
    assert found.table()[[0, 10, 20, 30, 40, 255]].tolist() == [UNKNOWN, CLEAR, CLOUD, SHADOW, NONE, NONE]


def test_255_has_no_class_unless_it_is_given_one() -> None:
    assert find_class_map({0: 0}).table()[255] == NONE
    assert find_class_map({0: 0, 255: 1}).table()[255] == CLOUD  # a mask as a picture: black and white


def test_labels_of_numpy_are_labels() -> None:
    found = find_class_map({np.uint8(0): np.int64(0), np.int64(200): np.uint8(1)})
    assert (found.known, found.has_shadow) == ([0, 200, 255], False)


@given(st.dictionaries(st.integers(0, 255), st.none() | st.integers(0, 2)))
@settings(max_examples=40, deadline=None)
def test_a_table_is_its_mapping(wanted: Mapping[int, int | None]) -> None:
    found = find_class_map(wanted)
    expected = [{**dict.fromkeys(range(255), UNKNOWN), 255: None, **wanted}[label] for label in range(256)]
    assert found.table().tolist() == [NONE if number is None else number for number in expected]
    assert found.known == sorted({*wanted, 255})
    assert found.has_shadow == (2 in wanted.values())


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("sen2core", "did you mean sen2cor"),
        ("Fmask", "did you mean fmask"),
        ("omnicloud", "did you mean omnicloudmask"),
        ("zzz", "there are catalogue, binary, .*omnicloudmask"),
    ],
)
def test_an_unknown_name_is_answered_with_names(name: str, hint: str) -> None:
    with pytest.raises(QueryError, match=f"no class map '{name}'.*; {hint}") as raised:
        find_class_map(name)
    assert "no mapping of labels" in str(raised.value)
    assert not re.search(r"\w A mapping", str(raised.value))  # the list of names ends before it


@pytest.mark.parametrize(
    ("mapping", "shown"),
    [
        ({-1: 0}, r"\{-1: 0\}"),
        ({256: 0}, r"\{256: 0\}"),
        ({0: 0, 1: 3}, r"\{1: 3\}"),
        ({0: -1}, r"\{0: -1\}"),
        ({0: "cloud"}, r"\{0: 'cloud'\}"),
        ({1.5: 0}, r"\{1.5: 0\}"),  # no pixel has such a label; it is not to stand for 1
        ({"1": 0}, r"\{'1': 0\}"),  # as JSON has it
    ],
)
def test_a_mapping_of_anything_else_is_refused(mapping: dict, shown: str) -> None:
    with pytest.raises(QueryError, match=rf"class map {shown} is not of label 0\.\.255 to class 0 \(clear\), 1 \(cl"):
        find_class_map(mapping)


def test_advice_names_the_map_and_its_labels() -> None:
    assert advice(find_class_map("cloudsen12"), None).startswith("class map 'cloudsen12' knows 0, 1, 2, 3, 255;")


def test_labels_that_are_known_are_no_problem() -> None:
    assert value_problems(np.array([[0, 11], [255, 3]]), find_class_map("sen2cor"), None) == []


def test_unknown_labels_are_counted() -> None:
    values = np.array([[0, 7, 7], [9, -1, 300]])
    (problem,) = value_problems(values, find_class_map("catalogue"), None)
    assert problem == "unknown labels -1 (1 px), 7 (2 px), 9 (1 px), 300 (1 px)"


def test_at_most_five_unknown_labels_are_shown() -> None:
    (problem,) = value_problems(np.arange(100), find_class_map("catalogue"), None)
    assert problem == "unknown labels " + ", ".join(f"{label} (1 px)" for label in range(3, 8))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_probabilities_run_from_0_to_1(dtype: str) -> None:
    binary = find_class_map("binary")
    assert value_problems(np.array([0, 0.3, 1, np.nan], dtype), binary, 0.5) == []
    (problem,) = value_problems(np.array([0.5, 1.25, -0.25], dtype), binary, 0.5)
    assert problem == "2 values that are no probability, e.g. 1.25"
    (problem,) = value_problems(np.array([np.inf], dtype), binary, 0.5)
    assert problem.startswith("1 values that are no probability")


@given(
    npst.arrays("int16", npst.array_shapes(max_dims=2, max_side=5), elements=st.integers(-3, 300)),
    st.sampled_from(sorted(CLASS_MAPS)),
)
@settings(max_examples=40, deadline=None)
def test_a_problem_is_told_if_and_only_if_a_label_is_unknown(values: np.ndarray, name: str) -> None:
    known = {*range(len(DOCUMENTED[name])), 255}
    assert bool(value_problems(values, find_class_map(name), None)) == bool(set(values.ravel().tolist()) - known)
