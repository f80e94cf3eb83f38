"""Errors of reading a record."""

from s2cmc.errors import ReleaseError


class RecordError(ReleaseError):
    """A record cannot be read any more, or not kept: other files of it would end in the same way."""


class NoRangesError(ReleaseError):
    """A server sends the whole file where a part of it was asked for."""
