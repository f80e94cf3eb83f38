"""Make pixels for a row of the table that look and compress like Sentinel-2 Level-1C. Pure NumPy, nothing measured.

Land and clouds are random fields with power-law spectra, much like real ones. Classes are assigned by rank in a field,
so that a mask has exactly the shares of its row. Lengths are pixels of 20 m; in small scenes they are shrunk, so that
whole clouds are seen.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from s2cmc.schema import BAND_NAMES, BANDS, DN_PER_REFLECTANCE, TAGS, MaskClass, Product, TagGroup

FULL_DETAIL_SIZE = 512
"""Scenes narrower than this, pixels, have all lengths shrunk in proportion."""

COVER_TABLE = """
                    B01  B02  B03  B04  B05  B06  B07  B08  B8A  B09  B10  B11  B12
forest/jungle       1.4  1.6  3.2  2.0  5.0   15   19   21   23   23   23   10  4.5
forest/jungle       2.7  3.0  5.8  3.6  9.0   25   31   33   35   35   35   18  8.5
snow/ice             72   76   77   76   75   73   71   69   66   58   50    9    7
snow/ice             90   93   94   93   92   90   88   86   83   74   60   14   11
agricultural        2.0  2.8  6.0  3.2  9.0   31   40   43   45   45   45   20    9
agricultural        6.6  7.2   10   14   17   19   21   23   25   26   26   31   25
urban/developed     4.0  5.0  7.0  7.0  9.0   15   17   18   19   19   19   15   11
urban/developed      17   19   21   23   25   27   28   29   30   30   30   30   28
coastal               8   11   15   18   20   21   22   23   24   24   24   26   22
coastal              16   18   22   26   28   29   30   31   32   32   32   35   30
hills/mountains     3.0  3.5  5.5  5.5  8.0   14   16   17   18   18   18   15   10
hills/mountains     8.0  9.5   12   14   15   17   18   19   20   20   20   23   19
desert/barren       6.0  8.5   15   22   24   26   27   29   30   30   30   38   34
desert/barren        14   16   25   38   41   43   45   47   49   49   49   58   52
shrublands/plains   3.0  4.0  7.0  6.5   11   20   23   25   27   27   27   22   13
shrublands/plains   6.2  6.8   10   12   16   20   22   24   26   27   27   31   23
wetland/bog/marsh   1.8  2.2  3.5  3.2  5.0  8.0  9.0  9.5   10   10   10  5.0  2.5
wetland/bog/marsh   2.8  3.6  6.0  6.0  9.5   15   17   18   19   19   19   14  8.0
open_water          2.2  2.4  1.4  0.6  0.5  0.4  0.4  0.3  0.3  0.3  0.3  0.2  0.1
open_water          3.8  4.2  4.0  2.2  1.8  0.9  0.8  0.7  0.6  0.5  0.5  0.3  0.2
enclosed_water      1.6  1.8  2.0  1.0  0.9  0.6  0.5  0.5  0.4  0.4  0.4  0.2  0.1
enclosed_water      3.0  3.6  5.0  3.8  3.4  1.4  1.3  1.0  0.9  0.8  0.8  0.4  0.3
"""
"""Surface reflectance of each surface tag, per cent: the two ends between which it varies."""
WATER = ("open_water", "enclosed_water")
RARITY = {"urban/developed": 0.5, "enclosed_water": 0.9}
"""Covers that occur in small patches, and the standard deviations that are subtracted from their scores."""

# Per band: path reflectance, transmission of gases, reflectance of clouds of droplets and of ice (all 0 to 1).
PATH = np.array([0.112, 0.076, 0.042, 0.024, 0.02, 0.016, 0.013, 0.011, 0.008, 0.005, 8e-4, 0.003, 0.0015], "float32")
GAS = np.array([1, 1, 0.97, 0.97, 0.95, 0.92, 1, 0.97, 1, 0.42, 0.002, 0.97, 0.95], "float32")
WATER_CLOUD = np.array([0.96, 0.95, 0.94, 0.97, 0.99, 1, 1.01, 1, 1.03, 0.6, 0.006, 0.7, 0.52], "float32")
ICE_CLOUD = np.array([0.97, 0.95, 0.94, 0.96, 0.98, 1, 1.01, 1, 1.02, 0.75, 0.22, 0.4, 0.3], "float32")
# Sensor noise: of a dark pixel, DN, and as a share of the signal.
NOISE_FLOOR = np.array([5, 5, 5, 5, 5, 5, 5, 5, 4, 3, 1.3, 3, 3], "float32")
NOISE_SHARE = 0.002


@dataclass(frozen=True)
class CloudKind:
    """Shape and optics of a cloud type.

    Attributes
    ----------
    length, slope, stretch : float
        Parameters of its random field, see `fractal`.
    depth : float
        Optical depth one standard deviation inside its edge. Kinds of depth 1 or less are too thin to cast a shadow.
    shift : float
        Distance to its shadow, pixels of 20 m, at most `PAD`.
    ice : float
        Share of ice, 0 to 1, which absorbs in B11 and B12 and, being high, shows in B10.
    """

    length: float
    slope: float
    stretch: float
    depth: float
    shift: float
    ice: float


CLOUD_KINDS = {
    "cumulus": CloudKind(80, 4.5, 1, 3.0, 24, 0.0),
    "cumulonimbus": CloudKind(140, 4.1, 1, 6.0, 50, 0.7),
    "altocumulus/stratocumulus": CloudKind(80, 3.8, 1.6, 2.5, 36, 0.1),
    "cirrus": CloudKind(160, 3.4, 6, 0.6, 60, 1.0),
    "haze/fog": CloudKind(300, 4.6, 1, 0.6, 5, 0.0),
    "ice_clouds": CloudKind(200, 3.6, 2, 1.4, 60, 1.0),
    "contrails": CloudKind(60, 3.0, 1, 0.9, 60, 1.0),
}
PAD = 64
"""Margin of clouds around the scene, pixels: their shadows may fall into the scene."""


def synthesize(row: Mapping[str, Any], size: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make `size` x `size` pixels for a row of the published table; the same row, size and seed give the same.

    Returns
    -------
    dn : np.ndarray
        (y, x, band) uint16, DN = reflectance x 10000, 1 to 65534.
    classes, alt_classes : np.ndarray
        (y, x) uint8, values of `MaskClass`; `alt_classes` as another annotator might have drawn them.
    """
    rng = np.random.default_rng([seed, size, zlib.crc32(row["scene"].encode())])
    scale = min(1.0, size / FULL_DETAIL_SIZE)
    # Sentinel-2 passes at half past ten: the sun is in the south-east, or north-east south of the equator.
    azimuth = np.deg2rad((145 if Product.parse(row["scene"]).epsg < 32700 else 45) + rng.uniform(-12, 12))
    sun = (-float(np.cos(azimuth)), float(np.sin(azimuth)))  # (y, x) towards the sun; y counts downward

    clouds = _clouds(rng, row, size, scale, sun)
    cloud, shadow = (round(row[name] / 100 * size**2) for name in ("cloud_percent", "shadow_percent"))
    classes, edge, shadow_edge = _label(clouds.score, clouds.shadow_score, cloud, shadow)
    if not row["shadows_marked"] and shadow == 0 and row["thick"]:
        shadow_edge = edge  # pixels are dark in shadows that were not marked, too
    wobble = 0.11 * fractal(rng, size, 40 * scale, 3.0)
    if 0 < cloud < size**2:  # another annotator draws other edges, but agrees about scenes all clear or overcast
        cloud, shadow = (min(round(count * rng.uniform(0.92, 1.08)), size**2) for count in (cloud, shadow))
    alt_classes, _, _ = _label(clouds.score + wobble, clouds.shadow_score + wobble, cloud, shadow)

    ends, covers, mix, light = _surface(rng, row, size, scale, sun)
    red = ends.mean(0)[:, BAND_NAMES.index("B04")][covers] * light
    opacity, bright, ice = clouds.look(edge, red)
    shade = 0.75 * (1 - np.exp(-4 * _inside(clouds.shadow_score, shadow_edge)))
    dn = np.empty((size, size, len(BANDS)), "uint16")
    for b, band in enumerate(BANDS):
        low, high = ends[:, :, b]
        ground = (low[covers] + (high - low)[covers] * mix) * light
        toa = PATH[b] * (1 - 0.2 * shade) + GAS[b] * ground * (1 - shade)
        reflected = bright * (WATER_CLOUD[b] + (ICE_CLOUD[b] - WATER_CLOUD[b]) * ice)
        dn[:, :, b] = _sense(rng, toa + opacity * (reflected - toa), NOISE_FLOOR[b], band.resolution)
    return dn, classes, alt_classes


