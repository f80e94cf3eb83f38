"""Class maps: labels of common algorithms in the catalogue's classes."""

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral

import numpy as np

from s2cmc.errors import QueryError, name_hint
from s2cmc.schema import MASK_MISSING, MaskClass

IGNORED = 3
"""Class number of a pixel that an algorithm gives no class."""

UNKNOWN = 4
"""Class number of a label that is not in the class map."""


@dataclass(frozen=True)
class ClassMap:
    """Labels of an algorithm in the catalogue's classes.

    Attributes
    ----------
    name : str
    labels : Mapping of int to MaskClass or None
        Class of each label, 0 to 255; None where the algorithm gives no class (no data, saturated). 255 is always so
        unless it is given a class.
    source : str
        Publication or product that defines the labels.
    """

    name: str
    labels: Mapping[int, MaskClass | None]
    source: str

    @property
    def has_shadow(self) -> bool:
        """True if the algorithm has a label for cloud shadow."""
        return MaskClass.CLOUD_SHADOW in self.labels.values()

    @property
    def known(self) -> list[int]:
        """List every label of the map, 255 included."""
        return np.flatnonzero(self.table() != UNKNOWN).tolist()

    def table(self) -> np.ndarray:
        """Return the class number of each label 0 to 255 (256,), uint8: a `MaskClass`, `IGNORED` or `UNKNOWN`."""
        numbers = np.full(256, UNKNOWN, np.uint8)
        numbers[MASK_MISSING] = IGNORED
        for label, mask_class in self.labels.items():
            numbers[label] = IGNORED if mask_class is None else mask_class
        return numbers


_CLEAR, _CLOUD, _SHADOW = MaskClass
_CLOUDSEN12 = {0: _CLEAR, 1: _CLOUD, 2: _CLOUD, 3: _SHADOW}

CLASS_MAPS = {
    class_map.name: class_map
    for class_map in (
        ClassMap("catalogue", {0: _CLEAR, 1: _CLOUD, 2: _SHADOW}, "doi 10.5281/zenodo.4172871"),
        ClassMap("binary", {0: _CLEAR, 1: _CLOUD}, "any mask of 0 and 1"),
        ClassMap("s2cloudless", {0: _CLEAR, 1: _CLOUD}, "github.com/sentinel-hub/sentinel2-cloud-detector"),
        ClassMap(
            "sen2cor",  # no data and saturated have no class; dark areas, unclassified and snow are clear
            dict.fromkeys((0, 1), None)
            | dict.fromkeys((2, 4, 5, 6, 7, 11), _CLEAR)
            | dict.fromkeys((8, 9, 10), _CLOUD)
            | {3: _SHADOW},
            "Sentinel-2 Products Specification Document, scene classification (SCL)",
        ),
        ClassMap(
            "fmask",  # clear land, clear water, cloud shadow, snow, cloud
            {0: _CLEAR, 1: _CLEAR, 2: _SHADOW, 3: _CLEAR, 4: _CLOUD},
            "Fmask 4, Qiu et al. 2019, doi 10.1016/j.rse.2019.05.024",
        ),
        ClassMap(
            "python-fmask",  # null, clear, cloud, cloud shadow, snow, water
            {0: None, 1: _CLEAR, 2: _CLOUD, 3: _SHADOW, 4: _CLEAR, 5: _CLEAR},
            "www.pythonfmask.org",
        ),
        ClassMap("cloudsen12", _CLOUDSEN12, "Aybar et al. 2022, doi 10.1038/s41597-022-01878-2"),
        ClassMap("omnicloudmask", _CLOUDSEN12, "Wright et al. 2025, doi 10.1016/j.rse.2025.114694"),
    )
}
"""Class maps by name. Where thick and thin cloud are two labels, both are cloud."""


def value_problems(values: np.ndarray, class_map: ClassMap, threshold: float | None) -> list[str]:
    """List problems of labels, or with `threshold` of probabilities, of any shape."""
    if threshold is not None:
        wrong = ~(np.isnan(values) | ((values >= 0) & (values <= 1)))
        if not wrong.any():
            return []
        return [f"{wrong.sum()} values that are no probability, e.g. {values[wrong][0]}"]
    labels, counts = np.unique(values, return_counts=True)
    of_map = class_map.known
    unknown = [f"{label} ({n} px)" for label, n in zip(labels.tolist(), counts, strict=True) if label not in of_map]
    return [f"unknown labels {', '.join(unknown[:5])}"] if unknown else []


def advice(class_map: ClassMap, threshold: float | None) -> str:
    """Return the remedy for `value_problems`."""
    if threshold is not None:
        return "probabilities are 0 to 1, NaN for none"
    return f"class map {class_map.name!r} knows {', '.join(map(str, class_map.known))}; choose the one that fits"


def find_class_map(choice: str | Mapping[int, int | None]) -> ClassMap:
    """Class map of a name, or of a mapping from label to class (0 clear, 1 cloud, 2 cloud_shadow, None for no class).

    Raises
    ------
    QueryError
        If no class map has that name, or the mapping has another label or class.
    """
    if isinstance(choice, str):
        if choice not in CLASS_MAPS:
            raise QueryError(f"no class map {choice!r}, and no mapping of labels; {name_hint(choice, CLASS_MAPS)}")
        return CLASS_MAPS[choice]
    if not isinstance(choice, Mapping):
        raise QueryError(f"a class map is a name or a mapping of label to class; got {type(choice).__name__}")
    labels: dict[int, MaskClass | None] = {}
    for label, number in choice.items():
        whole = isinstance(label, Integral) and 0 <= label <= 255
        if not whole or (number is not None and number not in list(MaskClass)):
            raise QueryError(
                f"class map {{{label!r}: {number!r}}} is not of label 0..255 to class 0 (clear), 1 (cloud), "
                "2 (cloud_shadow) or None"
            )
        labels[int(label)] = None if number is None else MaskClass(number)
    return ClassMap("given", labels, "given by the caller")
