"""Checks of one scene: lossless storage, oddities that are counted, and errors. Pure NumPy, no I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from s2cmc.errors import SceneError
from s2cmc.files import SIDE
from s2cmc.schema import BAND_NAMES, DN_PER_REFLECTANCE, MASK_NOT_ONE_HOT, TAGS, MaskClass, TagGroup

DN_MAX = 65_535
REFLECTANCE_RANGE = (-0.1, 6.6)
"""Values beyond are no reflectance: DN end at 6.5535, and at -0.1 with the offset that products have since 2022.

Kernels that resample may overshoot a little. Real pixels were seen up to about 1.9.
"""
CHECKED_ROWS = 8
"""Rows of a scene that are checked at a time; few enough that all steps of them stay in a core's cache."""

# Bits of a pixel: clear 1, cloud 2, shadow 4. One-hot 1, 2, 4 -> labels 0, 1, 2; others, e.g. 3 -> label 240 + 3.
_LABEL_OF_BITS = np.array([0, 0, 1, 0, 2, 0, 0, 0], np.uint8)
_LABEL_OF_BITS[[0, 3, 5, 6, 7]] = np.array([0, 3, 5, 6, 7]) + MASK_NOT_ONE_HOT

_BITS_OF_LABEL = np.full(256, 255, np.uint8)
_BITS_OF_LABEL[_LABEL_OF_BITS] = np.arange(8)

VALID_LABELS = np.flatnonzero(_BITS_OF_LABEL != 255)
"""Every value that a stored mask may hold, for a scene that has one."""


