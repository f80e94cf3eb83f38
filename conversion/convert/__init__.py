"""From a release to a store."""

from .cluster import connected, threads
from .conversion import convert, small_objects
from .forecasts import Forecast, forecast
from .load import load_block
from .plan import Options, Plan, Task, make_plan

__all__ = [
    "Forecast",
    "Options",
    "Plan",
    "Task",
    "connected",
    "convert",
    "forecast",
    "load_block",
    "make_plan",
    "small_objects",
    "threads",
]
