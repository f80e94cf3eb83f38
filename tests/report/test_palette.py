"""The palette of classes is told apart on white and with every kind of color blindness."""

from itertools import combinations

import numpy as np
import pytest

from s2cmc.schema.catalogue import CLASS_COLORS, MaskClass

# Linear RGB as it is seen without one of the three cones: Machado, Oliveira and Fernandes 2009, severity 1.0.
SIMULATIONS = {
    "full color vision": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = (255, 255, 255)
DARK_LAND = (45, 50, 45)


def linear(color: tuple[int, int, int]) -> np.ndarray:
    """sRGB, 0 to 255, as linear RGB, 0 to 1."""
    values = np.array(color) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(first: tuple[int, int, int], second: tuple[int, int, int]) -> float:
    """Contrast of two colors after WCAG 2.2, 1 to 21."""
    low, high = sorted((TO_XYZ[1] @ linear(color)).item() for color in (first, second))
    return (high + 0.05) / (low + 0.05)


def lab(color: tuple[int, int, int], simulation: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of a color as it is seen."""
    seen = np.clip(np.array(simulation) @ linear(color), 0, 1)
    xyz = TO_XYZ @ seen / (TO_XYZ @ np.ones(3))
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_every_class_has_a_color() -> None:
    assert list(CLASS_COLORS) == list(MaskClass)
    assert all(0 <= value <= 255 for color in CLASS_COLORS.values() for value in color)


@pytest.mark.parametrize("mask_class", MaskClass)
def test_a_class_stands_out_from_white(mask_class: MaskClass) -> None:
    assert contrast(CLASS_COLORS[mask_class], WHITE) >= 3


@pytest.mark.parametrize("mask_class", [MaskClass.CLOUD, MaskClass.CLOUD_SHADOW])
def test_what_is_outlined_stands_out_from_dark_land(mask_class: MaskClass) -> None:
    assert contrast(CLASS_COLORS[mask_class], DARK_LAND) >= 3


@pytest.mark.parametrize("name", SIMULATIONS)
@pytest.mark.parametrize("pair", list(combinations(MaskClass, 2)), ids=lambda pair: "-".join(c.label for c in pair))
def test_classes_are_told_apart(pair: tuple[MaskClass, MaskClass], name: str) -> None:
    first, second = (lab(CLASS_COLORS[mask_class], SIMULATIONS[name]) for mask_class in pair)
    assert np.linalg.norm(first - second) > 30
