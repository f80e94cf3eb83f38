"""Checks of one scene: what can be stored without loss, what is odd, and what must stop. Pure NumPy, no I/O."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from s2cmc.bands import BAND_NAMES
from s2cmc.errors import SceneError
from s2cmc.schema import DN_PER_REFLECTANCE, MASK_NOT_ONE_HOT, TAGS, MaskClass, TagGroup

DN_MAX = 65_535
_ROWS = 64  # rows handled at a time, so that temporaries stay in the cache

_LABEL_OF_BITS = np.array([0, 0, 1, 0, 2, 0, 0, 0], np.uint8)
_LABEL_OF_BITS[[0, 3, 5, 6, 7]] = np.array([0, 3, 5, 6, 7]) + MASK_NOT_ONE_HOT

_BITS_OF_LABEL = np.full(256, 255, np.uint8)
_BITS_OF_LABEL[_LABEL_OF_BITS] = np.arange(8)

VALID_LABELS = np.flatnonzero(_BITS_OF_LABEL != 255)
"""Every value that a stored mask may hold where the scene has one."""


def check_subscene(array: np.ndarray, size: tuple[int, int], scene: str) -> None:
    """Check shape (y, x, band) and dtype float32 of the published reflectance.

    Raises
    ------
    SceneError
        If they differ.
    """
    expected = (*size, len(BAND_NAMES))
    if array.shape != expected:
        raise SceneError(
            scene,
            f"its subscene has shape {array.shape}; expected {expected} (y, x, band), as in the first scene",
        )
    if array.dtype.kind != "f" or array.dtype.itemsize != 4:
        raise SceneError(scene, f"its subscene is {array.dtype}; expected float32 reflectance, as published")


def to_dn(reflectance: np.ndarray, scene: str) -> np.ndarray:
    """Digital numbers of a scene, from which its reflectance follows bit for bit.

    Parameters
    ----------
    reflectance : ndarray (y, x, band), float32
    scene : str
        Product ID, for the error.

    Returns
    -------
    ndarray (y, x, band), uint16
        ``float32(dn) / float32(10000)`` equals `reflectance` in every bit.

    Raises
    ------
    SceneError
        If a value is no whole DN in 0..65535 (NaN, infinities and negative zero included).
    """
    dn = np.empty(reflectance.shape, np.uint16)
    for top in range(0, len(reflectance), _ROWS):
        rows = slice(top, top + _ROWS)
        dn[rows], exact = _quantise(reflectance[rows])
        if not exact.all():
            _raise_not_whole(reflectance, scene)
    return dn


def _quantise(reflectance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nearest DN, and where reflectance follows from it in every bit (-0.0 does not)."""
    values = np.ascontiguousarray(reflectance, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows, or signals NaN, is no whole DN
        nearest = np.rint(values * np.float32(DN_PER_REFLECTANCE))
    whole = (nearest >= 0) & (nearest <= DN_MAX)
    dn = np.where(whole, nearest, 0).astype(np.uint16)
    back = dn / np.float32(DN_PER_REFLECTANCE)
    return dn, whole & (back.view(np.uint32) == values.view(np.uint32))


def _raise_not_whole(reflectance: np.ndarray, scene: str) -> None:
    found = []
    for name, band in zip(BAND_NAMES, np.moveaxis(reflectance, -1, 0), strict=True):
        wrong = ~_quantise(band)[1]
        if wrong.any():
            y, x = np.argwhere(wrong)[0]
            found.append(f"{name}: {wrong.sum()} pixels, the first at y={y}, x={x} is {band[y, x]!s}")
    raise SceneError(
        scene,
        f"reflectance is not a whole DN in 0..{DN_MAX} and would be lost ({'; '.join(found)}); "
        "convert with --reflectance float32 to store the floats as they are",
    )


def count_extremes(pixels: np.ndarray) -> dict[str, int]:
    """Count the pixels of (y, x, band), DN or reflectance, that are zero, saturated, or not finite in any band."""
    saturated = DN_MAX if pixels.dtype == np.uint16 else np.float32(DN_MAX) / np.float32(DN_PER_REFLECTANCE)
    return {
        "zero_pixels": int((pixels == 0).any(axis=-1).sum()),
        "saturated_pixels": int((pixels == saturated).any(axis=-1).sum()),
        "nonfinite_pixels": 0 if pixels.dtype == np.uint16 else int((~np.isfinite(pixels)).any(axis=-1).sum()),
    }


def to_labels(one_hot: np.ndarray, size: tuple[int, int], scene: str, part: str) -> np.ndarray:
    """Labels of a published mask; a pixel that is not one-hot is kept as 240 + its bits.

    Parameters
    ----------
    one_hot : ndarray (y, x, class), any dtype, 0 or 1
    size : (y, x)
    scene, part : str
        For the error.

    Returns
    -------
    ndarray (y, x), uint8

    Raises
    ------
    SceneError
        If the shape differs or a value is neither 0 nor 1.
    """
    expected = (*size, len(MaskClass))
    if one_hot.shape != expected:
        raise SceneError(scene, f"its array in {part} has shape {one_hot.shape}; expected {expected} (y, x, class)")
    if one_hot.dtype.kind not in "biuf":
        raise SceneError(scene, f"its array in {part} is {one_hot.dtype}; expected bool or numbers that are 0 or 1")
    channels = one_hot.astype(bool)
    wrong = channels != (one_hot.view(np.uint8) if one_hot.dtype.kind == "b" else one_hot)
    if one_hot.dtype.kind == "f":
        wrong |= np.signbit(one_hot)  # -0.0 would come back as 0.0
    if wrong.any():
        y, x, channel = np.argwhere(wrong)[0]
        raise SceneError(
            scene,
            f"{wrong.sum()} values of its array in {part} are neither 0 nor 1, the first at y={y}, x={x}, class "
            f"{MaskClass(int(channel)).label} is {one_hot[y, x, channel]!s}",
        )
    bits = channels[..., 0] | channels[..., 1].astype(np.uint8) << 1 | channels[..., 2].astype(np.uint8) << 2
    return _LABEL_OF_BITS[bits]


def to_one_hot(labels: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The published mask (..., class) of stored labels (...): the inverse of `to_labels`."""
    bits = _BITS_OF_LABEL[labels]
    return (bits[..., np.newaxis] >> np.arange(len(MaskClass), dtype=np.uint8) & 1).astype(dtype)


def count_labels(labels: np.ndarray) -> dict[str, int]:
    """Count the pixels of stored labels.

    Returns
    -------
    dict of str to int
        ``clear``, ``cloud``, ``cloud_shadow``: one-hot pixels; ``invalid``: the others; ``clear_set`` and so on:
        pixels in which the bit of the class is set, alone or not.
    """
    counts = np.bincount(labels.ravel(), minlength=256)
    found = {c.label: int(counts[c]) for c in MaskClass}
    found["invalid"] = int(labels.size - sum(found.values()))
    for c in MaskClass:
        holding = [label for label in VALID_LABELS if _BITS_OF_LABEL[label] >> c & 1]
        found[f"{c.label}_set"] = int(counts[holding].sum())
    return found


def percentages_agree(row: Mapping[Any, Any], counts: Mapping[str, int], pixels: int) -> bool:
    """Whether the table's three percentages are, to the pixel, those of a mask with these `counts`."""
    published = (row["clear_percent"], row["cloud_percent"], row["shadow_percent"])
    return all(
        abs(percent / 100 * pixels - counts[f"{c.label}_set"]) < 1e-3
        for percent, c in zip(published, MaskClass, strict=True)
    )


def tags_consistent(row: Mapping[Any, Any], cloud_pixels: int) -> bool:
    """Whether a row's cloud tags are consistent among themselves and with its mask.

    The catalogue's appendix gives every scene with a cloud type a thickness, a height and an extent; scenes without
    cloud have none of them.
    """
    answered = {group: any(row[tag.published] for tag in TAGS if tag.group is group) for group in TagGroup}
    del answered[TagGroup.SURFACE_TYPE]
    return len(set(answered.values())) == 1 and answered[TagGroup.CLOUD_TYPE] == (cloud_pixels > 0)


def shadows_consistent(row: Mapping[Any, Any], shadow_pixels: int) -> bool:
    """Whether shadow stands only in scenes whose shadows were marked. Its absence says nothing."""
    return bool(row["shadows_marked"]) or shadow_pixels == 0