class HasForm(Protocol):
    """An array in memory, or one that is still to be read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""

    @property
    def dtype(self) -> np.dtype:
        """Type of the values."""


def check_subscene(array: HasForm, size: tuple[int, int] | None, scene: str) -> None:
    """Check shape (y, x, band) and dtype float32 of the published reflectance; without a `size`, any that a store has.

    Raises
    ------
    SceneError
        If one of them differs.
    """
    bands = len(BAND_NAMES)
    height, width = size or (array.shape[:2] if len(array.shape) == 3 else (0, 0))
    expected = f"({height}, {width}, {bands}) (y, x, band)" if size else f"(y, x, band) with {bands} bands"
    if array.shape != (height, width, bands):
        first = "; its axes look transposed, band first" if array.shape[:1] == (bands,) else ""
        raise SceneError(scene, f"its subscene has shape {array.shape}{first}; expected {expected}")
    if not (0 < height <= SIDE and 0 < width <= SIDE):
        raise SceneError(
            scene, f"its subscene has {height} x {width} pixels; expected at least 1 and at most {SIDE} each"
        )
    if array.dtype.kind != "f" or array.dtype.itemsize != 4:
        raise SceneError(scene, f"its subscene is {array.dtype}; expected float32 reflectance, as published")


def to_dn(reflectance: np.ndarray, scene: str) -> np.ndarray:
    """Return the digital numbers of a scene, from which its reflectance follows bit for bit: see `fill_dn`.

    Parameters
    ----------
    reflectance : ndarray (y, x, band), float32
    scene : str
        Product ID, for the error.

    Returns
    -------
    ndarray (y, x, band), uint16
    """
    planes = np.empty((reflectance.shape[-1], *reflectance.shape[:-1]), np.uint16)
    fill_dn(planes, (reflectance[top : top + CHECKED_ROWS] for top in range(0, len(reflectance), CHECKED_ROWS)), scene)
    return np.moveaxis(planes, 0, -1)


def fill_dn(planes: np.ndarray, blocks: Iterable[np.ndarray], scene: str, *, from_dn: bool = False) -> None:
    """Fill in the digital numbers of a scene, from which its values follow bit for bit.

    ``float32(dn) / float32(10000)`` equals the reflectance in every bit; with `from_dn` ``float32(dn)`` equals the DN.

    Parameters
    ----------
    planes : ndarray (band, y, x), uint16
    blocks : iterable of ndarray (rows, x, band), float32
        The scene from its first row to its last; all are read, also after a wrong value.
    scene : str
        Product ID, for the error.
    from_dn : bool
        The values are DN, not reflectance.

    Raises
    ------
    SceneError
        If a value is no whole DN in 0..65535 (NaN, infinities and negative zero included), or the values are DN
        although reflectance is expected.
    """
    top = 0
    lost: dict[int, _Lost] = {}
    scratch = _Scratch(1 if from_dn else DN_PER_REFLECTANCE)
    for block in blocks:
        values = np.ascontiguousarray(block, np.float32)
        dn, differs = scratch.quantise(values)
        planes[:, top : top + len(block)] = np.moveaxis(dn, -1, 0)
        if differs.any():
            _add_lost(lost, values, differs, top)
        top += len(block)
    if lost:
        raise SceneError(scene, _lost_message(lost, from_dn=from_dn))
    if not from_dn and _is_whole(planes[:, 0] % DN_PER_REFLECTANCE == 0, planes.max(), DN_PER_REFLECTANCE):
        _refuse_whole(bool((planes % DN_PER_REFLECTANCE == 0).all()), scene)


def fill_floats(out: np.ndarray, blocks: Iterable[np.ndarray], scene: str) -> None:
    """Fill in the reflectance of a scene as it is: any values that reflectance may have, NaN and infinities too.

    Parameters
    ----------
    out : ndarray (y, x, band), float32
    blocks : iterable of ndarray (rows, x, band), float32
    scene : str
        Product ID, for the error.

    Raises
    ------
    SceneError
        If a value is beyond `REFLECTANCE_RANGE`, or the values are DN.
    """
    top = 0
    lowest, highest = REFLECTANCE_RANGE
    lost: dict[int, _Lost] = {}
    for block in blocks:
        out[top : top + len(block)] = block
        if not (block.min() >= lowest and block.max() <= highest):  # also where one is NaN
            beyond = ((block < lowest) | (block > highest)) & np.isfinite(block)
            _add_lost(lost, block, beyond, top)
        top += len(block)
    if lost:
        raise SceneError(scene, _lost_message(lost))
    if _is_whole(out[0] == np.rint(out[0]), np.fmax.reduce(out, axis=None), 1):
        _refuse_whole(bool((out == np.rint(out)).all()), scene)


def _is_whole(first_row: np.ndarray, largest: float, one: float) -> bool:
    """Return True if a scene may consist of whole numbers above 1: a look at the first row is cheap."""
    return bool(largest > one and first_row.all())


def _refuse_whole(whole: bool, scene: str) -> None:
    if whole:
        raise SceneError(scene, f"its reflectance consists of whole numbers only: {_THESE_ARE_DN}")


_THESE_ARE_DN = "these are DN; convert with --from-dn if the whole release holds DN"


def _lost_message(lost: Mapping[int, "_Lost"], *, from_dn: bool = False) -> str:
    """Describe the values of a scene that cannot be stored, and their likely cause."""
    described = "; ".join(f"{BAND_NAMES[band]}: {lost[band]}" for band in sorted(lost))
    lowest, highest = min(part.lowest for part in lost.values()), max(part.highest for part in lost.values())
    if from_dn:
        return (
            f"its values are not whole DN in 0..{DN_MAX} ({described}); convert without --from-dn if they are "
            "reflectance"
        )
    if all(part.is_dn for part in lost.values()) and highest > REFLECTANCE_RANGE[1]:
        return f"its reflectance is whole and goes up to {highest:g} ({described}): {_THESE_ARE_DN}"
    if lowest < REFLECTANCE_RANGE[0] or highest > REFLECTANCE_RANGE[1]:
        return (
            f"values from {lowest:g} to {highest:g} are no reflectance ({described}); expected "
            f"{REFLECTANCE_RANGE[0]:g} to {REFLECTANCE_RANGE[1]:g}. Mend the file (a fill value such as -9999 becomes "
            "0, no data), or leave the scene out with --skip"
        )
    return (
        f"reflectance is not a whole DN in 0..{DN_MAX} and would be lost ({described}); convert with --reflectance "
        "float32 to store the floats as they are"
    )


class _Scratch:
    """Buffers for the steps of a block, reused for the next one so that they stay in the cache."""

    def __init__(self, dn_per_value: int) -> None:
        self._scale = np.float32(dn_per_value)
        self._size = -1

    def quantise(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the nearest DN of float32 values, and True where a value does not follow from its DN in every bit."""
        if values.size > self._size:
            self._size = values.size
            self._float = np.empty(values.size, np.float32)
            self._dn = np.empty(values.size, np.uint16)
            self._differs = np.empty(values.size, bool)
        steps = self._float[: values.size].reshape(values.shape)
        dn = self._dn[: values.size].reshape(values.shape)
        differs = self._differs[: values.size].reshape(values.shape)
        # A value that overflows, or has no uint16, becomes some DN from which it does not follow.
        with np.errstate(over="ignore", invalid="ignore"):
            np.multiply(values, self._scale, out=steps)
            np.rint(steps, out=steps)
            np.copyto(dn, steps, casting="unsafe")
        np.divide(dn, self._scale, out=steps, dtype=np.float32)
        np.not_equal(steps.view(np.uint32), values.view(np.uint32), out=differs)
        return dn, differs


