"""Percentages of the published table against the masks: how far they are apart, and what would explain it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd

from s2cmc.schema import CLASS_NAMES, MaskClass

_COLUMNS = ["clear_percent", "cloud_percent", "shadow_percent"]
_FAR = 1.0  # percentage points; the one known contradiction of the catalogue is of 0.6
_FEW = 3  # scenes; fewer say nothing of the whole release
_DECIMALS = range(6)


@dataclass(frozen=True)
class Agreement:
    """Comparison of the percentages of a table with its masks.

    Attributes
    ----------
    text : str
        How they differ; empty if they are equal to the pixel.
    is_wrong : bool
        Most scenes are far off: table and masks do not belong together.
    """

    text: str = ""
    is_wrong: bool = False


def compare_percentages(
    table: pd.DataFrame, findings: Sequence[Mapping[str, Mapping[str, Any]]], pixels: int
) -> Agreement:
    """Compare the percentages of a table with counts of the masks, and look for an order or scale that fits.

    Parameters
    ----------
    table : DataFrame
    findings : sequence of Findings
        One for each row; see `checks.count_labels`.
    pixels : int
        Pixels of a scene.
    """
    published = table[_COLUMNS].to_numpy(float)
    counts = [[scene["mask"][f"{c.label}_set"] for c in MaskClass] for scene in findings]
    measured = 100 * np.array(counts, float) / pixels
    differences = _differences(published, measured)
    if (differences * pixels / 100 < 1e-3).all():
        return Agreement()
    far = differences > _FAR
    largest = int(differences.argmax())
    text = (
        f"percentages of the table are up to {differences[largest]:.2g} points from those of the masks "
        f"({table['scene'].iloc[largest]})"
    )
    if far.sum() >= _FEW and 2 * far.sum() > len(far):
        text += f", in {far.sum()} of {len(far)} scenes more than {_FAR:g}: {_explain(published, measured)}"
        return Agreement(text, is_wrong=True)
    decimals = next((n for n in _DECIMALS if _is_rounded(published, measured, n)), None)
    return Agreement(text if decimals is None else f"{text}: they are rounded to {decimals} decimals")


def _differences(published: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Return the largest difference of each scene, in points."""
    largest: np.ndarray = abs(published - measured).max(axis=1)
    return largest


def _is_rounded(published: np.ndarray, measured: np.ndarray, decimals: int) -> bool:
    within = abs(published - measured) <= 0.5 * 10.0**-decimals + 1e-9
    return bool(within.all() and np.allclose(published, published.round(decimals), rtol=0, atol=1e-9))


def _explain(published: np.ndarray, measured: np.ndarray) -> str:
    """Name the scale of the table or the order of the channels with which most scenes fit."""
    readings = {"the table gives shares from 0 to 1, not percentages": (100 * published, measured)}
    for order in permutations(MaskClass):
        names = ", ".join(CLASS_NAMES[c] for c in order)
        reading = f"the channels of the masks are {names}; expected {', '.join(CLASS_NAMES)}"
        readings[reading] = (published[:, list(order)], measured)
    fitting = {reading: int((_differences(*pair) <= _FAR).sum()) for reading, pair in readings.items()}
    best = max(fitting, key=lambda reading: fitting[reading])
    if 2 * fitting[best] > len(published):
        return best
    return "no order of classes and no scale fits; are these the masks of these scenes?"
