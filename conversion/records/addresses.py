"""Addresses of records, as people write them."""

import os
import re
from dataclasses import dataclass
from urllib.parse import quote

from s2cmc.errors import ArgumentError

ZENODO_VARIABLE = "S2CMC_ZENODO_URL"
"""Environment variable that names another host for ``zenodo:`` and for DOIs of Zenodo."""

_ID = r"\d+|[0-9a-z]{5}-[0-9a-z]{5}"
"""Record IDs: numbers at Zenodo, two groups of five letters and digits at other hosts of InvenioRDM."""

_SHORT = re.compile(r"zenodo:(.*)", re.IGNORECASE)
_DOI = re.compile(r"(?:doi:|https?://(?:dx\.)?doi\.org/)?10\.5281/zenodo\.(\d+)/?", re.IGNORECASE)
_PAGE = re.compile(rf"(https?://[^/\s@?#]+)/(?:api/)?records?/({_ID})(?:/files)?/?(?:[?#]\S*)?")


@dataclass(frozen=True)
class RecordAddress:
    """Host and number of a record.

    Attributes
    ----------
    host : str
        URL that the addresses of the repository begin with, such as ``https://zenodo.org``.
    record : str
        Record ID.
    """

    host: str
    record: str

    @property
    def listing(self) -> str:
        """URL of the record's metadata, with name, size and MD5 of each file."""
        return f"{self.host}/api/records/{self.record}"

    def file(self, name: str) -> str:
        """Return the URL of a file. Hosts honour ranges here, and not below ``/api``."""
        return f"{self.host}/records/{self.record}/files/{quote(name)}?download=1"

    def __str__(self) -> str:
        return f"{self.host}/records/{self.record}"


def parse_record(url: str) -> RecordAddress | None:
    """Return the record that an address names; None if it does not name a record.

    Parameters
    ----------
    url : str
        ``zenodo:4172871``; a DOI of Zenodo, with or without ``doi:`` or ``https://doi.org/``; a record's page, its
        ``/files``, or its address below ``/api``, at any host of InvenioRDM. The first two are looked for at the host
        that `S2CMC_ZENODO_URL` in the environment names, by default at ``https://zenodo.org``.

    Raises
    ------
    ArgumentError
        If ``zenodo:`` is followed by something else than a number, or the environment does not name a web server.

    Examples
    --------
    >>> str(parse_record("https://doi.org/10.5281/zenodo.4172871"))
    'https://zenodo.org/records/4172871'
    """
    if short := _SHORT.fullmatch(url):
        if not re.fullmatch(r"\d+", short[1]):
            raise ArgumentError(f"{url!r} is not the address of a record; expected a number, as in zenodo:4172871")
        return RecordAddress(zenodo_host(), short[1])
    if doi := _DOI.fullmatch(url):
        return RecordAddress(zenodo_host(), doi[1])
    if page := _PAGE.fullmatch(url):
        return RecordAddress(page[1], page[2])
    return None


def zenodo_host() -> str:
    """Return the URL of the repository that ``zenodo:`` stands for."""
    host = os.environ.get(ZENODO_VARIABLE, "https://zenodo.org").rstrip("/")
    if not re.fullmatch(r"https?://[^\s@?#]+", host):
        raise ArgumentError(f"{ZENODO_VARIABLE} is {host!r}; expected a URL, as https://zenodo.org")
    return host