@dataclass
class _Lost:
    """Values of one band that cannot be stored.

    Attributes
    ----------
    count : int
    first : str
        Place and value of the first.
    lowest, highest : float
        Of the finite ones; infinite if there is none.
    is_dn : bool
        All of them are whole numbers in 0..65535.
    """

    first: str
    count: int = 0
    lowest: float = np.inf
    highest: float = -np.inf
    is_dn: bool = True

    def __str__(self) -> str:
        return f"{self.count} pixels, the first at {self.first}"

    def add(self, values: np.ndarray) -> None:
        """Count in more of them."""
        finite = values[np.isfinite(values)]
        self.count += len(values)
        self.lowest = min([self.lowest, *([float(finite.min())] if finite.size else [])])
        self.highest = max([self.highest, *([float(finite.max())] if finite.size else [])])
        whole = finite.size == values.size and bool((finite == np.rint(finite)).all())
        self.is_dn = self.is_dn and whole and self.lowest >= 0 and self.highest <= DN_MAX


def _add_lost(lost: dict[int, _Lost], values: np.ndarray, differs: np.ndarray, top: int) -> None:
    for band in np.flatnonzero(differs.any(axis=(0, 1))).tolist():
        y, x = np.argwhere(differs[..., band])[0]
        known = lost.setdefault(band, _Lost(f"y={top + y}, x={x} is {values[y, x, band]!s}"))
        known.add(values[..., band][differs[..., band]])


def count_extremes(pixels: np.ndarray) -> dict[str, int]:
    """Count the pixels of (y, x, band), DN or reflectance, in which any band is odd.

    Returns
    -------
    dict of str to int
        ``zero_pixels``, ``saturated_pixels``; ``nonfinite_pixels``: NaN, infinite or negative; ``invalid_pixels``: zero
        or one of these three.
    """
    is_dn = pixels.dtype == np.uint16
    saturated = DN_MAX if is_dn else np.float32(DN_MAX) / np.float32(DN_PER_REFLECTANCE)
    counts = {"zero_pixels": 0, "saturated_pixels": 0, "nonfinite_pixels": 0, "invalid_pixels": 0}
    for top in range(0, len(pixels), CHECKED_ROWS):
        block = pixels[top : top + CHECKED_ROWS]
        if block.min() > 0 and block.max() < saturated:  # false where one is NaN
            continue
        zero = block == 0
        wrong = np.zeros_like(zero) if is_dn else ~np.isfinite(block) | (block < 0)
        counts["zero_pixels"] += _count_any(zero)
        counts["saturated_pixels"] += _count_any(block == saturated)
        counts["nonfinite_pixels"] += 0 if is_dn else _count_any(wrong)
        counts["invalid_pixels"] += _count_any(zero | wrong)
    return counts


