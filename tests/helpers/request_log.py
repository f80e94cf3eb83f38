"""What was asked of a server, and what of it waited for what."""

from collections.abc import Iterable
from typing import NamedTuple


class Request(NamedTuple):
    """What was asked and answered. Ended is just before the client has it all; status 0 is no answer."""

    method: str
    path: str
    range: str | None
    status: int
    nbytes: int
    started: float
    ended: float


def depth(log: Iterable[Request]) -> int:
    """Round trips one after the other: most requests of which each started after the one before had ended.

    With an `rtt` of some milliseconds, requests side by side overlap and count as one.
    """
    count, ended = 0, float("-inf")
    for request in sorted(log, key=lambda r: r.ended):
        if request.started > ended:
            count, ended = count + 1, request.ended
    return count
