"""Errors are Python's own classes too, show no secret, and can be sent to other processes."""

import pickle

import pytest
import xarray as xr

import s2cmc
from s2cmc import errors
from s2cmc._redact import without_secrets
from s2cmc.conversion import convert, export, publish, verify
from s2cmc.storage import Access, explain

CLASSES = {
    "ArgumentError": ValueError,
    "DeniedError": PermissionError,
    "MissingObjectError": FileNotFoundError,
    "MissingPredictionError": FileNotFoundError,
    "MissingProductError": FileNotFoundError,
    "MissingReleaseError": FileNotFoundError,
    "MissingStoreError": FileNotFoundError,
    "PredictionError": ValueError,
    "QueryError": ValueError,
    "TimeLimitError": TimeoutError,
}
ALL = sorted(
    name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, s2cmc.CatalogueError)
)


def made(name: str) -> s2cmc.CatalogueError:
    cls = getattr(errors, name)
    return cls("S2A", "a message") if issubclass(cls, s2cmc.SceneError) else cls("a message")


@pytest.mark.parametrize("name", ALL)
def test_every_error_is_public(name):
    assert getattr(s2cmc, name) is getattr(errors, name)


@pytest.mark.parametrize("name", CLASSES)
def test_errors_are_pythons_own_too(name):
    error = made(name)
    assert isinstance(error, CLASSES[name])
    assert str(error).endswith("a message")


@pytest.mark.parametrize("name", ALL)
def test_errors_come_back_from_another_process(name):
    error = made(name)
    back = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (type(back), str(back), vars(back)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize("open_", [s2cmc.open_catalogue, xr.open_zarr], ids=["ours", "xarray"])
def test_a_store_that_is_not_there_is_a_file_that_is_not_found(open_, tmp_path):
    with pytest.raises(FileNotFoundError):
        open_(str(tmp_path / "nothing"))


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda at, store: convert(f"{at}/nothing", f"{at}/out"), "holds no classification_tags.csv"),
        (lambda at, store: verify(f"{at}/nothing"), "holds no catalogue"),
        (lambda at, store: publish(f"{at}/nothing", f"{at}/out"), "holds no catalogue"),
        (lambda at, store: export(f"{at}/nothing", f"{at}/out", format="npz"), "holds no catalogue"),
        (lambda at, store: s2cmc.open_catalogue(store).clouds.evaluate(f"{at}/nothing"), "does not exist"),
        (lambda at, store: s2cmc.open_catalogue(store).clouds.read_l1c(1, f"{at}/nothing"), "there is no"),
        (lambda at, store: s2cmc.open_catalogue(store).clouds.read_l1c(1, at), "lacks 13 of its bands"),
    ],
)
@pytest.mark.slow
def test_whatever_is_not_there_is_a_file_that_is_not_found(act, message, store, tmp_path):
    with pytest.raises(FileNotFoundError, match=message):
        act(tmp_path, str(store))


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda store: s2cmc.open_catalogue(store, chunks=3), "chunks=3 is unknown"),
        (lambda store: s2cmc.open_catalogue(store, timeout=0), "timeout is 0"),
        (lambda store: s2cmc.open_catalogue(store, Access(), timeout=5), "give access or its options"),
        (lambda store: s2cmc.open_catalogue(store, time_out=5), "did you mean timeout"),
        (lambda store: s2cmc.open_catalogue(""), "names no place"),
        (lambda store: s2cmc.open_catalogue(store).clouds.select("nothing"), "no scene coordinate 'nothing'"),
        (lambda store: s2cmc.open_catalogue(store).clouds.rgb(gain=0), "must be above 0"),
        (lambda store: publish(store, "https://example.org/store"), "cannot write to"),
    ],
)
def test_a_bad_argument_is_a_value_error(act, message, store):
    with pytest.raises(ValueError, match=message) as raised:
        act(str(store))
    assert isinstance(raised.value, s2cmc.CatalogueError)


@pytest.mark.parametrize(
    ("foreign", "kind", "message"),
    [
        (TimeoutError(), TimeoutError, "cannot be read: no answer within 60 s"),
        (OSError("operation timed out"), TimeoutError, "cannot be read: no answer within 60 s"),
        (PermissionError("no"), PermissionError, "cannot be read: access denied"),
        (FileNotFoundError("no"), FileNotFoundError, "is missing"),
    ],
)
def test_errors_of_transports_keep_their_kind(foreign, kind, message):
    error = explain(foreign, "s3://bucket/store/zarr.json", Access())
    assert isinstance(error, kind)
    assert isinstance(error, s2cmc.StoreError)
    assert message in str(error)


def test_an_error_shows_no_secret_of_its_own():
    error = s2cmc.ReleaseError("https://me:hidden@host/x?sig=hidden", ["s3://me:hidden@bucket"])
    assert "hidden" not in repr(error) + repr(error.problems)


def test_an_error_leaves_the_one_in_flight_as_it_is():
    said = "https://me:word@host/path"
    with pytest.raises(RuntimeError) as raised:  # noqa: PT012
        try:
            raise RuntimeError(said)
        finally:
            s2cmc.StoreError("something else")
    assert raised.value.args == (said,)


def test_what_is_translated_loses_its_secrets_where_that_is_done():
    foreign = RuntimeError("https://me:word@host/path")
    foreign.__cause__ = OSError("token=abcdef at https://host/?token=abcdef")
    assert without_secrets(foreign, ["abcdef"]) is foreign
    assert foreign.args == ("https://host/path",)
    assert "abcdef" not in str(foreign.__cause__)