def _count_any(flags: np.ndarray) -> int:
    """Count the pixels of (y, x, band) that are true in any band."""
    return int(np.count_nonzero(np.logical_or.reduce(np.moveaxis(flags, -1, 0))))


def check_mask(array: HasForm, size: tuple[int, int], scene: str, part: str) -> None:
    """Check shape (y, x, class) and dtype of a published mask, bool or numbers.

    Raises
    ------
    SceneError
        If one of them differs.
    """
    expected = (*size, len(MaskClass))
    if array.shape != expected:
        raise SceneError(scene, f"its array in {part} has shape {array.shape}; expected {expected} (y, x, class)")
    if array.dtype.kind not in "biuf":
        raise SceneError(scene, f"its array in {part} is {array.dtype}; expected bool or numbers that are 0 or 1")


def to_labels(one_hot: np.ndarray, size: tuple[int, int], scene: str, part: str) -> np.ndarray:
    """Return the labels of a published mask; a pixel that is not one-hot is kept as 240 + its bits.

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
    check_mask(one_hot, size, scene, part)
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


def published_dtype(attributes: Mapping[str, Any], scene: str) -> str:
    """Return the dtype in which the mask of a scene was published, from the attributes of its array."""
    return str(attributes.get("other_source_dtypes", {}).get(scene, attributes["source_dtype"]))


def to_one_hot(labels: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return the published mask (..., class) of stored labels (...): the inverse of `to_labels`."""
    bits = _BITS_OF_LABEL[labels]
    return (bits[..., np.newaxis] >> np.arange(len(MaskClass), dtype=np.uint8) & 1).astype(dtype)


def count_labels(labels: np.ndarray) -> dict[str, int]:
    """Count the pixels of stored labels.

    Returns
    -------
    dict of str to int
        ``clear``, ``cloud``, ``cloud_shadow``: one-hot pixels; ``invalid``: the others, which are ``unlabelled`` (no
        class) or ``multi_class``; ``clear_set`` and so on: pixels in which the bit of the class is set, alone or not.
    """
    counts = np.bincount(labels.ravel(), minlength=256)
    result = {c.label: int(counts[c]) for c in MaskClass}
    result["invalid"] = int(labels.size - sum(result.values()))
    result["unlabelled"] = int(counts[MASK_NOT_ONE_HOT])
    result["multi_class"] = result["invalid"] - result["unlabelled"]
    for c in MaskClass:
        labels_with_class = [label for label in VALID_LABELS if _BITS_OF_LABEL[label] >> c & 1]
        result[f"{c.label}_set"] = int(counts[labels_with_class].sum())
    return result


def percentages_agree(row: Mapping[Any, Any], counts: Mapping[str, int], pixels: int) -> bool:
    """Return True if the three percentages of the table are, to the pixel, those of a mask with these `counts`."""
    published = (row["clear_percent"], row["cloud_percent"], row["shadow_percent"])
    return all(
        abs(percent / 100 * pixels - counts[f"{c.label}_set"]) < 1e-3
        for percent, c in zip(published, MaskClass, strict=True)
    )


def tags_consistent(row: Mapping[Any, Any], cloud_pixels: int) -> bool:
    """Return True if the cloud tags of a row agree with each other and with its mask.

    The catalogue's appendix gives every scene with a cloud type a thickness, a height and an extent; scenes without
    cloud have none of them.
    """
    answered = {group: any(row[tag.published] for tag in TAGS if tag.group is group) for group in TagGroup}
    del answered[TagGroup.SURFACE_TYPE]
    return len(set(answered.values())) == 1 and answered[TagGroup.CLOUD_TYPE] == (cloud_pixels > 0)


def shadows_consistent(row: Mapping[Any, Any], shadow_pixels: int) -> bool:
    """Return False if the mask has shadow though shadows were not marked. Absent shadow proves nothing."""
    return bool(row["shadows_marked"]) or shadow_pixels == 0
