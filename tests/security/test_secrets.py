"""Credentials, in whatever way they come in, are used, and are in nothing that is said, logged, written or kept."""

import pickle

import dask
import numpy as np
import pytest
import xarray as xr
from helpers import radosgw
from helpers.credentials import TOKEN, Said, members

import s2cmc
from s2cmc.conversion.convert import conversion
from s2cmc.conversion.convert.cluster import make_places
from s2cmc.conversion.convert.conversion import convert
from s2cmc.conversion.convert.plan import Options, make_plan
from s2cmc.conversion.source.listing import open_release
from s2cmc.conversion.targets.journal import Target
from s2cmc.storage.access import make_access
from s2cmc.store.open import open_group, place_of

pytestmark = pytest.mark.slow


def _look(catalogue: xr.Dataset, said: Said) -> None:
    """Note what a catalogue shows of itself, and what is loaded of it; that is pickled too."""
    said.add(catalogue, catalogue.attrs, catalogue.encoding, catalogue["mask"].data, list(catalogue["mask"].data.dask))
    said.add(
        pickle.dumps(catalogue.isel(scene=0).compute()), pickle.dumps(catalogue.clouds.class_fractions().compute())
    )


def _use(catalogue: xr.Dataset, said: Said) -> None:
    """Ask a catalogue of everything, and note what the answers show; those that are computed are pickled too."""
    chosen = catalogue.clouds.select("clear_percent >= 0")
    said.add(catalogue, catalogue._repr_html_(), catalogue.attrs, catalogue.encoding, chosen)
    for variable in catalogue.variables.values():
        said.add(variable, variable.encoding, variable.attrs)
        if variable.chunks:
            said.add(variable.data, list(variable.data.dask), variable.data.dask, *variable.data.dask.values())
    lazy = chosen.clouds.class_fractions(), chosen.clouds.band_statistics(), chosen.clouds.rgb()
    said.add(*lazy, *(list(answer.__dask_graph__()) for answer in lazy))
    prediction = catalogue["mask"]
    answers = [
        *dask.compute(*lazy),
        chosen.isel(scene=0).compute(),
        chosen.clouds.scene(0).compute(),
        chosen.copy().load(),
        chosen.clouds.prevalence("annotator").compute(),
        chosen.clouds.evaluate(prediction, by="dataset", resamples=10),
        chosen.clouds.footprints(),
        next(iter(chosen.clouds.patches(8, batch=2))),
    ]
    said.add(*answers, *map(pickle.dumps, answers))


OPERATIONS = {
    "password": {
        "info": (),
        "verify": (),
        "evaluate": (
            "{predictions}",
            "--resamples",
            "10",
            "--html",
            "{out}/e.html",
            "--json",
            "{out}/e.json",
            "--markdown",
            "{out}/e.md",
        ),
        "publish": ("{out}/published",),
        "export": ("{out}/exported", "--format", "zarr"),
        "metadata": ("{out}/metadata", "--store-url", "https://example.org/store"),
    },
    "signature": {
        "verify": (),
        "restore": ("{out}/restored",),
        "export": ("{out}/exported", "--format", "npy"),
    },
}
"""What the command does with a store that is reached so."""


@pytest.fixture
def predictions(tiny_store, tmp_path):
    """The masks themselves, as files."""
    (tmp_path / "predictions").mkdir()
    opened = s2cmc.open_catalogue(tiny_store)
    for scene, mask in zip(opened.scene.values, opened.mask.values, strict=True):
        np.save(tmp_path / "predictions" / f"{scene}.npy", mask)
    return tmp_path / "predictions"


@pytest.mark.parametrize(
    ("way", "backend"), [("password", "obstore"), ("password", "fsspec"), ("signature", "obstore")]
)
def test_those_in_a_url_are_used_and_not_told(way, backend, guarded, said):
    url = guarded("store.zarr", way)
    options = {"backend": backend, "cache_dir": said.folder / "cache"}
    (_use if way == "password" else _look)(s2cmc.open_catalogue(url, **options), said)
    group = open_group(url, make_access(options))
    said.add(place_of(url), make_access(options), group, group.store)


