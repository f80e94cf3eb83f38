"""Credentials, in whatever way they come in, are in nothing that is said, logged, written or kept."""

import base64
import gc
import io
import itertools
import logging
import os
import pickle
import socket
import traceback
import urllib.parse
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import radosgw
import xarray as xr
from fileserver import RangeHandler

import s2cmc
from s2cmc.access import make_access
from s2cmc.conversion.cluster import make_places
from s2cmc.conversion.plan import Options, make_plan
from s2cmc.conversion.source import open_release
from s2cmc.conversion.target import Target
from s2cmc.conversion.write import convert
from s2cmc.errors import CatalogueError
from s2cmc.redact import redacted
from s2cmc.store import open_group, place_of
from s2cmc.testing import make_release

pytestmark = pytest.mark.slow

USER, PASSWORD = "planted-user", "planted-pass:w@rd"
SIGNATURE = "X-Amz-Signature=plantedsignature&X-Amz-Credential=plantedid"
TOKEN = "planted-bearer-token"  # noqa: S105, of a server that is made here
WRONG = {"key": "AKIAPLANTEDKEYID", "secret": "planted/wrong+secret"}
_NUMBERS = itertools.count()


def _spellings(secret: str) -> set[str]:
    return {secret, urllib.parse.quote(secret, safe=""), base64.b64encode(secret.encode()).decode()}


PLANTED = {
    spelling.encode()
    for secret in (
        *(USER, PASSWORD, f"{USER}:{PASSWORD}", TOKEN, "plantedsignature", "plantedid"),
        *(*WRONG.values(), radosgw.KEY, radosgw.SECRET),
    )
    for spelling in _spellings(secret)
}


def holds(content: bytes) -> list[bytes]:
    """What of the planted is in it, with what stands around."""
    found = [content.find(secret) for secret in sorted(PLANTED)]
    return [content[max(0, at - 60) : at + 40] for at in found if at >= 0]


class Guarded(RangeHandler):
    """Answers whoever knows the password, the signature or the token."""

    def parse_request(self) -> bool:
        read = super().parse_request()
        if read and self._is_refused():
            self.send_error(401, "go away")
        return read and not self._is_refused()

    def _is_refused(self) -> bool:
        basic = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        allowed = self.headers.get("Authorization") in (basic, f"Bearer {TOKEN}")
        return not allowed and not self.path.endswith(SIGNATURE)


class Said:
    """Gathers what is said, and finds what was planted in it."""

    def __init__(self, folder: Path, log: pytest.LogCaptureFixture) -> None:
        self.folder = folder
        self._log = log
        self._texts: list[bytes] = []

    def add(self, *things: object) -> None:
        """Note what an object shows of itself, and to whom it is sent."""
        for thing in things:
            self._texts += [thing if isinstance(thing, bytes) else f"{thing}\n{thing!r}".encode("utf-8", "replace")]

    def failing(self, work: Callable[[], object], match: str) -> CatalogueError:
        """Note all that an error says, with its causes, in a traceback and to other processes."""
        with pytest.raises(CatalogueError, match=match) as caught:
            work()
        error: BaseException | None = caught.value
        self.add("".join(traceback.format_exception(caught.value)))
        while error is not None:
            self.add(error, vars(error), error.args)
            error = error.__cause__ or error.__context__
        return caught.value

    def everything(self) -> bytes:
        """All that was noted, logged and written."""
        written = b""
        for path in sorted(self.folder.rglob("*")):
            written += str(path.relative_to(self.folder)).encode()
            if path.is_file():
                content = path.read_bytes()
                written += content + _members(content)
        ours = "\n".join(
            logging.Formatter().format(record) for record in self._log.records if record.name.startswith("s2cmc")
        )
        return b"\n".join(self._texts) + written + ours.encode()


def _members(content: bytes) -> bytes:
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return b""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return b"".join(archive.read(name) for name in archive.namelist())


