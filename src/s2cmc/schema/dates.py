"""Turn dates and intervals, written as people do, into first and last moment."""

import re
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd

from s2cmc.errors import QueryError

Moment = str | date | np.datetime64 | None  # a date may be a datetime or Timestamp


def interval(time: Moment | slice | tuple[Moment, Moment]) -> tuple[np.datetime64, np.datetime64]:
    """Return first and last moment of ``"2018-06"``, ``slice("2018-06", "2018-08")`` or a pair, both ends included.

    Raises
    ------
    QueryError
        If the argument is no time.
    """
    if isinstance(time, slice):
        if time.step is not None:
            raise QueryError(f"time {time} has a step; give a start and a stop")
        start, stop = time.start, time.stop
    elif isinstance(time, tuple):
        if len(time) != 2:
            raise QueryError(f"time {time} has {len(time)} parts; give a start and a stop")
        start, stop = time
    else:
        start = stop = time
    first = pd.Timestamp.min if start is None else _period(start)[0]
    last = pd.Timestamp.max if stop is None else _period(stop)[1]
    return first.to_datetime64(), last.to_datetime64()


def _period(moment: object) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Return first and last moment, UTC, of a date or time: a year, a month, ... or a second, as it is written."""
    if isinstance(moment, np.datetime64):
        moment = str(moment)  # a text as coarse as its unit
    try:
        if isinstance(moment, str):
            period = pd.Period(moment)
        elif isinstance(moment, date):
            period = pd.Period(moment, freq="us" if isinstance(moment, datetime) else "D")
        else:
            raise TypeError(f"a {type(moment).__name__} is no date")
        # A Period drops the time zone, so that its offset is subtracted.
        may_have_zone = not isinstance(moment, str) or re.search(r"(Z|[+-]\d\d:?\d\d)$", moment)
        shift = (may_have_zone and pd.Timestamp(moment).utcoffset()) or timedelta(0)
        return (period.start_time - shift).as_unit("ns"), (period.end_time - shift).as_unit("ns")
    except (ValueError, TypeError, AttributeError, OverflowError) as error:  # AttributeError: NaT
        raise QueryError(f"{moment!r} is no date; write it like '2018-06' or '2018-06-01T12:30'") from error