@pytest.mark.parametrize("way", ["password", "signature"])
def test_the_command_takes_those_in_a_url_and_does_not_tell(way, guarded, said, run, predictions):
    url = guarded("store.zarr", way)
    for name, arguments in OPERATIONS[way].items():
        words = [word.format(out=said.folder, predictions=predictions) for word in arguments]
        answer = run(name, url, *words)
        assert answer.code == 0, answer.err
        said.add(answer.out, answer.err)


def test_those_in_headers_are_used_and_not_told(guarded, said):
    options = {"client_options": {"default_headers": {"Authorization": f"Bearer {TOKEN}"}}}
    url = guarded("store.zarr", "options")
    said.add(make_access(options))
    _look(s2cmc.open_catalogue(url, storage_options=options), said)


@pytest.mark.parametrize(
    ("backend", "way"),
    [("obstore", "options"), ("obstore", "environment"), ("obstore", "profile"), ("fsspec", "options")],
)
def test_those_of_s3_are_used_and_not_told(way, backend, owner, bucket, tiny_store, said):
    url = bucket.upload(tiny_store, "store.zarr")
    options = owner(bucket, way) | {"backend": backend}
    (_use if way == "options" else _look)(s2cmc.open_catalogue(url, **options, cache_dir=said.folder / "cache"), said)
    said.add(make_access(options), place_of(url, make_access(options)), open_group(url, make_access(options)).store)


def test_the_command_writes_none_into_a_bucket(tiny, owner, bucket, said, run):
    owner(bucket, "environment")
    flags = ["-o", f"endpoint_url={bucket.endpoint}"]
    assert run("convert", tiny, f"{bucket.url}/new.zarr", *flags, "--report", said.folder / "report.json").code == 0
    for name, *words in (
        ("verify", tiny),
        ("export", f"{bucket.url}/smaller.zarr", "--format", "zarr"),
        ("metadata",),
    ):
        answer = run(name, f"{bucket.url}/new.zarr", *words, *flags, "-o", "anonymous=false")
        assert answer.code == 0, answer.err
        said.add(answer.out, answer.err)
    for key, content in bucket.contents().items():
        said.add(key, content + members(content))


def test_a_release_behind_a_password(tiny, guarded, said, run, bucket, owner, monkeypatch):
    """The journal of a conversion, which strangers may read, says how to finish it, but not with which password."""
    url = guarded("release", "password")
    source = open_release(url)
    plan = make_plan(source, Options())
    target = Target(str(said.folder / "store"))
    said.add(source, plan, make_places(plan, target, "run", url), plan.command(f"{url}/x", None, {}))
    answer = run("convert", url, said.folder / "store", "--report", said.folder / "report.json")
    assert answer.code == 0, answer.err
    said.add(answer.out, answer.err)
    answer = run("verify", said.folder / "store", url)
    assert answer.code == 0, answer.err
    said.add(answer.out, answer.err)
    monkeypatch.setattr(conversion, "_publish", lambda *_: pytest.fail("killed"))
    with pytest.raises(pytest.fail.Exception):
        convert(url, str(said.folder / "unfinished"))
    assert (said.folder / "unfinished" / ".s2cmc-conversion" / "plan.json").exists()
    said.failing(lambda: s2cmc.open_catalogue(said.folder / "unfinished"), "finish it with `s2cmc convert http://127")
    convert_options = owner(bucket, "options")
    access = make_access(convert_options)
    with pytest.raises(pytest.fail.Exception):
        convert(url, f"{bucket.url}/unfinished", access=access)
    said.add(*bucket.contents().values())
    said.failing(lambda: s2cmc.open_catalogue(f"{bucket.url}/unfinished", **convert_options), "finish it with")


def test_a_pickle_holds_what_was_given_and_not_what_was_found(owner, bucket, tiny_store):
    """Workers need what was given here; of an environment or a profile they find their own."""
    url = bucket.upload(tiny_store, "store.zarr")
    for way, found in (("options", True), ("environment", False), ("profile", False)):
        content = pickle.dumps(s2cmc.open_catalogue(url, **owner(bucket, way)))
        assert (radosgw.SECRET.encode() in content) is found, way