@pytest.fixture
def said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Said]:
    """Gathers; at the end nothing planted is in it."""
    caplog.set_level(logging.DEBUG)
    (tmp_path / "written").mkdir()
    said = Said(tmp_path / "written", caplog)
    yield said
    everything = said.everything()
    assert len(everything) > 1000
    assert holds(everything) == []
    # With their own loggers at DEBUG too, which s2cmc never sets, libraries tell neither passwords nor secret keys.
    libraries = "\n".join(record.getMessage() for record in caplog.records).encode()
    assert not any(secret.encode() in libraries for secret in (PASSWORD, radosgw.SECRET, WRONG["secret"]))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A release of 3 scenes of 16 x 16 pixels. Not to be changed."""
    return make_release(tmp_path_factory.mktemp("tiny") / "release", scenes=3, size=16)


@pytest.fixture(scope="module")
def tiny_store(tiny):
    """The store of `tiny`. Not to be changed."""
    convert(str(tiny), str(tiny.parent / "store.zarr"))
    return tiny.parent / "store.zarr"


@pytest.fixture
def guarded(tiny_store, serve) -> Callable[[str, str], str]:
    """URL of what lies beside `tiny_store` on a server that asks for credentials, with these in it."""
    server = serve(tiny_store.parent, Guarded)

    def url(name: str, way: str) -> str:
        user = f"{USER}:{urllib.parse.quote(PASSWORD, safe='')}@" if way == "password" else ""
        query = f"?{SIGNATURE}" if way == "signature" else ""
        return f"http://{user}{server.url.removeprefix('http://')}/{name}{query}"

    return url


@pytest.fixture
def owner(new_bucket, tiny_store, tmp_path, monkeypatch) -> Callable[[str], dict[str, Any]]:
    """Options with which the owner of a bucket opens it, whose credentials come by a way of their own."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    def options(bucket, way: str) -> dict[str, Any]:
        common = {"endpoint_url": bucket.endpoint, "timeout": 30 + next(_NUMBERS)}  # fsspec keeps what it has found
        if way == "options":
            return common | {"key": radosgw.KEY, "secret": radosgw.SECRET}
        if way == "environment":
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", radosgw.KEY)
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", radosgw.SECRET)
            return common | {"anonymous": False}
        profile = f"[lab]\naws_access_key_id = {radosgw.KEY}\naws_secret_access_key = {radosgw.SECRET}\n"
        (tmp_path / "profiles").write_text(profile)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "profiles"))
        return common | {"profile": "lab"}

    return options


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
        said.add(key, content + _members(content))


def test_a_release_behind_a_password(tiny, guarded, said, run, bucket, owner, monkeypatch):
    """The journal of a conversion, which strangers may read, says how to finish it, but not with which password."""
    url = guarded("release", "password")
    source = open_release(url)
    plan = make_plan(source, Options())
    target = Target(str(said.folder / "store"))
    said.add(source, plan, make_places(plan, target, "run", url, {}), plan.command(f"{url}/x", None, {}))
    answer = run("convert", url, said.folder / "store", "--report", said.folder / "report.json")
    assert answer.code == 0, answer.err
    said.add(answer.out, answer.err)
    answer = run("verify", said.folder / "store", url)
    assert answer.code == 0, answer.err
    said.add(answer.out, answer.err)
    monkeypatch.setattr("s2cmc.conversion.write._publish", lambda *_: pytest.fail("killed"))
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


