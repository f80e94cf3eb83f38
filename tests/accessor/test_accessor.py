"""`ds.clouds`: documented and typed throughout, no state but the Dataset, and what coordinates alone answer."""

import ast
import inspect
import re
from types import FunctionType

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from s2cmc.accessor.clouds import CloudsAccessor
from s2cmc.errors import CatalogueError, QueryError
from s2cmc.schema.catalogue import TAGS

MEMBERS = {name: member for name, member in vars(CloudsAccessor).items() if not name.startswith("_")}
METHODS = {name: member for name, member in MEMBERS.items() if isinstance(member, FunctionType)}


def _function(name: str) -> FunctionType:
    member = MEMBERS[name]
    return member.fget if isinstance(member, property) else member


@pytest.mark.parametrize("name", MEMBERS)
def test_every_question_is_documented(name: str) -> None:
    doc = inspect.getdoc(MEMBERS[name])
    assert doc
    assert doc.splitlines()[0].endswith(".")


@pytest.mark.parametrize("name", MEMBERS)
def test_every_signature_is_explicit_and_typed(name: str) -> None:
    signature = inspect.signature(_function(name))
    assert signature.return_annotation is not inspect.Signature.empty
    for parameter in list(signature.parameters.values())[1:]:
        assert parameter.annotation is not inspect.Parameter.empty, parameter
        assert parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD), parameter


@pytest.mark.parametrize("name", METHODS)
def test_every_parameter_is_described(name: str) -> None:
    doc = inspect.getdoc(METHODS[name]) or ""
    section = re.search(r"Parameters\n-+\n(.*?)(\n\n\w+\n-+\n|\Z)", doc, re.DOTALL)
    heads = re.findall(r"^(\w[\w, ]*) : ", section[1], re.MULTILINE) if section else []
    described = [name for head in heads for name in head.split(", ")]
    assert described == list(inspect.signature(METHODS[name]).parameters)[1:]


@pytest.mark.parametrize("name", MEMBERS)
def test_a_question_only_forwards(name: str) -> None:
    (function,) = ast.parse(inspect.cleandoc("\n" + inspect.getsource(_function(name)))).body
    assert len(function.body) == 2, "a docstring and one line"
    assert isinstance(function.body[1], ast.Return)


def test_the_accessor_has_few_names() -> None:
    """A new one replaces another, or belongs into a package."""
    assert len([name for name in dir(CloudsAccessor) if not name.startswith("_")]) <= 36


def test_the_accessor_keeps_only_the_dataset(catalogue: xr.Dataset) -> None:
    accessor = catalogue.clouds
    accessor.select("thin"), accessor.class_counts(), accessor.tags
    assert list(vars(accessor)) == ["_obj"]
    assert accessor._obj is catalogue


@pytest.mark.parametrize("name", sorted(set(MEMBERS) - {"tag_groups"}))
def test_a_dataset_that_lacks_what_is_asked_for_is_refused(name: str) -> None:
    for stranger in (xr.Dataset(), xr.Dataset({"fog": 0})):
        with pytest.raises(CatalogueError, match=r"has no '\w+', which is needed here; open a catalogue with s2cmc\."):
            _ask(stranger, name)


def test_a_part_of_a_catalogue_is_asked_what_it_can_answer(catalogue: xr.Dataset) -> None:
    pixels = catalogue[["reflectance"]]
    assert pixels.clouds.select("index > 7").sizes["scene"] == 2
    assert pixels.clouds.rgb().sizes["rgb"] == 3
    assert catalogue.drop_vars("mask").clouds.tags.sizes["tag"] == 24


def test_a_single_scene_is_answered_without_the_dimension(catalogue: xr.Dataset) -> None:
    single = catalogue.isel(scene=0)
    assert dict(single.clouds.class_counts().sizes) == {"mask_class": 3}
    assert dict(single.clouds.rgb().sizes) == {"y": 64, "x": 64, "rgb": 3}
    assert dict(single.clouds.tags.sizes) == {"tag": 24}
    assert single.clouds.groups.item() == catalogue.group.values[0]
    assert len(single.clouds.gallery().axes) == 1
    assert single.clouds.masks("other").sizes["scene"] == 0
    assert [single.clouds.select(f"index == {i}").sizes["scene"] for i in (0, 1)] == [1, 0]


def _ask(dataset: xr.Dataset, name: str) -> object:
    if isinstance(MEMBERS[name], property):
        return getattr(dataset.clouds, name)
    parameters = list(inspect.signature(METHODS[name]).parameters.values())[1:]
    return getattr(dataset.clouds, name)(*("" for p in parameters if p.default is p.empty))


@pytest.mark.usefixtures("no_compute")
def test_tags_are_the_tag_coordinates_in_one_array(catalogue: xr.Dataset) -> None:
    tags = catalogue.clouds.tags
    assert (tags.dims, tags.dtype, tags.shape) == (("scene", "tag"), bool, (10, 24))
    for tag in TAGS:
        np.testing.assert_array_equal(tags.sel(tag=tag.name), catalogue[tag.name])
        assert tags.sel(tag=tag.name).tag_group == catalogue[tag.name].attrs["tag_group"]


