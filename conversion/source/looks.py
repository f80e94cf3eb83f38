"""Coarse looks at scenes and thumbnails, which show whether a subscene is turned, or is another scene's.

A look has 16 x 16 cells, which are compared by their ranks, as thumbnails are stretched in unknown ways. A published
thumbnail shows 1152 x 1152 pixels, of which the scene is the centre of 1022 x 1022; others show the scene itself. Both
are tried.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from s2cmc.schema import BAND_NAMES, DN_PER_REFLECTANCE

_CELLS = 16
_SHOWN_SHARE = 1022 / 1152
_TRUE_COLOR = [BAND_NAMES.index(name) for name in ("B04", "B03", "B02")]
_SAMPLES = 256  # pixels along an axis that are looked at; all would cost as much as counting them

# Rank correlations, chosen on synthetic scenes: none as made is named, turned ones are. Overcast scenes may match
# nothing, so that a much better match is needed to say more than "unknown". Not measured on published thumbnails.
_UNLIKE, _LIKE, _BETTER = 0.3, 0.7, 0.4

_TURNS = {
    "turned by 90 degrees": lambda look: np.rot90(look, 1),
    "turned by 180 degrees": lambda look: np.rot90(look, 2),
    "turned by 270 degrees": lambda look: np.rot90(look, 3),
    "flipped along y": lambda look: look[::-1],
    "flipped along x": lambda look: look[:, ::-1],
    "transposed": lambda look: look.T,
    "transposed and turned by 180 degrees": lambda look: np.rot90(look, 2).T,
}


def look_at_scene(pixels: np.ndarray) -> list[int]:
    """Return the look of a scene (y, x, band), DN or reflectance: mean DN of true colour in 256 cells, row by row."""
    steps = [max(1, n // _SAMPLES) for n in pixels.shape[:2]]
    color = pixels[:: steps[0], :: steps[1], _TRUE_COLOR].mean(axis=-1, dtype=np.float32)
    if pixels.dtype != np.uint16:
        color = np.nan_to_num(color, posinf=0, neginf=0) * DN_PER_REFLECTANCE
    return _cells(color)


def look_at_thumbnail(rgb: np.ndarray) -> dict[str, list[int]]:
    """Return the looks of a thumbnail (y, x, rgb): ``centre``, where a padded window shows the scene, and ``whole``."""
    gray = rgb.mean(axis=-1, dtype=np.float32)
    insets = [round(n * (1 - _SHOWN_SHARE) / 2) for n in gray.shape]
    centre = gray[insets[0] : gray.shape[0] - insets[0], insets[1] : gray.shape[1] - insets[1]]
    return {"centre": _cells(centre), "whole": _cells(gray)}


def _cells(image: np.ndarray) -> list[int]:
    """Return the means of 16 x 16 cells in hundredths; none of a smaller image."""
    if min(image.shape) < _CELLS:
        return []
    for axis in (0, 1):
        edges = np.linspace(0, image.shape[axis], _CELLS + 1).astype(int)
        sums = np.add.reduceat(image, edges[:-1], axis=axis)
        image = sums / np.expand_dims(np.diff(edges), 1 - axis)
    return np.rint(100 * image).astype(int).ravel().tolist()


def find_unlike(scenes: Sequence[str], findings: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, str]:
    """Find the scenes that match their thumbnail much better when turned, and those that match another's.

    Returns
    -------
    dict of str to str
        How it matches, by scene.
    """
    rows = [i for i, scene in enumerate(findings) if _has_looks(scene)]
    if not rows:
        return {}
    looks = np.array([findings[i]["reflectance"]["look"] for i in rows])
    pictures = [np.array([findings[i]["thumbnail"][part] for i in rows]) for part in ("centre", "whole")]
    pictures = [_normal_ranks(picture) for picture in pictures]
    matches = _match(looks, pictures)
    turned = {name: _match(_turn(looks, name), pictures).diagonal() for name in _TURNS}
    own = matches.diagonal()
    unlike = own < _UNLIKE
    found = {}
    for k, i in enumerate(rows):
        turn = max(turned, key=lambda name: turned[name][k])
        other = int(np.where(unlike, matches[k], -1).argmax())
        if turned[turn][k] > max(_LIKE, own[k] + _BETTER):
            found[scenes[i]] = turn
        elif unlike[k] and other != k and matches[k, other] > max(_LIKE, own[k] + _BETTER):
            found[scenes[i]] = f"as {scenes[rows[other]]}"
    return found


def find_identical(keys: Mapping[str, object]) -> dict[str, str]:
    """Return the scenes whose key another scene before them has, with that scene."""
    first: dict[object, str] = {}
    for scene, key in keys.items():
        first.setdefault(key, scene)
    return {scene: f"as {first[key]}" for scene, key in keys.items() if first[key] != scene}


def _has_looks(scene: Mapping[str, Mapping[str, Any]]) -> bool:
    return bool(scene["reflectance"]["look"] and scene.get("thumbnail", {}).get("centre"))


def _turn(looks: np.ndarray, name: str) -> np.ndarray:
    return np.array([_TURNS[name](look.reshape(_CELLS, _CELLS)).ravel() for look in looks])


def _match(looks: np.ndarray, pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Return the rank correlation of every look with every thumbnail, as whole or centre, whichever is better."""
    ranks = _normal_ranks(looks)
    best: np.ndarray = np.max([ranks @ picture.T for picture in pictures], axis=0)
    return best


def _normal_ranks(looks: np.ndarray) -> np.ndarray:
    """Return ranks (scene, cell) with mean 0 and length 1; zeros where all cells are equal."""
    ranks = pd.DataFrame(looks).rank(axis=1).to_numpy(copy=True)
    ranks -= ranks.mean(axis=1, keepdims=True)
    length = np.sqrt((ranks**2).sum(axis=1, keepdims=True))
    return np.divide(ranks, length, out=np.zeros_like(ranks), where=length > 0)
