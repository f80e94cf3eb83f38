"""How a store is reached: what may be said about it, what it means to each transport, and what must not be shown."""

import pickle

import pytest
from aiohttp import ClientTimeout

import s2cmc
from s2cmc.storage.access import Access, has_obstore, make_access, scheme_of
from s2cmc.storage.connections import FolderConnection, FsspecConnection, ObstoreConnection, connect, fsspec_options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "curl"}, "backend is 'curl'; expected one of obstore, fsspec"),
        ({"timeout": 0}, "timeout is 0; expected seconds above 0"),
        ({"timeout": -1.5}, r"timeout is -1\.5; expected seconds above 0"),
        ({"timeout": float("nan")}, "timeout is nan; expected seconds above 0"),
        ({"cache_size": 0}, "cache_size is 0; expected bytes above 0"),
        ({"key": "AKIA"}, "key and secret go together: one of them is missing"),
        ({"secret": "s"}, "key and secret go together"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_before_anything_is_read(options, message):
    with pytest.raises(s2cmc.ArgumentError, match=message):
        s2cmc.open_catalogue("/nowhere", **options)
    with pytest.raises(s2cmc.ArgumentError, match=message):
        make_access(options)


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": "5s"},
        {"timeout": float("inf")},
        {"cache_size": "5GB"},
        {"anonymous": "no"},
        {"requester_pays": "no"},
        {"storage_options": {"a": 1}},
    ],
    ids=str,
)
def test_values_of_the_wrong_kind_are_refused(options):
    with pytest.raises(s2cmc.ArgumentError, match=next(iter(options))):
        make_access(options)


def test_names_of_fsspec_and_botocore_mean_the_same():
    spelled = make_access({"anon": False, "region_name": "r", "aws_access_key_id": "k", "aws_secret_access_key": "s"})
    assert spelled == Access(anonymous=False, region="r", key="k", secret="s")  # noqa: S106, none
    assert make_access({"endpoint_url": "http://e", "requester_pays": True, "profile": "p"}) == Access(
        endpoint_url="http://e", requester_pays=True, profile="p"
    )


def test_what_has_another_name_goes_to_the_transport():
    access = make_access({"anon": True, "client_options": {"a": 1}, "account_name": "n"}, timeout=3.0)
    assert access.storage_options == {"client_options": {"a": 1}, "account_name": "n"}
    assert (access.anonymous, access.timeout, access.cache_size) == (True, 3, Access().cache_size)


def test_a_named_value_goes_before_the_same_among_the_options():
    assert make_access({"region": "a", "anon": True}, region="b", anonymous=False) == Access(
        region="b", anonymous=False
    )
    assert make_access({"region": "a"}, region=None) == Access(region="a")


def test_a_default_does_not_go_before_an_option(store, serve, monkeypatch):
    monkeypatch.setattr("s2cmc.storage.connections.object_store", None)  # obstore must not be asked
    url = f"{serve(store.parent).url}/{store.name}"
    assert s2cmc.open_catalogue(url, storage_options={"backend": "fsspec"}).sizes["scene"] == 10


@pytest.mark.parametrize(
    ("options", "anonymous"),
    [
        ({}, True),
        ({"region": "r", "endpoint_url": "http://e", "requester_pays": True}, True),
        ({"client_options": {}, "account_name": "n"}, True),
        ({"profile": "p"}, False),
        ({"key": "k", "secret": "s"}, False),
        ({"token": "t"}, False),
        ({"sas_token": "t"}, False),
        ({"credential_provider": print}, False),
        ({"connection_string": "c"}, False),
        ({"anon": False}, False),
        ({"anon": True, "key": "k", "secret": "s"}, True),
    ],
    ids=str,
)
def test_readers_are_anonymous_unless_credentials_are_given(options, anonymous):
    assert make_access(options).is_anonymous is anonymous


def test_writers_sign_unless_they_say_otherwise():
    assert not Access().signed().is_anonymous
    assert Access(anonymous=True).signed().is_anonymous
    assert Access(region="r", timeout=3).signed() == Access(region="r", timeout=3, anonymous=False)


