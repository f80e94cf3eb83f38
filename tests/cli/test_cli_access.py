"""``--store-option``: how the command reaches a store, in every subcommand that takes one."""

import shutil

import numpy as np
import pytest
import typer
import typer.main

import s2cmc
from s2cmc.cli import _console, app
from s2cmc.storage.access import Access

pytestmark = pytest.mark.slow

READING = {
    "info": [],
    "select": ["cirrus"],
    "fractions": [],
    "gallery": ["{tmp}/gallery.png"],
    "stats": [],
    "evaluate": ["{tmp}/predictions"],
    "verify": [],
    "restore": ["{tmp}/restored"],
    "publish": ["{tmp}/published"],
    "export": ["{tmp}/exported"],
    "metadata": ["{tmp}/metadata"],
    "window": ["0"],
}
"""Subcommands that read STORE, and their other arguments."""

KEY = ["-o", "key=k", "-o", "secret=s"]


@pytest.fixture
def arguments(tmp_path, tiny_store):
    """Arguments of a subcommand; predictions are the masks themselves."""

    def of(name):
        if name == "evaluate":
            opened = s2cmc.open_catalogue(tiny_store)
            (tmp_path / "predictions").mkdir()
            for scene, mask in zip(opened.scene.values, opened.mask.values, strict=True):
                np.save(tmp_path / "predictions" / f"{scene}.npy", mask)
        return [argument.format(tmp=tmp_path) for argument in READING[name]]

    return of


def test_every_subcommand_that_takes_a_store_takes_its_options():
    commands = typer.main.get_command(app.app).commands
    takers = {name for name, command in commands.items() if any(p.name == "store" for p in command.params)}
    assert takers == {*READING, "convert", "georeference", "repair"}
    for name in takers:
        (option,) = [p for p in commands[name].params if p.name == "store_option"]
        assert option.opts == ["--store-option", "-o"]


@pytest.mark.parametrize("name", READING)
def test_options_reach_the_reader(name, arguments, tiny_store, serve, run, monkeypatch):
    """Without them obstore would be asked, which is not there."""
    monkeypatch.setattr("s2cmc.storage.connections.object_store", None)
    server = serve(tiny_store.parent)
    url = f"{server.url}/{tiny_store.name}"
    assert run(name, url, *arguments(name), "-o", "backend=fsspec", "--store-option", "timeout=20").code == 0
    assert server.log


@pytest.mark.parametrize("name", READING)
def test_an_option_that_nobody_knows_is_one_message(name, arguments, tiny_store, serve, run):
    url = f"{serve(tiny_store.parent).url}/{tiny_store.name}"
    answer = run(name, url, *arguments(name), "-o", "nonsense=1")
    assert answer.is_one_message(f"{url} cannot be opened: ", "'nonsense'", "backend='fsspec'")


def test_options_reach_the_writer(tiny, run):
    answer = run("convert", tiny, "s3://bucket/store", *KEY, "-o", "nonsense=1")
    assert answer.is_one_message("s3://bucket/store cannot be opened: ", "'nonsense'")
    answer = run("convert", tiny, "s3://bucket/store", "-o", "profile=nobody")
    assert answer.is_one_message("The config profile (nobody) could not be found")


def test_publish_has_options_of_both_places(tiny_store, run, tmp_path, serve):
    url = f"{serve(tiny_store.parent).url}/{tiny_store.name}"
    key = ["--url-option", "key=k", "--url-option", "secret=s"]
    answer = run("publish", url, "s3://bucket/place", "-o", "timeout=5", *key, "--url-option", "nonsense=1")
    assert answer.is_one_message("s3://bucket/place cannot be opened: ", "'nonsense'")
    answer = run("publish", url, tmp_path / "place", "-o", "nonsense=1", "--url-option", "timeout=5")
    assert answer.is_one_message(f"{url} cannot be opened: ", "'nonsense'")


def test_the_cache_is_reached_too(tiny_store, serve, run, tmp_path):
    server = serve(tiny_store.parent)
    line = [
        "fractions",
        f"{server.url}/{tiny_store.name}",
        "-o",
        f"cache_dir={tmp_path / 'cache'}",
        "-o",
        "cache_size=1000000",
    ]
    first = run(*line)
    server.log.clear()
    assert run(*line) == first
    assert first.code == 0
    assert [path for _, path, _ in server.log] == [f"/{tiny_store.name}/zarr.json"]