def test_tag_groups_hold_every_tag_once(catalogue: xr.Dataset) -> None:
    groups = catalogue.clouds.tag_groups
    assert list(groups) == ["surface_type", "cloud_type", "cloud_thickness", "cloud_height", "cloud_extent"]
    assert groups["cloud_thickness"] == ["thin", "thick"]
    assert sorted(name for names in groups.values() for name in names) == sorted(tag.name for tag in TAGS)
    groups["cloud_thickness"].clear()
    assert catalogue.clouds.tag_groups["cloud_thickness"] == ["thin", "thick"]


def test_groups_link_scenes_of_a_tile_or_an_overpass(catalogue: xr.Dataset) -> None:
    groups = catalogue.clouds.groups.to_series()
    dates = catalogue.time.dt.date.values
    for i in range(10):
        for j in range(10):
            tile = catalogue.mgrs_tile.values[i] == catalogue.mgrs_tile.values[j]
            overpass = dates[i] == dates[j] and catalogue.relative_orbit.values[i] == catalogue.relative_orbit.values[j]
            assert (groups.iloc[i] == groups.iloc[j]) == (tile or overpass)
    assert groups.nunique() == 8  # two quirks link two scenes each


def _grouped(groups: list[int]) -> xr.Dataset:
    """A catalogue of one pixel a scene, with the given dependence groups."""
    names = [f"s{i}" for i in range(len(groups))]
    mask = np.zeros((len(groups), 1, 1), "uint8")
    return xr.Dataset(
        {"mask": (("scene", "y", "x"), mask)}, {"scene": names, "group": ("scene", np.array(groups, int))}
    )


shares = st.sampled_from([(1.0,), (0.5, 0.5), (0.8, 0.2), (0.7, 0.2, 0.1), (0.4, 0.1, 0.5), (0.0, 1.0), (0.25,) * 4])


@given(st.lists(st.integers(0, 30), max_size=80), shares, st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_a_random_split_keeps_groups_together_and_meets_its_shares(
    groups: list[int], fractions: tuple[float, ...], seed: int
) -> None:
    wanted = {f"part {i}": fraction for i, fraction in enumerate(fractions)}
    parts = _grouped(groups).clouds.random_split(wanted, seed=seed).to_series()
    assert (parts.groupby(np.array(groups)).nunique() == 1).all()
    # A part begins and ends in the middle of a group at worst.
    largest = max((groups.count(group) for group in groups), default=0)
    for name, fraction in wanted.items():
        assert abs((parts == name).sum() - fraction * len(groups)) <= largest


@given(st.permutations(range(20)))
@settings(max_examples=20, deadline=None)
def test_a_random_split_depends_on_the_seed_alone(order: list[int]) -> None:
    dataset = _grouped([i // 2 for i in range(20)])
    parts = dataset.clouds.random_split({"train": 0.6, "test": 0.4}, seed=3)
    again = dataset.isel(scene=order).clouds.random_split({"train": 0.6, "test": 0.4}, seed=3)
    xr.testing.assert_identical(again, parts.isel(scene=order))


def test_another_seed_gives_another_split() -> None:
    dataset = _grouped(list(range(50)))
    splits = {tuple(dataset.clouds.random_split({"a": 0.5, "b": 0.5}, seed=seed).values) for seed in range(5)}
    assert len(splits) == 5


@pytest.mark.usefixtures("no_compute")
def test_a_part_is_taken_by_its_name(catalogue: xr.Dataset) -> None:
    parts = catalogue.clouds.random_split({"train": 0.7, "test": 0.3})
    train = catalogue.isel(scene=(parts == "train").values)
    assert train.sizes["scene"] == int((parts == "train").sum()) == 7
    assert set(parts.values) == {"train", "test"}
    selected = catalogue.assign_coords(part=parts).clouds.select("part == 'train'")
    assert list(selected.scene.values) == list(train.scene.values)


@pytest.mark.parametrize(
    "fractions",
    [{}, {"a": 0.5}, {"a": 0.5, "b": 0.6}, {"a": -0.5, "b": 1.5}, {"a": float("nan"), "b": 1.0}, {"a": 80, "b": 20}],
)
def test_fractions_that_do_not_add_up_are_refused(fractions: dict[str, float]) -> None:
    with pytest.raises(QueryError, match=r"fractions .* must be positive and add up to 1"):
        _grouped([0, 1]).clouds.random_split(fractions)


PUBLIC = sorted(name for name in dir(CloudsAccessor) if not name.startswith("_"))


@pytest.mark.parametrize("name", PUBLIC)
def test_every_question_has_an_example(name: str) -> None:
    """`test_tutorial` runs them."""
    doc = inspect.getdoc(getattr(CloudsAccessor, name)) or ""
    assert re.search(r"\n\nExamples\n--------\n>>> .*ds\.", doc)