def test_secrets_are_not_shown():
    access = make_access({"key": "AKIAKEY", "secret": "hidden", "token": "concealed", "region": "eu-west-1"})
    assert "eu-west-1" in repr(access)
    for secret in ("AKIAKEY", "hidden", "concealed"):
        assert secret not in repr(access)
        assert secret in pickle.dumps(access).decode("latin1")  # other processes need it


@pytest.mark.parametrize(
    ("url", "scheme", "by_obstore"),
    [
        ("s3://b/k", "s3", True),
        ("S3A://b/k", "s3a", True),
        ("gs://b/k", "gs", True),
        ("az://c/k", "az", True),
        ("abfs://c/k", "abfs", True),
        ("abfss://c@a.dfs.core.windows.net/k", "abfss", True),
        ("https://host/k", "https", True),
        ("http://host/k", "http", True),
        ("/a/b", "", False),
        ("a/b", "", False),
        ("C:\\a", "", False),
        ("memory://k", "memory", False),
        ("simplecache::s3://b/k", "simplecache::s3", False),
        ("zip://k::http://host/a.zip", "zip", False),
    ],
)
def test_a_scheme_tells_the_transport(url, scheme, by_obstore):
    assert scheme_of(url) == scheme
    assert has_obstore(url) is by_obstore


def test_each_place_is_connected_by_its_transport(tmp_path):
    assert isinstance(connect(str(tmp_path), Access()), FolderConnection)
    assert isinstance(connect("http://host/k", Access()), ObstoreConnection)
    assert isinstance(connect("s3://b/k", Access(region="r")), ObstoreConnection)
    assert isinstance(connect("http://host/k", Access(backend="fsspec")), FsspecConnection)
    assert isinstance(connect("memory://k", Access()), FsspecConnection)


def test_fsspec_is_told_of_s3_what_it_calls_otherwise():
    access = Access(key="k", secret="s", region="r", endpoint_url="http://e", requester_pays=True, timeout=8)  # noqa: S106, none
    found = fsspec_options("s3://b/k", access)
    assert (found["key"], found["secret"], found["profile"]) == ("k", "s", None)
    assert (found["anon"], found["requester_pays"], found["endpoint_url"]) == (False, True, "http://e")
    assert found["client_kwargs"] == {"region_name": "r"}
    assert found["config_kwargs"]["read_timeout"] == 2  # silent so long, and another connection is tried
    assert found["config_kwargs"]["connect_timeout"] == 2
    assert found["max_concurrency"] == 1
    assert fsspec_options("s3://b/k", Access()) == fsspec_options("s3a://b/k", Access())
    assert fsspec_options("s3://b/k", Access())["anon"] is True


def test_fsspec_is_told_of_other_schemes_what_they_take(monkeypatch):
    timeout = fsspec_options("https://h/k", Access(timeout=100))["client_kwargs"]["timeout"]
    assert timeout == ClientTimeout(total=None, sock_connect=5, sock_read=25)
    assert fsspec_options("gs://b/k", Access()) == {"token": "anon"}
    gs = Access(anonymous=False, endpoint_url="http://e", requester_pays=True)
    assert fsspec_options("gcs://b/k", gs) == {"endpoint_url": "http://e", "requester_pays": True}
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    assert fsspec_options("az://c/k", make_access({"account_name": "n"})) == {"anon": True, "account_name": "n"}
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "known")
    assert fsspec_options("abfs://c/k", Access(anonymous=False)) == {"anon": False, "account_name": "known"}
    assert fsspec_options("memory://k", make_access({"a": 1})) == {"a": 1}


def test_options_of_a_chain_go_to_its_last_link():
    assert fsspec_options("simplecache::gs://b/k", Access()) == {"gs": {"token": "anon"}}
    assert fsspec_options("zip://k::memory://a.zip", Access()) == {}
    own = make_access({"simplecache": {"cache_storage": "/c"}})
    assert fsspec_options("simplecache::gs://b/k", own) == {
        "gs": {"token": "anon"},
        "simplecache": {"cache_storage": "/c"},
    }


def test_an_option_that_is_given_goes_before_what_is_derived():
    assert fsspec_options("gs://b/k", make_access({"token": "t"})) == {"token": "t"}
    assert fsspec_options("s3://b/k", make_access({"max_concurrency": 4}))["max_concurrency"] == 4