@pytest.fixture
def silent():
    """A server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("backend", ["obstore", "fsspec"])
def test_errors_of_urls_do_not_tell(backend, guarded, serve, tiny_store, silent, said, tmp_path):
    userinfo = f"{USER}:{urllib.parse.quote(PASSWORD, safe='')}@"

    def opening(url: str, **options: Any) -> Callable[[], object]:
        return lambda: s2cmc.open_catalogue(url, backend=backend, timeout=0.5, **options)

    said.failing(opening(guarded("none", "password")), "holds no catalogue")
    said.failing(opening(guarded("store.zarr", "password").replace(USER, f"{USER}x")), "access denied")
    said.failing(opening(f"http://{userinfo}{silent}/store"), "no answer within|cannot be reached")
    said.failing(opening(f"http://{userinfo}127.0.0.1:9/store"), "cannot be reached")
    said.failing(opening(f"http://{USER}:planted-pass/x?y#z@127.0.0.1:9/store"), "cannot be")
    said.failing(opening(f"http://{silent}/store?{SIGNATURE}"), "no answer within|cannot be|with a query")
    said.failing(opening(guarded("none", "signature")), "holds no catalogue|with a query")
    said.failing(opening(f"ftp://{userinfo}127.0.0.1:9/store"), "cannot be")
    said.failing(opening(f"foo://{userinfo}h/store?{SIGNATURE}"), "cannot be")
    said.failing(opening("s3://b/c", endpoint_url=f"{userinfo}h"), "expected http:// or https://")
    said.failing(opening("s3://b/c", endpoint_url=f"http://{userinfo}{silent}"), "cannot be")
    said.failing(opening(f"s3://{userinfo}bucket/c", endpoint_url=f"http://{silent}"), "cannot be|names no")
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "zarr.json").write_bytes((tiny_store / "zarr.json").read_bytes()[:-100])
    (damaged / "none").mkdir()
    server = serve(tmp_path, Guarded)
    url = f"http://{userinfo}{server.url.removeprefix('http://')}/damaged"
    said.failing(opening(url), "damaged")


@pytest.mark.parametrize("way", ["password", "signature"])
def test_errors_while_reading_pixels_do_not_tell(way, serve, tiny_store, said, tmp_path):
    import shutil

    shutil.copytree(tiny_store, tmp_path / "copy")
    server = serve(tmp_path, Guarded)
    host = server.url.removeprefix("http://")
    user = f"{USER}:{urllib.parse.quote(PASSWORD, safe='')}@" if way == "password" else ""
    query = f"?{SIGNATURE}" if way == "signature" else ""
    catalogue = s2cmc.open_catalogue(f"http://{user}{host}/copy{query}", timeout=2)
    (shard,) = (path for path in (tmp_path / "copy" / "mask").rglob("0") if path.is_file())
    shard.write_bytes(bytes(shard.stat().st_size))
    said.failing(catalogue["mask"].compute, "damaged")
    shard.write_bytes(shard.read_bytes()[:10])
    said.failing(catalogue["mask"].compute, "cut short|damaged|cannot be read")
    shard.unlink()
    said.failing(catalogue["mask"].compute, "is missing")
    server.close()
    said.failing(catalogue["mask"].compute, "cannot be")


@pytest.mark.parametrize("backend", ["obstore", "fsspec"])
def test_errors_of_s3_do_not_tell(backend, bucket, said, silent, tiny_store):
    url = bucket.upload(tiny_store, "store.zarr")

    def opening(**options: Any) -> Callable[[], object]:
        options = {"endpoint_url": bucket.endpoint, "backend": backend, "timeout": 2} | options
        return lambda: s2cmc.open_catalogue(options.pop("url", url), **options)

    said.failing(opening(**bucket.options | {"secret": WRONG["secret"]}), "access denied")
    said.failing(opening(**WRONG), "access denied")
    said.failing(opening(**bucket.options, url=f"{url}/none"), "holds no catalogue|missing")
    said.failing(opening(**bucket.options, url="s3://no-such-bucket-here/x"), "no such bucket")
    said.failing(opening(**WRONG, endpoint_url=f"http://{silent}"), "no answer|cannot be")
    said.failing(opening(storage_options={"nonsense": TOKEN, "token": TOKEN}), "nonsense|no credentials")
    said.failing(lambda: s2cmc.open_catalogue(url, key=WRONG["key"]), "key and secret go together")


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("gs://bucket/store", {"token": TOKEN, "backend": "fsspec"}),
        ("gs://bucket/store", {"service_account_key": TOKEN}),
        ("gs://bucket/store", {"application_credentials": TOKEN}),
        ("az://container/store", {"account_name": "account", "account_key": TOKEN}),
        ("az://container/store", {"account_name": "account", "sas_key": TOKEN}),
        ("az://container/store", {"connection_string": TOKEN, "backend": "fsspec"}),
        ("az://container/store", {"account_name": "account", "account_key": TOKEN, "backend": "fsspec"}),
    ],
)
def test_options_that_are_no_credentials_are_not_repeated(url, options, said, silent):
    """They may be credentials with a slip in them."""
    endpoint = {} if "connection_string" in options else {"endpoint_url": f"http://{silent}"}
    try:
        s2cmc.open_catalogue(url, timeout=0.5, **endpoint, **_as_options(options))
        pytest.fail("it opened")
    except (CatalogueError, OSError) as error:
        said.add("".join(traceback.format_exception(error)), "x" * 1000)
    gc.collect()  # connections of clients that failed


def _as_options(options: dict[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in options.items() if name == "backend"}
    return own | {"storage_options": {name: value for name, value in options.items() if name not in own}}


def test_a_pickle_holds_what_was_given_and_not_what_was_found(owner, bucket, tiny_store):
    """Workers need what was given here; of an environment or a profile they find their own."""
    url = bucket.upload(tiny_store, "store.zarr")
    for way, found in (("options", True), ("environment", False), ("profile", False)):
        content = pickle.dumps(s2cmc.open_catalogue(url, **owner(bucket, way)))
        assert (radosgw.SECRET.encode() in content) is found, way


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("at https://u:p@h:80/a is", "at https://h:80/a is"),
        ("https://token@h/a", "https://h/a"),
        ("https://u:p@w@h/a", "https://h/a"),
        ("https://u:p/w@h/a", "https://h/a"),
        ("https://u:p?w#x@h/a", "https://h/a"),
        ("https://u:it's@h/a", "https://h/a"),
        ("'https://h/a?X-Amz-Signature=1&b=2'; expected", "'https://h/a'; expected"),
        ("https://h/a#access_token=1 cannot", "https://h/a cannot"),
        ("zip://a::https://u:p@h/z?s=1", "zip://a::https://h/z"),
        ("ftp://u:p@h/a and s3://k:s@b/c", "ftp://h/a and s3://b/c"),
        ("HTTPS://u:p@h", "HTTPS://h"),
        # No credentials.
        ("abfs://container@account.dfs.core.windows.net/a", "abfs://container@account.dfs.core.windows.net/a"),
        ("s3://bucket/a@v1/b", "s3://bucket/a@v1/b"),
        ("http://h:8080/a@b", "http://h:8080/a@b"),
        ("a@b.c, what? 'd'", "a@b.c, what? 'd'"),
        ("did you mean snow_ice?", "did you mean snow_ice?"),
        ("abfs://u:p@h/a", "abfs://h/a"),
        ("<Code>E</Code><StringToSign>x\ny</StringToSign>", "<Code>E</Code>"),
    ],
)
def test_what_is_left_of_urls(text, expected):
    assert redacted(text) == expected


@pytest.mark.parametrize("way", ["password", "signature"])
def test_errors_of_releases_and_predictions_do_not_tell(way, guarded, said, opened):
    """Nor does what the file system said, from which they are raised."""
    url = guarded("none", way)
    said.failing(lambda: open_release(url), "holds no classification_tags|cannot be read")
    said.failing(lambda: opened.clouds.confusion(url), "does not exist|cannot be read")
    said.failing(lambda: open_release(f"simplecache::{url}"), "holds no classification_tags|cannot be read")
    said.add("x" * 1000)
