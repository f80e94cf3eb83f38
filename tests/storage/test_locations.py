"""Places as people name them: paths of any kind, the home folder, URLs of files."""

import os
from pathlib import Path, PurePath
from urllib.parse import quote

import pytest
import xarray as xr
from helpers.paths import Named

import s2cmc
from s2cmc.conversion import convert, describe, export, publish, repair, restore, verify
from s2cmc.errors import ArgumentError
from s2cmc.storage import locate

ODD = "we ird/ä%20#x?y"
"""Letters that a URL has to escape."""


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("data/a.zarr", "data/a.zarr"),
        (b"data/a.zarr", "data/a.zarr"),
        (b"data/\xff", "data/\udcff"),
        (PurePath("data/a.zarr"), "data/a.zarr"),
        (Named("data/a.zarr"), "data/a.zarr"),
        (Named(b"data/a.zarr"), "data/a.zarr"),
        (Named("s3://bucket/a%20b"), "s3://bucket/a%20b"),
        ("file:/data/a.zarr", "/data/a.zarr"),
        ("file:///data/a.zarr", "/data/a.zarr"),
        ("File://LOCALHOST/data/a.zarr", "/data/a.zarr"),
        (f"file://{quote('/' + ODD)}", f"/{ODD}"),
        ("file:/data/100%", "/data/100%"),
        ("file:/data/%FF", "/data/\udcff"),
        ("file:data", "file:data"),
        ("a%20b", "a%20b"),
        ("https://example.org/a%20b", "https://example.org/a%20b"),
        ("simplecache::file:///data/a%20b", "simplecache::file:///data/a%20b"),
        ("~", "/home/me"),
        ("~/a.zarr", "/home/me/a.zarr"),
        (Path("~/a.zarr"), "/home/me/a.zarr"),
        ("data/~/a.zarr", "data/~/a.zarr"),
        ("file:/~/a.zarr", "/~/a.zarr"),
    ],
    ids=repr,
)
def test_a_place_is_a_url_or_a_path(place: object, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert locate(place) == expected


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (3, "3 names no place; expected a path or a URL, got int"),
        (None, "None names no place; expected a path or a URL, got NoneType"),
        (
            "file://server/data",
            "file of the host 'server'.*; one of this machine has three slashes: file:///server/data",
        ),
    ],
    ids=repr,
)
def test_what_is_no_place_is_refused(place: object, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        locate(place)
    with pytest.raises(ArgumentError, match=message):
        s2cmc.open_catalogue(place)


@pytest.fixture
def home(tiny: Path, tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder, with links to a release and its store."""
    (tmp_path / "release").symlink_to(tiny)
    (tmp_path / "store").symlink_to(tiny_store)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


FORMS = {
    "path": lambda home, name: Path(home / name),
    "named": lambda home, name: Named(str(home / name)),
    "bytes": lambda home, name: os.fsencode(home / name),
    "home": lambda home, name: f"~/{name}",
    "one slash": lambda home, name: f"file:{quote(str(home / name))}",
    "localhost": lambda home, name: f"file://localhost{quote(str(home / name))}",
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.slow
def test_a_store_opens_by_every_form_of_its_path(form, home: Path, tiny_store: Path) -> None:
    (home / "we ird").mkdir()
    (home / ODD).symlink_to(tiny_store)
    expected = s2cmc.open_catalogue(tiny_store)
    for name in ("store", ODD):
        opened = s2cmc.open_catalogue(form(home, name))
        assert opened.encoding["source"] == str(home / name)
        xr.testing.assert_identical(opened, expected)
    engine = xr.open_dataset(form(home, "store"), engine="s2cmc")
    assert list(engine.scene.values) == list(expected.scene.values)


@pytest.mark.slow
@pytest.mark.parametrize(
    "form",
    [
        pytest.param(form, id=name, marks=[] if name in ("path", "home", "one slash") else pytest.mark.long)
        for name, form in FORMS.items()
    ],
)
def test_every_function_of_conversion_takes_every_form_of_a_path(form, home: Path) -> None:
    def at(name: str) -> object:
        return form(home, name)

    before = set(home.iterdir())
    assert convert(at("release"), at("new ä")).scenes == 3
    assert verify(at("new ä"), at("release")) == []
    assert repair(at("new ä"), at("release")).rewritten == ()
    assert export(at("new ä"), at("part ä"), format="zarr").scenes == 3
    assert export(at("new ä"), at("pictures ä"), format="png").scenes == 3
    restore(at("new ä"), at("again ä"))
    describe(at("new ä"))
    describe(at("new ä"), at("described ä"))
    assert publish(at("new ä"), at("public ä")).copied > 0
    made = ("new ä", "part ä", "pictures ä", "again ä", "new ä-metadata", "described ä", "public ä")
    assert set(home.iterdir()) - before == {home / name for name in made}
    for name in ("new ä", "part ä", "public ä"):
        assert s2cmc.open_catalogue(home / name).sizes["scene"] == 3
