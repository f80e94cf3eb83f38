"""Display of `ds.clouds` and of patches: facts and methods, as text and as HTML."""

import html
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import xarray as xr

from s2cmc.accessor._description import TOPICS
from s2cmc.accessor.clouds import CloudsAccessor

PUBLIC = sorted(name for name in dir(CloudsAccessor) if not name.startswith("_"))

pytestmark = pytest.mark.usefixtures("no_compute")


class Tags(HTMLParser):
    """Collects the tags and the text of a page, and fails where tags do not match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.seen, self.text = [], set(), ""
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data + "\n"


def test_every_method_is_of_one_topic() -> None:
    assert sorted(name for names in TOPICS.values() for name in names) == PUBLIC


def test_text_says_what_the_catalogue_holds(catalogue: xr.Dataset) -> None:
    text = repr(catalogue.clouds)
    assert all(len(line) <= 100 for line in text.splitlines())
    first, last = (np.datetime_as_string(time, unit="D") for time in np.sort(catalogue.time.values)[[0, -1]])
    assert text.splitlines()[0] == catalogue.attrs["title"]
    for fact in (
        rf"scenes +10, {first} to {last}",
        r"reflectance +\(y: 64, x: 64, band: 13\) float32",
        r"mask +\(y: 64, x: 64\) uint8: clear, cloud, cloud_shadow",
        r"train +7 of 10 scenes: MAIN \(7\)",
        r"test +3 of 10 scenes: CALIBRATION \(1\), VALIDATION \(2\)",
        rf"annotator +A \({(catalogue.annotator == 'A').sum().item()}\), B \(",
        rf"has_alt_mask +{catalogue.has_alt_mask.sum().item()} of 10 scenes",
        rf"shadows_marked +{catalogue.shadows_marked.sum().item()} of 10 scenes",
        rf"cloud_thickness +thin \({catalogue['thin'].sum().item()}\), thick \({catalogue['thick'].sum().item()}\)",
    ):
        assert re.search(fact, text), fact
    assert set(PUBLIC) <= set(re.findall(r"\w+", text))


def test_html_says_the_same_and_what_methods_do(catalogue: xr.Dataset) -> None:
    page = Tags(catalogue.clouds._repr_html_())
    assert page.seen == {"div", "strong", "table", "tr", "th", "td", "span", "code", "details", "summary"}
    for name in PUBLIC:
        assert f"\n{name}\n" in page.text
    assert "Select the scenes that meet every condition. No pixel is read." in page.text
    assert "train\n7 of 10 scenes: MAIN (7)" in page.text


def test_whatever_a_dataset_holds_is_escaped(catalogue: xr.Dataset) -> None:
    script = "<script>alert('1')</script>&"
    hostile = catalogue.assign_attrs(title=script).assign_coords(annotator=("scene", [script] * 10))
    for dataset in (hostile, hostile.rename_dims(scene=script)):
        page = Tags(dataset.clouds._repr_html_())
        assert "script" not in page.seen
        assert script in page.text
        assert html.escape(script) in dataset.clouds._repr_html_()


@pytest.mark.parametrize(
    "dataset",
    [
        xr.Dataset(),
        xr.Dataset({"fog": 0}),
        xr.Dataset(attrs={"title": ["a", 1]}),
        xr.Dataset({"mask": 1, "reflectance": ("a", [1])}, {"scene": ("a", [None])}),
        xr.Dataset(coords={"scene": (("a", "b"), [[1]]), "time": 5, "dataset": ("c", [{}])}),
        xr.Dataset(coords={"scene": [], "time": ("scene", np.array([], "M8[ns]")), "thin": ("scene", [])}),
        xr.Dataset(coords={"scene": ["a"], "time": ("scene", np.array(["NaT"], "M8[ns]")), "dataset": 3.5}),
        xr.Dataset({"scene": ("scene", np.array([None, ()], object)), "difficulty": ("scene", np.array([{}, None]))}),
    ],
    ids=repr,
)
def test_no_dataset_is_too_odd_to_be_shown(dataset: xr.Dataset) -> None:
    assert "ask for" in repr(dataset.clouds)
    assert "select" in Tags(dataset.clouds._repr_html_()).text


def test_a_lost_dimension_is_shown_with_its_remedy(catalogue: xr.Dataset) -> None:
    assert re.search(r"scenes +10, .*, along\s+sample", repr(catalogue.rename_dims(scene="sample").clouds))
    assert "ds.rename gives it back" in repr(catalogue.rename(scene="sample").clouds)
    shown = " ".join(repr(catalogue.set_index(scene=["mgrs_tile", "time"]).clouds).split())
    assert "ds.rename_dims(scene='sample').set_index(sample=['mgrs_tile', 'time'])" in shown


def test_a_single_scene_and_scalars_are_counted(catalogue: xr.Dataset) -> None:
    assert re.search(r"thick +1 of 1|thick \(1\)", repr(catalogue.isel(scene=0).clouds))
    joined = catalogue.drop_vars("thin").assign_coords(thin=True)
    assert "thin (10)" in repr(joined.clouds)


def test_patches_say_what_they_give(catalogue: xr.Dataset) -> None:
    patches = catalogue.clouds.patches(32, batch=4, count=10, scenes_per_batch=2, seed=3).epoch(1)
    text = repr(patches)
    assert text.splitlines()[0] == "Patches of 32 x 32 pixels in batches of 4"
    for fact in (
        r"patches +10 in an epoch, from 10 scenes",
        r"batches +3, each of up to 2 scenes",
        r"each patch +reflectance \(y, x, band\) float32, mask \(y, x\) uint8",
        r"order +epoch 1 of seed 3",
    ):
        assert re.search(fact, text), fact
    page = Tags(patches._repr_html_())
    assert "Patches of 32 x 32 pixels in batches of 4" in page.text
    assert "patches.epoch(1)\nother patches in another order" in page.text