@pytest.mark.parametrize("pair", ["anonymous", "timeout 5", ""])
@pytest.mark.parametrize(
    ("line", "option"),
    [
        (["info", "store", "-o"], "--store-option"),
        (["publish", "store", "place", "--url-option"], "--url-option"),
        (["convert", "release", "store", "--storage-option"], "--storage-option"),
    ],
    ids=["store", "url", "storage"],
)
def test_what_is_no_pair_is_a_wrong_line(line, option, pair, run):
    answer = run(*line, pair)
    assert answer.code == 2
    assert f"'{pair.split(' ')[0]}' is not of the form KEY=VALUE" in answer.err
    assert option in answer.err


@pytest.mark.parametrize(
    ("pairs", "access"),
    [
        (None, Access()),
        (["anonymous=true"], Access(anonymous=True)),
        (["anon=false", "timeout=2.5"], Access(anonymous=False, timeout=2.5)),
        (["profile=123", "region=1e5"], Access(profile="123", region="1e5")),
        (["key=0123", "secret=true"], Access(key="0123", secret="true")),  # noqa: S106, none
        (["secret=a=b==", "key=null"], Access(key="null", secret="a=b==")),  # noqa: S106, none
        (["endpoint_url=http://h:1/?a=b"], Access(endpoint_url="http://h:1/?a=b")),
        (["cache_dir=7", "cache_size=1e9"], Access(cache_dir="7", cache_size=1e9)),
        (["account_name=name", "port=80"], Access(storage_options={"account_name": "name", "port": 80})),
        (['client_options={"a": [1]}'], Access(storage_options={"client_options": {"a": [1]}})),
        (["timeout=1", "timeout=2"], Access(timeout=2)),
    ],
    ids=str,
)
def test_values_are_json_and_those_that_are_text_stay_so(pairs, access):
    assert _console.access_of(pairs) == access


@pytest.mark.parametrize(
    ("pairs", "access"),
    [
        (["aws_access_key_id=0", "aws_secret_access_key=12"], Access(key="0", secret="12")),  # noqa: S106, none
        (["region_name=1"], Access(region="1")),
        (
            ["account_name=123", "account_key=1e9"],
            Access(storage_options={"account_name": "123", "account_key": "1e9"}),
        ),
    ],
    ids=str,
)
def test_text_by_other_names_stays_text(pairs, access):
    assert _console.access_of(pairs) == access


@pytest.mark.parametrize(
    ("pairs", "parts"),
    [
        (["backend=curl"], ["backend is 'curl'", "obstore, fsspec"]),
        (["timeout=0"], ["timeout is 0", "seconds above 0"]),
        (["cache_size=0"], ["cache_size is 0", "bytes above 0"]),
        (["key=a"], ["key and secret go together"]),
        (["cache_dir=/dev/null/below"], ["cache_dir /dev/null/below cannot be used"]),
    ],
    ids=str,
)
def test_a_value_that_cannot_be_is_one_message(pairs, parts, tiny_store, run):
    options = [word for pair in pairs for word in ("-o", pair)]
    assert run("info", tiny_store, *options).is_one_message(*parts)


@pytest.mark.parametrize(
    "pair", ["timeout=5s", "cache_size=5GB", "anonymous=no", "timeout=null", 'storage_options={"a": 1}']
)
def test_a_value_of_the_wrong_kind_is_one_message(pair, tiny_store, run):
    assert run("info", tiny_store, "-o", pair).is_one_message(pair.split("=")[0])


def test_secrets_are_not_shown(tiny_store, run, serve):
    url = f"{serve(tiny_store.parent).url}/none"
    answer = run("info", url, "-o", "key=AKIAKEY", "-o", "secret=hidden")
    assert answer.is_one_message("holds no catalogue")
    assert "hidden" not in answer.err


def test_the_command_that_finishes_a_conversion_opens_what_it_made(tiny, tmp_path, run):
    """Options of STORE do not disturb where it is a folder."""
    assert run("convert", tiny, tmp_path / "store", "-o", "timeout=5").code == 0
    assert run("info", tmp_path / "store", "-o", "timeout=5").code == 0
    shutil.rmtree(tmp_path / "store")
    assert run("info", tmp_path / "store", "-o", "timeout=5").is_one_message("holds no catalogue")
