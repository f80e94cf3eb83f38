"""Access to S3 as configured by environment and files: region, endpoint, profile, credentials."""

import pickle

import pytest

import s2cmc
from s2cmc.storage.access import Access, Credentials, make_access, s3_config

GIVEN = Access(key="k", secret="s", requester_pays=True)  # noqa: S106, none
AWS_CONFIG = """
[default]
region = eu-central-1

[profile mine]
region = eu-west-1
endpoint_url = http://mine:9000
aws_access_key_id = AKIAMINE
aws_secret_access_key = mine

[profile keyless]
region = eu-north-1
"""
AWS_CREDENTIALS = """
[default]
aws_access_key_id = AKIADEFAULT
aws_secret_access_key = default
aws_session_token = session
"""


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch, tmp_path):
    """No configuration of this machine, and no asking of the instance for credentials."""
    for name in (
        "KEY_ID",
        "ACCESS_KEY_ID",
        "SECRET_ACCESS_KEY",
        "SESSION_TOKEN",
        "REGION",
        "DEFAULT_REGION",
        "PROFILE",
    ):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.fixture
def configured(tmp_path):
    """The configuration files of a user."""
    (tmp_path / "config").write_text(AWS_CONFIG)
    (tmp_path / "credentials").write_text(AWS_CREDENTIALS)


def test_s3_is_anonymous_and_its_region_left_to_the_service():
    assert s3_config(Access()) == {"skip_signature": True}


def test_an_endpoint_needs_some_region():
    assert s3_config(Access(endpoint_url="http://e")) == {
        "endpoint": "http://e",
        "region": "us-east-1",
        "skip_signature": True,
    }


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])
def test_endpoint_and_region_of_the_environment(variable, monkeypatch):
    monkeypatch.setenv(variable, "http://environment")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-south-1")
    found = s3_config(Access())
    assert (found["endpoint"], found["region"]) == ("http://environment", "eu-south-1")
    found = s3_config(Access(endpoint_url="http://given", region="given"))
    assert (found["endpoint"], found["region"]) == ("http://given", "given")


def test_the_endpoint_of_s3_goes_before_that_of_all_services(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://all")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://s3")
    assert s3_config(Access())["endpoint"] == "http://s3"


@pytest.mark.usefixtures("configured")
def test_the_configuration_files_are_read():
    assert s3_config(Access())["region"] == "eu-central-1"
    default = s3_config(Access(anonymous=False))
    assert default["region"] == "eu-central-1"
    found = default["credential_provider"]()
    assert (found["access_key_id"], found["secret_access_key"], found["token"]) == ("AKIADEFAULT", "default", "session")
    mine = s3_config(Access(profile="mine"))
    assert (mine["region"], mine["endpoint"]) == ("eu-west-1", "http://mine:9000")
    assert mine["credential_provider"]()["access_key_id"] == "AKIAMINE"
    assert "skip_signature" not in mine


@pytest.mark.usefixtures("configured")
def test_the_profile_and_the_keys_of_the_environment(monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "mine")
    assert s3_config(Access(anonymous=False))["credential_provider"]()["access_key_id"] == "AKIAMINE"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "environment")
    monkeypatch.delenv("AWS_PROFILE")
    assert Credentials(None)()["access_key_id"] == "AKIAENVIRONMENT"
    assert Credentials("mine")()["access_key_id"] == "AKIAMINE"


@pytest.mark.usefixtures("configured")
def test_credentials_are_found_anew_where_they_are_sent():
    provider = pickle.loads(pickle.dumps(Credentials("mine")))  # noqa: S301, our own bytes
    assert provider()["access_key_id"] == "AKIAMINE"
    assert b"AKIAMINE" not in pickle.dumps(Credentials("mine"))


@pytest.mark.usefixtures("configured")
def test_a_key_that_is_given_is_the_only_one(monkeypatch):
    """Without the session token of the files or the environment, which belongs to another key."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session")
    found = s3_config(GIVEN)
    provider = pickle.loads(pickle.dumps(found.pop("credential_provider")))  # noqa: S301, our own bytes
    assert {name: value for name, value in provider().items() if value} == {
        "access_key_id": "k",
        "secret_access_key": "s",
    }
    assert found == {"region": "eu-central-1", "request_payer": True}
    assert "credential_provider" not in s3_config(make_access({"credential_provider": print}))


@pytest.mark.usefixtures("configured")
def test_a_profile_that_is_not_there_is_said():
    message = r"The config profile \(other\) could not be found; see ~/.aws/config"
    with pytest.raises(s2cmc.StoreError, match=message):
        s3_config(Access(profile="other"))
    with pytest.raises(s2cmc.StoreError, match=message):
        s2cmc.open_catalogue("s3://b/k", profile="other")


@pytest.mark.parametrize("backend", ["obstore", "fsspec"])
def test_credentials_that_are_not_there_are_said(backend, configured):
    match = r"there are no credentials in the environment|Unable to locate credentials|check the credentials"
    with pytest.raises(s2cmc.StoreError, match=match):
        s2cmc.open_catalogue(
            "s3://b/k", profile="keyless", backend=backend, endpoint_url="http://127.0.0.1:9", timeout=2
        )
