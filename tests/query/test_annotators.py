"""Masks by annotator: who made what, against the two arrays of the store."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from s2cmc.errors import CatalogueError, QueryError
from s2cmc.query.annotators import annotated

OTHER = {"A": "B", "B": "A"}


def _expected(catalogue: xr.Dataset, annotator: str) -> dict[str, tuple[str, np.ndarray]]:
    """By product ID: who made the mask, and its labels."""
    mask, alt_mask = catalogue.mask.values, catalogue.alt_mask.values
    found = {}
    for i, scene in enumerate(catalogue["scene"].values):
        main, doubly = str(catalogue.annotator.values[i]), bool(catalogue.has_alt_mask.values[i])
        if annotator in ("primary", main):
            found[str(scene)] = (main, mask[i])
        elif doubly:
            found[str(scene)] = (OTHER[main], alt_mask[i])
    return found


def _assert_as_expected(found: xr.DataArray, expected: dict[str, tuple[str, np.ndarray]]) -> None:
    assert (found.dims, found.dtype) == (("scene", "y", "x"), "uint8")
    assert found["scene"].values.tolist() == list(expected)
    assert found.annotator.values.tolist() == [who for who, _ in expected.values()]
    for labels, (_, wanted) in zip(found.values, expected.values(), strict=True):
        np.testing.assert_array_equal(labels, wanted)


def test_the_catalogue_has_what_these_tests_need(catalogue: xr.Dataset) -> None:
    """Doubly annotated scenes whose main annotator is A, and some whose is B, and single ones of both."""
    kinds = set(zip(catalogue.annotator.values.tolist(), catalogue.has_alt_mask.values.tolist(), strict=True))
    assert kinds == {("A", True), ("B", True), ("A", False), ("B", False)}
    doubly = catalogue.isel(scene=np.flatnonzero(catalogue.has_alt_mask))
    assert (doubly.mask.values != doubly.alt_mask.values).any(axis=(1, 2)).all()


@pytest.mark.parametrize("annotator", ["primary", "other", "A", "B"])
def test_masks_are_those_the_annotator_made(catalogue: xr.Dataset, annotator: str) -> None:
    found = catalogue.clouds.masks(annotator)
    _assert_as_expected(found, _expected(catalogue, annotator))
    if annotator in "AB":
        assert set(found.annotator.values) == {annotator}
        assert found.attrs["long_name"].endswith(f"by annotator {annotator}")


def test_masks_are_the_main_annotators_by_default(catalogue: xr.Dataset) -> None:
    xr.testing.assert_identical(catalogue.clouds.masks(), catalogue.mask)


def test_each_scene_has_a_mask_by_one_or_both(catalogue: xr.Dataset) -> None:
    of = {name: set(catalogue.clouds.masks(name)["scene"].values) for name in ("primary", "other", "A", "B")}
    assert of["A"] | of["B"] == of["primary"]
    assert of["A"] & of["B"] == of["other"]


@given(scenes=st.lists(st.integers(0, 9), unique=True), annotator=st.sampled_from(["primary", "other", "A", "B"]))
@settings(max_examples=12, deadline=None)
def test_masks_of_a_part_come_in_its_order(opened: xr.Dataset, scenes: list[int], annotator: str) -> None:
    part = opened.isel(scene=scenes)
    _assert_as_expected(part.clouds.masks(annotator).compute(scheduler="synchronous"), _expected(part, annotator))


def test_the_flags_of_a_mask_still_describe_it(catalogue: xr.Dataset) -> None:
    for annotator in ("other", "A", "B"):
        found = catalogue.clouds.masks(annotator)
        assert found.attrs["flag_meanings"] == catalogue.mask.attrs["flag_meanings"]
        assert found.name == "mask"


def test_the_coordinates_of_the_scenes_are_kept(catalogue: xr.Dataset) -> None:
    found = catalogue.clouds.masks("A")
    assert set(found.coords) == set(catalogue.mask.coords)
    for name in set(found.coords) - {"annotator"}:
        expected = catalogue[name].sel(scene=found["scene"]) if "scene" in catalogue[name].dims else catalogue[name]
        np.testing.assert_array_equal(found[name].values, expected.values)


@pytest.mark.usefixtures("no_compute")
def test_masks_are_read_when_they_are_computed(catalogue: xr.Dataset) -> None:
    for annotator in ("primary", "other", "A", "B"):
        found = catalogue.clouds.masks(annotator)
        assert found.chunks is not None
        with pytest.raises(AssertionError, match="a pixel was read"):
            found.compute()


@pytest.mark.parametrize("ask", ["masks", "annotated"])
def test_an_unknown_annotator_is_refused(catalogue: xr.Dataset, ask: str) -> None:
    for name in ("C", "a", "both", None):
        with pytest.raises(QueryError, match=rf"annotator {name!r} is none of 'primary', 'other', 'A', 'B'"):
            catalogue.clouds.masks(name) if ask == "masks" else annotated(catalogue, name)


def test_the_other_masks_are_needed_only_where_there_are_some(catalogue: xr.Dataset) -> None:
    without = catalogue.drop_vars("alt_mask")
    xr.testing.assert_identical(without.clouds.masks("primary"), catalogue.mask)
    for annotator in ("other", "A", "B"):
        with pytest.raises(CatalogueError, match="this Dataset has no 'alt_mask', which holds masks of the other"):
            without.clouds.masks(annotator)
    # Where each scene was annotated once, they are not missed.
    once = without.clouds.select(has_alt_mask=False)
    for annotator in ("A", "B"):
        _assert_as_expected(
            once.clouds.masks(annotator), _expected(catalogue.clouds.select(has_alt_mask=False), annotator)
        )
    assert once.clouds.masks("other").shape == (0, 64, 64)
    # Nor where the annotator made every main mask.
    of_a = without.clouds.select(annotator="A")
    xr.testing.assert_equal(of_a.clouds.masks("A"), of_a.mask)


def test_without_scenes_there_are_no_masks(catalogue: xr.Dataset) -> None:
    nothing = catalogue.isel(scene=[])
    for annotator in ("primary", "other", "A", "B"):
        assert nothing.clouds.masks(annotator).compute().shape == (0, 64, 64)


def test_a_dataset_that_lacks_what_is_needed_is_refused(catalogue: xr.Dataset) -> None:
    for name in ("mask", "has_alt_mask", "annotator"):
        with pytest.raises(CatalogueError, match=f"has no '{name}'"):
            catalogue.drop_vars(name).clouds.masks("A")
