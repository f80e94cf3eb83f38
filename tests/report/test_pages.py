"""Pages: they load nothing, show what the tables hold, and are the same whenever the input is."""

import base64
import io
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html.parser import HTMLParser

import jinja2
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from PIL import Image

from s2cmc.errors import CatalogueError, QueryError
from s2cmc.report import pages, tables

VOID = {"meta", "img", "br"}  # elements without an end


class Parsed(HTMLParser):
    """What stands in a page: its elements, texts by element, and pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, f"{self._open} without an end"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open[-1]][-1] += data

    def pictures(self, kind: str) -> list[bytes]:
        """Contents of the pictures of a kind."""
        start = f"data:{kind};base64,"
        sources = [attrs["src"] for tag, attrs in self.elements if tag == "img"]
        return [base64.b64decode(src.removeprefix(start), validate=True) for src in sources if src.startswith(start)]


def _svg(picture: bytes) -> ET.Element:
    return ET.fromstring(picture)  # noqa: S314 - the charts made it


def _check_loads_nothing(text: str) -> None:
    """No element, attribute, style or picture of a page asks for anything outside it."""
    parsed = Parsed(text)
    assert not {tag for tag, _ in parsed.elements} & {"script", "link", "iframe", "object", "embed", "base"}
    for tag, attributes in parsed.elements:
        for name in ("src", "href", "srcset", "background"):
            assert attributes.get(name, "data:").startswith("data:"), tag
        assert not any(name.startswith("on") for name in attributes), "nothing runs"
    for style in parsed.texts["style"]:
        assert "url(" not in style
        assert "@import" not in style
    for picture in parsed.pictures("image/svg+xml"):
        for element in _svg(picture).iter():
            for name, value in element.attrib.items():
                if name.endswith("href"):
                    assert value.startswith(("#", "data:"))


def _check_pictures(text: str) -> None:
    """Every picture can be decoded, and has a text for those who do not see it."""
    parsed = Parsed(text)
    images = [attrs for tag, attrs in parsed.elements if tag == "img"]
    svgs, pngs = parsed.pictures("image/svg+xml"), parsed.pictures("image/png")
    assert len(images) == len(svgs) + len(pngs) > 0
    assert all((attrs["alt"] or "").strip() for attrs in images)
    for svg in svgs:
        assert _svg(svg).tag.endswith("}svg")
    for png in pngs:
        with Image.open(io.BytesIO(png)) as opened:
            opened.load()
            assert opened.format == "PNG"


@pytest.fixture(scope="module")
def counts(opened: xr.Dataset) -> xr.Dataset:
    """The masks moved by some pixels, without a label in one scene, counted."""
    moved = np.roll(opened.mask.values, (3, 5), axis=(1, 2))
    moved[3] = 255
    return opened.clouds.confusion(xr.DataArray(moved, coords={"scene": opened.scene}, dims=opened.mask.dims)).compute()


@pytest.fixture(scope="module")
def odd(opened: xr.Dataset) -> xr.DataArray:
    """Labels to ask by that are HTML."""
    return xr.DataArray(np.where(opened.difficulty > 2, "<b>", "a & b"), dims="scene", name="odd")


@pytest.fixture(scope="module")
def of_labels(opened: xr.Dataset, counts: xr.Dataset, odd: xr.DataArray) -> str:
    """Page of a prediction of labels; slow."""
    return opened.clouds.evaluation_page(counts, odd, resamples=20)


@pytest.fixture(scope="module")
def of_probability(opened: xr.Dataset) -> str:
    """Page of a prediction of probabilities, without thumbnails and masks of the other annotator; slow."""
    values = np.where(opened.mask == 1, 0.8, 0.1) + np.random.default_rng(0).uniform(-0.1, 0.2, opened.mask.shape)
    prediction = xr.DataArray(values.clip(0, 1), coords={"scene": opened.scene}, dims=opened.mask.dims)
    lean = opened.drop_vars(["thumbnail", "alt_mask"])
    return lean.clouds.evaluation_page(lean.clouds.confusion(prediction, threshold=0.5), worst=3, resamples=20)


@pytest.fixture(scope="module")
def statistics(opened: xr.Dataset) -> str:
    """Page of the catalogue itself; slow."""
    return opened.clouds.statistics_page("difficulty")


PAGES = pytest.mark.parametrize("name", ["of_labels", "of_probability", "statistics"])


@pytest.mark.slow
@PAGES
def test_a_page_is_whole_in_one_file(name: str, request: pytest.FixtureRequest) -> None:
    text = request.getfixturevalue(name)
    assert text.startswith("<!DOCTYPE html>")
    assert '<meta charset="utf-8">' in text
    _check_loads_nothing(text)
    _check_pictures(text)


@pytest.mark.slow
@PAGES
def test_the_title_says_that_the_data_are_synthetic(name: str, request: pytest.FixtureRequest) -> None:
    parsed = Parsed(request.getfixturevalue(name))
    (title,) = parsed.texts["title"]
    assert "synthetic" in title.lower()
    assert parsed.texts["h1"] == [title]
    assert title.startswith("Evaluation on the ") == (name != "statistics")


@pytest.mark.slow
def test_an_evaluation_shows_its_tables(
    of_labels: str, opened: xr.Dataset, counts: xr.Dataset, odd: xr.DataArray
) -> None:
    result = opened.clouds.evaluate(counts, odd, resamples=20)
    for table in (tables.class_table(result), tables.overall_table(result), tables.ignored_table(result)):
        assert pages.table(table) in of_labels
    assert any(f"10 scenes; {tables.settings(result)}" in text for text in Parsed(of_labels).texts["p"])
    assert "SYNTHETIC data, nothing was measured" in of_labels


@pytest.mark.slow
def test_names_are_text_and_no_html(of_labels: str) -> None:
    parsed = Parsed(of_labels)
    assert "b" not in parsed.texts
    assert {"odd=<b>", "odd=a & b"} < set(parsed.texts["td"])
    (chart,) = parsed.pictures("image/svg+xml")
    assert {"odd=<b>", "odd=a & b"} < {element.text for element in _svg(chart).iter()}


@pytest.mark.slow
def test_the_worst_scenes_come_first(of_labels: str, opened: xr.Dataset) -> None:
    truth = opened.mask.values
    predicted = np.roll(truth, (3, 5), axis=(1, 2))
    expected = {}
    for i, scene in enumerate(opened.scene.values):
        known = (truth[i] != 255) & (predicted[i] != 255)
        right = (truth[i] == 1) == (predicted[i] == 1)
        expected[scene] = right[known].mean()
    unscored = opened.scene.values[3]
    del expected[unscored]
    captions = Parsed(of_labels).texts["figcaption"]
    order = [caption.split(":")[0] for caption in captions]
    assert set(order) == set(expected), "a scene without a pixel to score is not among them"
    values = [expected[scene] for scene in order]
    assert values == sorted(values)
    for caption, value in zip(captions, values, strict=True):
        assert f"accuracy {value:.3f}; " in caption
    worst = opened.sel(scene=order[0])
    assert f"difficulty {worst.difficulty.item()}; " in captions[0]


@pytest.mark.slow
def test_the_heading_counts_the_scenes_that_are_shown(of_labels: str) -> None:
    parsed = Parsed(of_labels)
    assert f"The {len(parsed.texts['figcaption'])} worst scenes" in parsed.texts["h2"]


@pytest.mark.slow
def test_the_worst_scenes_have_their_thumbnails(of_labels: str, opened: xr.Dataset) -> None:
    parsed = Parsed(of_labels)
    order = [caption.split(":")[0] for caption in parsed.texts["figcaption"]]
    thumbnails = parsed.pictures("image/png")
    for scene, png in zip(order, thumbnails, strict=True):
        with Image.open(io.BytesIO(png)) as picture:
            np.testing.assert_array_equal(picture.convert("RGB"), opened.thumbnail.sel(scene=scene))
        assert f'alt="thumbnail of {scene}"' in of_labels


@pytest.mark.slow
def test_a_page_without_thumbnails_and_other_masks_has_the_rest(of_probability: str) -> None:
    parsed = Parsed(of_probability)
    assert parsed.pictures("image/png") == []
    assert len(parsed.texts["figcaption"]) == 3
    assert "The 3 worst scenes" in parsed.texts["h2"]
    assert "F1" in parsed.texts["th"]


@pytest.mark.slow
def test_only_probabilities_have_a_precision_recall_curve(of_labels: str, of_probability: str) -> None:
    assert "Precision and recall" in Parsed(of_probability).texts["h2"]
    assert len(Parsed(of_probability).pictures("image/svg+xml")) == 2
    assert "Precision and recall" not in Parsed(of_labels).texts["h2"]
    assert len(Parsed(of_labels).pictures("image/svg+xml")) == 1


@pytest.mark.slow
def test_the_same_input_gives_the_same_page(
    of_labels: str, opened: xr.Dataset, counts: xr.Dataset, odd: xr.DataArray
) -> None:
    assert opened.clouds.evaluation_page(counts, odd, resamples=20) == of_labels


@pytest.mark.slow
def test_the_statistics_show_every_table(statistics: str, opened: xr.Dataset) -> None:
    agreement = opened.clouds.agreement()
    for table in (
        tables.prevalence_table(opened.clouds.prevalence("difficulty").compute()),
        tables.share_table(opened.clouds.difficulty()),
        tables.share_table(opened.clouds.tag_frequencies()),
        tables.class_table(agreement),
        tables.overall_table(agreement),
    ):
        assert pages.table(table) in statistics
    parsed = Parsed(statistics)
    assert parsed.texts["h2"] == [
        *("Class prevalence", "Difficulty", "Tags", "Tags that go together", "Agreement between the annotators")
    ]
    assert len(parsed.pictures("image/svg+xml")) == 5
    assert any("Where shadows are not marked, clear may hide shadow." in text for text in parsed.texts["p"])


@pytest.mark.slow
def test_statistics_of_scenes_that_one_alone_annotated_say_so(opened: xr.Dataset) -> None:
    text = opened.clouds.select("not has_alt_mask").clouds.statistics_page(None)
    assert "<p>There are no masks of both annotators here.</p>" in text
    _check_loads_nothing(text)


@pytest.mark.slow
def test_statistics_do_without_the_masks_of_the_other_annotator(opened: xr.Dataset) -> None:
    text = opened.drop_vars("alt_mask").clouds.statistics_page(None)
    assert "<h2>Class prevalence</h2>" in text


@pytest.mark.parametrize(
    "make_page",
    [lambda ds, counts: ds.clouds.evaluation_page(counts, resamples=20), lambda ds, _: ds.clouds.statistics_page()],
    ids=["evaluation", "statistics"],
)
def test_pages_without_matplotlib_say_what_to_install(
    make_page: Callable, opened: xr.Dataset, counts: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(CatalogueError, match=r"charts need matplotlib; install it with: pip install 's2cmc\[plot\]'"):
        make_page(opened, counts)


@pytest.mark.parametrize(
    "make_page",
    [
        lambda ds, counts: ds.clouds.evaluation_page(counts, resamples=20),
        lambda ds, _: ds.clouds.statistics_page(),
        lambda ds, counts: ds.clouds.evaluate(counts, resamples=20).evaluation.to_html(),
    ],
    ids=["evaluation", "statistics", "result"],
)
@pytest.mark.slow
def test_pages_without_jinja2_say_what_to_install(
    make_page: Callable, opened: xr.Dataset, counts: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(CatalogueError, match=r"pages need jinja2; install it with: pip install 's2cmc\[plot\]'"):
        make_page(opened, counts)


@pytest.mark.parametrize("name", ["matplotlib", "jinja2"])
def test_the_packages_of_pages_are_asked_for_before_anything_is_computed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages.require_page_packages()
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(CatalogueError, match=rf"need {name}; install it with: pip install 's2cmc\[plot\]'"):
        pages.require_page_packages()


def test_a_page_needs_at_least_one_scene_to_show(opened: xr.Dataset, counts: xr.Dataset) -> None:
    with pytest.raises(QueryError, match="worst 0 is no number of scenes from 1 on"):
        opened.clouds.evaluation_page(counts, worst=0, resamples=20)


# Texts of users, and the parts of a page.


def test_a_result_shows_its_tables_and_escapes_its_title(opened: xr.Dataset, counts: xr.Dataset) -> None:
    result = opened.clouds.evaluate(counts, resamples=20).assign_attrs(title='Clouds <i>& "more"')
    text = result.evaluation.to_html()
    _check_loads_nothing(text)
    _check_pictures(text)
    parsed = Parsed(text)
    assert parsed.texts["title"] == parsed.texts["h1"] == ['Clouds <i>& "more"']
    assert parsed.texts["p"][: 1 + len(tables.remarks(result))] == [tables.settings(result), *tables.remarks(result)]
    assert "i" not in parsed.texts
    for table in (tables.class_table(result), tables.overall_table(result)):
        assert pages.table(table) in text


@pytest.mark.slow
def test_statistics_escape_the_attributes_of_the_catalogue(opened: xr.Dataset) -> None:
    attributes = {"title": "Clouds <i>& more", "summary": "<script>alert(1)</script>", "synthetic": 1}
    text = opened.drop_vars("alt_mask").assign_attrs(attributes).clouds.statistics_page(None)
    parsed = Parsed(text)
    assert parsed.texts["title"] == parsed.texts["h1"] == [attributes["title"]]
    assert attributes["summary"] in parsed.texts["p"]
    assert "script" not in parsed.texts


def test_a_table_holds_a_frame_whole() -> None:
    long = "S2A_MSIL1C_20180128T124402_N0206_R097_T26UMF_20180128T163549"
    frame = pd.DataFrame({"stratum": [long, "<b>"], "F1 & co.": ["0.5", "-"]})
    parsed = Parsed(pages.table(frame))
    assert parsed.texts["th"] == ["stratum", "F1 & co."]
    assert parsed.texts["td"] == [long, "0.5", "<b>", "-"]


def test_a_picture_holds_its_bytes_and_a_description() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (5, 7, 3)).astype("uint8")
    macros = pages._environment().get_template("macros.html").module
    parsed = Parsed(macros.image(pages._encode(pixels, 'of "x" > y')))
    (png,) = parsed.pictures("image/png")
    np.testing.assert_array_equal(Image.open(io.BytesIO(png)).convert("RGB"), pixels)
    assert [(tag, attrs["alt"]) for tag, attrs in parsed.elements] == [("img", 'of "x" > y')]


def test_a_template_refuses_a_value_that_it_is_not_given() -> None:
    with pytest.raises(jinja2.UndefinedError, match="'title' is undefined"):
        pages._render("result.html", settings="", remarks=[], scores={})