def fractal(
    rng: np.random.Generator, size: int, length: float, slope: float, *, stretch: float = 1, angle: float = 0
) -> np.ndarray:
    """Draw a random field (y, x) float32 of mean about 0 and deviation 1.

    The power spectrum is flat above structures of `length` pixels and falls as k**-slope below: larger is smoother.
    Structures are `stretch` times as long along `angle` (radians from the x axis) as across.
    """
    n = -(-size // 32) * 32  # a multiple of 32, which the FFT is fast at
    ky = np.fft.fftfreq(n).astype("float32")[:, None]
    kx = np.fft.rfftfreq(n).astype("float32")[None, :]
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    k2 = ((kx * cos + ky * sin) * stretch) ** 2 + (ky * cos - kx * sin) ** 2 + length**-2
    spectrum = np.fft.rfft2(rng.standard_normal((n, n), dtype="float32"))
    spectrum *= k2 ** (-slope / 4)
    spectrum[0, 0] = 0
    field: np.ndarray = np.fft.irfft2(spectrum, (n, n))[:size, :size]
    return field / field.std()


@dataclass(frozen=True)
class _Clouds:
    """Scores of cloud and shadow of each pixel, the cloud layers, and their light and gain: (y, x) float32."""

    score: np.ndarray
    shadow_score: np.ndarray
    layers: list[tuple[CloudKind, np.ndarray, np.ndarray | float]]  # kind, score, optical depth
    light: np.ndarray
    gain: float

    def look(self, edge: float, ground: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Compute opacity, brightness and share of ice, for scores above `edge` over `ground`, a reflectance."""
        depth, ice = np.zeros_like(self.score), np.zeros_like(self.score)
        for kind, score, strength in self.layers:
            part = strength * _inside(score, edge)
            depth += part
            ice += kind.ice * part
        opacity = 1 - np.exp(-depth)
        bright = self.gain * (0.36 + 0.42 * (1 - np.exp(-0.3 * depth)) + self.light * opacity)
        # Over snow, light is reflected back and forth: clouds are hardly darker than snow.
        return opacity, np.maximum(bright, 0.9 * ground), ice / np.maximum(depth, 1e-6)


def _clouds(
    rng: np.random.Generator, row: Mapping[str, Any], size: int, scale: float, sun: tuple[float, float]
) -> _Clouds:
    """Lay out the cloud types of a row; cumulus if the row has no cloud type."""
    names = [tag.published for tag in TAGS if tag.group is TagGroup.CLOUD_TYPE and row[tag.published]] or ["cumulus"]
    extent = (1.4 if row["isolated"] else 2.5) if row["extended"] else 0.8
    wind = rng.uniform(0, np.pi)
    patchy = np.exp(-1.4 * np.maximum(fractal(rng, size, 200 * scale, 3.4), 0))
    layers, shadows = [], []
    for name in names:
        kind = CLOUD_KINDS[name]
        length = max(3.0, kind.length * extent * scale)
        wide = fractal(rng, size + 2 * round(PAD * scale), length, kind.slope, stretch=kind.stretch, angle=wind)
        if name == "contrails":
            wide = _trails(rng, wide, scale)
        depth: np.ndarray | float = kind.depth
        if not row["thick"]:
            depth = min(kind.depth, 0.7)
        elif not row["thin"]:
            depth = max(kind.depth, 2.5)
        elif kind.depth > 1:
            depth = kind.depth * patchy
        y, x = (round(PAD * scale) + round(kind.shift * scale * towards) for towards in sun)
        shadows.append((kind.depth > 1, wide[y : y + size, x : x + size]))
        y = x = round(PAD * scale)
        layers.append((kind, wide[y : y + size, x : x + size], depth))
    score = np.maximum.reduce([field for _, field, _ in layers])
    casting = [field for casts, field in shadows if casts] or [field for _, field in shadows]
    light = 0.035 * _facing(score, sun) + 0.008 * fractal(rng, size, 20, 2.6)
    gain = float(rng.uniform(0.75, 1.15))
    return _Clouds(score, np.maximum.reduce(casting), layers, np.clip(light, -0.2, 0.5), gain)


def _trails(rng: np.random.Generator, ragged: np.ndarray, scale: float) -> np.ndarray:
    """Draw three straight lines, as aircraft leave them; the field `ragged` frays their edges."""
    y, x = np.indices(ragged.shape, dtype="float32") - len(ragged) / 2
    score = np.full_like(ragged, -3)
    for _ in range(3):
        angle, offset = rng.uniform(0, np.pi), rng.uniform(-0.35, 0.35) * len(ragged)
        distance = np.abs(x * float(np.sin(angle)) - y * float(np.cos(angle)) - offset) / max(1.0, 8 * scale)
        np.maximum(score, 3.2 - distance**2 + 0.4 * ragged, out=score)
    return score


def _inside(score: np.ndarray, edge: float) -> np.ndarray:
    """Compute the depth of a score inside an edge; the root makes edges crisp, a small margin fades them outside."""
    root: np.ndarray = np.sqrt(np.maximum(score - (edge - 0.03), 0))
    return root


def _facing(height: np.ndarray, sun: tuple[float, float]) -> np.ndarray:
    """Compute how much each pixel of a relief faces the sun, standard deviation 1."""
    slope_y, slope_x = np.gradient(height)
    facing: np.ndarray = -(slope_y * sun[0] + slope_x * sun[1])
    return facing / max(float(facing.std()), 1e-6)


def _label(score: np.ndarray, shadow_score: np.ndarray, cloud: int, shadow: int) -> tuple[np.ndarray, float, float]:
    """Label the `cloud` pixels of highest score, then `shadow` of the others; also return the lowest score of each."""
    classes = np.full(score.size, MaskClass.CLEAR, "uint8")
    edges = []
    for label, scores, count in ((MaskClass.CLOUD, score, cloud), (MaskClass.CLOUD_SHADOW, shadow_score, shadow)):
        free = np.flatnonzero(classes == MaskClass.CLEAR)
        ranked = scores.ravel()[free]
        first = ranked.size - min(count, ranked.size)  # shares that are rounded apart may exceed the whole by one
        best = np.argpartition(ranked, first)[first:] if first < ranked.size else np.empty(0, "int64")
        classes[free[best]] = label
        edges.append(float(ranked[best].min(initial=np.inf)))
    return classes.reshape(score.shape), edges[0], edges[1]


def _surface(
    rng: np.random.Generator, row: Mapping[str, Any], size: int, scale: float, sun: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Make spectra (end, cover, band), and for each pixel its cover, mix of both ends (0 to 1) and light (about 1)."""
    table: dict[str, list[list[float]]] = {}
    for name, *spectrum in (line.split() for line in COVER_TABLE.strip().splitlines()[1:]):
        table.setdefault(name, []).append([float(value) / 100 for value in spectrum])
    names = [name for name in table if row[name]]
    if row["coastal"] and not row["open_water"]:
        names.append("open_water")
    if names != ["open_water"] and not set(names) - {"coastal", *WATER}:
        names.append("shrublands/plains")  # there is land around a lake and behind a beach
    relief = fractal(rng, size, 250 * scale, 3.5)
    texture = fractal(rng, size, 120 * scale, 2.6)
    scores = {n: fractal(rng, size, (60 if n in RARITY else 300) * scale, 4.0) - RARITY.get(n, 0) for n in names}
    if {"snow/ice", "hills/mountains"} <= scores.keys():
        scores["snow/ice"] = relief + 0.2  # snow is on the heights
    if "coastal" in scores:  # sand is along the shore only
        land = np.max([score for name, score in scores.items() if name not in ("coastal", *WATER)], axis=0)
        scores["coastal"] = np.where(np.abs(land - scores["open_water"] - 0.05) < 0.05, np.inf, -np.inf)
    covers = np.argmax([scores[name] for name in names], axis=0)

    mix, rugged = 0.5 + 0.22 * texture, np.full(len(names), 0.13 if row["hills/mountains"] else 0.04, "float32")
    for i, name in enumerate(names):
        covered = covers == i
        if name == "agricultural":
            mix[covered] = _parcels(rng, relief, scale)[covered] + 0.06 * texture[covered]
        elif name == "urban/developed":
            mix[covered] = np.abs(0.35 * fractal(rng, size, 8, 1.2))[covered]
        elif name in WATER:
            rugged[i] = 0
    light = 1 + rugged[covers] * _facing(relief, sun) + 0.016 * fractal(rng, size, 12, 2.0)
    ends = np.array([table[name] for name in names], "float32").swapaxes(0, 1)
    return ends, covers, np.clip(mix, 0, 1), np.maximum(light, 0.15)


def _parcels(rng: np.random.Generator, warp: np.ndarray, scale: float) -> np.ndarray:
    """Draw a patchwork of fields (y, x), one random value from 0 to 1 in each."""
    y, x = np.indices(warp.shape, dtype="float32")
    angle, width = rng.uniform(0, np.pi / 2), max(4.0, 28 * scale)
    u = (x * np.cos(angle) + y * np.sin(angle) + 5 * scale * warp) / width
    v = (y * np.cos(angle) - x * np.sin(angle) + 5 * scale * warp) / width
    strip = np.floor(v).astype("int64") % 1024
    starts, values = rng.uniform(0, 2, 1024), rng.uniform(0, 1, 4096) ** 1.5
    parcel = strip * 127 + np.floor(u / 1.7 + starts[strip]).astype("int64")
    patchwork: np.ndarray = values[parcel % 4096]
    return patchwork


def _sense(rng: np.random.Generator, toa: np.ndarray, floor: float, resolution: int) -> np.ndarray:
    """Measure one band: average to its native pixels where these are wider than 20 m, add noise, round to whole DN."""
    n, step = len(toa), max(1, resolution // 20)
    signal = toa * DN_PER_REFLECTANCE
    if step > 1:
        padded = np.pad(signal, (0, -n % step), mode="edge")
        m = len(padded) // step
        signal = padded.reshape(m, step, m, step).mean((1, 3))
    signal = signal + rng.standard_normal(signal.shape, dtype="float32") * (floor + NOISE_SHARE * signal)
    dn = np.clip(np.rint(signal), 1, 65534).astype("uint16")  # 0 is no data and 65535 saturated
    return dn.repeat(step, 0).repeat(step, 1)[:n, :n] if step > 1 else dn
