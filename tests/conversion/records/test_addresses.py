"""What is taken for the address of a record, and what is left to be read as before."""

import pytest

from s2cmc.conversion.records.addresses import RecordAddress, parse_record
from s2cmc.errors import ArgumentError

ZENODO = RecordAddress("https://zenodo.org", "4172871")
ELSEWHERE = RecordAddress("https://data.example.org:8443", "k3v8q-0wz61")


@pytest.fixture(autouse=True)
def no_other_host(monkeypatch):
    monkeypatch.delenv("S2CMC_ZENODO_URL", raising=False)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("zenodo:4172871", ZENODO),
        ("Zenodo:4172871", ZENODO),
        ("10.5281/zenodo.4172871", ZENODO),
        ("doi:10.5281/zenodo.4172871", ZENODO),
        ("https://doi.org/10.5281/zenodo.4172871", ZENODO),
        ("http://dx.doi.org/10.5281/zenodo.4172871", ZENODO),
        ("https://zenodo.org/records/4172871", ZENODO),
        ("https://zenodo.org/record/4172871", ZENODO),
        ("https://zenodo.org/records/4172871/", ZENODO),
        ("https://zenodo.org/records/4172871/files", ZENODO),
        ("https://zenodo.org/records/4172871/files/?page=1", ZENODO),
        ("https://zenodo.org/records/4172871?preview=1#files", ZENODO),
        ("https://zenodo.org/api/records/4172871", ZENODO),
        ("https://zenodo.org/api/records/4172871/files", ZENODO),
        ("https://data.example.org:8443/records/k3v8q-0wz61", ELSEWHERE),
    ],
)
def test_a_record_is_known_by_each_of_its_addresses(url, expected):
    assert parse_record(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "release",
        "/data/records/4172871",
        "s3://bucket/records/4172871",
        "https://example.org/release",
        "https://example.org/records/2024/release",
        "https://example.org/records/release",
        "https://zenodo.org/records/4172871/files/masks.zip",
        "https://zenodo.org/api/records/4172871/files/masks.zip/content",
        "https://me:word@zenodo.org/records/4172871",
        "https://doi.org/10.1000/182",
        "zip://a.npy::https://zenodo.org/records/4172871",
    ],
)
def test_all_else_is_no_record(url):
    assert parse_record(url) is None


@pytest.mark.parametrize("url", ["zenodo:4172871", "10.5281/zenodo.4172871"])
def test_the_environment_names_another_host(url, monkeypatch):
    monkeypatch.setenv("S2CMC_ZENODO_URL", "http://127.0.0.1:9400/")
    assert parse_record(url) == RecordAddress("http://127.0.0.1:9400", "4172871")
    assert parse_record("https://zenodo.org/records/4172871") == ZENODO


@pytest.mark.parametrize("url", ["zenodo:abc", "zenodo:", "zenodo:4172871/masks.zip", "zenodo://4172871"])
def test_a_malformed_number_is_an_error(url):
    with pytest.raises(ArgumentError, match="expected a number, as in zenodo:4172871"):
        parse_record(url)


def test_another_host_must_be_a_web_server(monkeypatch):
    monkeypatch.setenv("S2CMC_ZENODO_URL", "example.org")
    with pytest.raises(ArgumentError, match=r"S2CMC_ZENODO_URL is 'example.org'; expected a URL"):
        parse_record("zenodo:4172871")


def test_files_are_read_where_ranges_work():
    assert ZENODO.file("a b.zip") == "https://zenodo.org/records/4172871/files/a%20b.zip?download=1"
    assert ZENODO.listing == "https://zenodo.org/api/records/4172871"
