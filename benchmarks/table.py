"""Works, what each way took for them, and the one table of all: on the terminal, as JSON and as Markdown."""

import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

OURS, FLOOR = "s2cmc", "floor"
EVERY_PEER = "every peer"
COLUMNS = (
    OURS,
    FLOOR,
    "tensorstore",
    "zarr, fused",
    "open_zarr",
    "open_zarr, fused",
    "to_zarr",
    "h5py",
    "COG",
    "taco-eo",
    "numpy zips",
)

Ask = Callable[[int], Any]
"""One way to do a work; called with the number of the repeat, the same for all ways."""


@dataclass(frozen=True)
class Row:
    """A work and what was measured of it.

    Attributes
    ----------
    work : str
    unit : str
        Of the values: "s", or what else was counted.
    values : mapping of str to float
        By way: ours, the floor, the peers. Seconds are medians.
    goal : str
    met : bool, optional
        None where nothing was asked for.
    """

    work: str
    unit: str
    values: Mapping[str, float]
    goal: str = ""
    met: bool | None = None
    spread: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def ratio(self, other: str) -> float:
        """Our value over another's; over the best peer's where that is asked for."""
        return self.values[OURS] / self.values[self.best_peer() if other == EVERY_PEER else other]

    def best_peer(self) -> str:
        """The peer with the smallest value, "" without any."""
        return min((name for name in self.values if name not in (OURS, FLOOR)), key=self.values.__getitem__, default="")


def fact(
    work: str, unit: str, value: float, most: float | None = None, *, peers: Mapping[str, float] | None = None
) -> Row:
    """A row of what does not vary; met where it is at most `most`."""
    goal = "" if most is None else f"<= {most:.4g} {unit}".rstrip()
    return Row(work, unit, {OURS: value, **(peers or {})}, goal, None if most is None else value <= most)


def timed(
    work: str,
    ways: Sequence[tuple[str, Ask]],
    goal: Mapping[str, float],
    *,
    repeats: int = 5,
    per: Mapping[str, float] | None = None,
) -> Row:
    """Time the ways in turn, `repeats` times, each time beginning with another; medians.

    Parameters
    ----------
    work : str
    ways : sequence of (name, Ask)
        Of several of one name the one that is faster at first is taken.
    goal : mapping of str to float
        Most that ours may take in units of another: ``{"floor": 1.5, "every peer": 1}``.
    repeats : int
    per : mapping of str to float, optional
        How much of what is timed a way does at once, 1 by default.
    """
    asks = _faster_of_a_name(ways)
    names = list(asks)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for repeat in range(repeats):
        for i in range(len(names)):
            name = names[(i + repeat) % len(names)]
            taken[name].append(_seconds(asks[name], repeat) / (per or {}).get(name, 1))
    medians = {name: statistics.median(seconds) for name, seconds in taken.items()}
    row = Row(work, "s", medians, spread={name: (min(seconds), max(seconds)) for name, seconds in taken.items()})
    met = all(row.ratio(other) <= most for other, most in goal.items()) if goal else None
    text = ", ".join(f"<= {most:.3g} x {other}" for other, most in goal.items())
    return Row(work, "s", medians, text, met, row.spread)


def _faster_of_a_name(ways: Sequence[tuple[str, Ask]]) -> dict[str, Ask]:
    names = [name for name, _ in ways]
    found: dict[str, tuple[float, Ask]] = {}
    for name, ask in ways:
        seconds = _seconds(ask, 0) if names.count(name) > 1 else 0.0
        if name not in found or seconds < found[name][0]:
            found[name] = seconds, ask
    return {name: ask for name, (_, ask) in found.items()}


def _seconds(ask: Ask, repeat: int) -> float:
    began = time.perf_counter()
    found = ask(repeat)
    ended = time.perf_counter()
    del found  # after the clock was read
    return ended - began


def show(rows: Sequence[Row], title: str) -> None:
    """Print the table."""
    shown = Table(title=title)
    shown.add_column("work", max_width=34)
    columns = (*COLUMNS, "/ floor", "/ best peer", "goal", "met")
    for name in columns:
        shown.add_column(name, justify="left" if name == "goal" else "right", max_width=24)
    for row in rows:
        cells = _cells(row)
        shown.add_row(row.work, *(cells[name] for name in columns))
    Console(width=220).print(shown)


def write(rows: Sequence[Row], title: str, folder: Path) -> None:
    """Write ``bench.json``, all numbers, and ``bench.md``, the table."""
    folder.mkdir(parents=True, exist_ok=True)
    found = [asdict(row) | {"best_peer": row.best_peer()} for row in rows]
    document = {"title": title, "cores": os.cpu_count(), "rows": found}
    (folder / "bench.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    columns = (*COLUMNS, "/ floor", "/ best peer", "goal", "met")
    lines = [f"{title}\n", "| work | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for row in rows:
        cells = _cells(row)
        lines.append(f"| {row.work} | " + " | ".join(cells[name] for name in columns) + " |")
    (folder / "bench.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _cells(row: Row) -> dict[str, str]:
    cells = dict.fromkeys((*COLUMNS, "/ floor", "/ best peer"), "")
    cells |= {name: _number(value, row.unit) for name, value in row.values.items()}
    if FLOOR in row.values:
        cells["/ floor"] = f"{row.ratio(FLOOR):.2f}"
    if row.best_peer() and row.best_peer() in COLUMNS:
        cells["/ best peer"] = f"{row.ratio(EVERY_PEER):.2f} {row.best_peer()}"
    cells["goal"] = row.goal
    cells["met"] = {True: "yes", False: "NO", None: ""}[row.met]
    return cells


def _number(value: float, unit: str) -> str:
    if unit == "s":
        return f"{value:.2f} s" if value >= 1 else f"{1e3 * value:.3g} ms"
    return f"{value:.4g} {unit}".rstrip()
