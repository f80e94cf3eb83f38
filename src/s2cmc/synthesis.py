"""From a row of the table to pixels that look and compress like Sentinel-2 Level-1C. Pure NumPy, nothing measured.

Everything is a random field with a power-law spectrum, as land and clouds have. Fields decide by rank, so that a mask
has exactly the shares that its row asks for. Lengths below are pixels of a full scene; small scenes shrink them.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from s2cmc.product import Product
from s2cmc.schema import BAND_NAMES, BANDS, DN_PER_REFLECTANCE, TAGS, MaskClass, TagGroup

FULL_DETAIL_SIZE = 512
"""Scenes narrower than this, pixels, have all lengths shrunk in proportion, so that they still show whole clouds."""

# Surface reflectance in per cent, B01 to B12 in order of schema.BANDS: two ends between which each cover varies.
COVERS = {
    "forest/jungle": (
        (1.4, 1.6, 3.2, 2.0, 5.0, 15, 19, 21, 23, 23, 23, 10, 4.5),
        (2.2, 2.8, 5.8, 3.6, 9.0, 25, 31, 33, 35, 35, 35, 18, 8.5),
    ),
    "snow/ice": (
        (72, 76, 77, 76, 75, 73, 71, 69, 66, 58, 50, 9, 7),
        (90, 93, 94, 93, 92, 90, 88, 86, 83, 74, 60, 14, 11),
    ),
    "agricultural": (
        (2.0, 2.8, 6.0, 3.2, 9.0, 31, 40, 43, 45, 45, 45, 20, 9),
        (5.5, 7.0, 10, 14, 17, 19, 21, 23, 25, 26, 26, 31, 25),
    ),
    "urban/developed": (
        (4.0, 5.0, 7.0, 7.0, 9.0, 15, 17, 18, 19, 19, 19, 15, 11),
        (15, 18, 21, 23, 25, 27, 28, 29, 30, 30, 30, 30, 28),
    ),
    "coastal": (
        (8, 11, 15, 18, 20, 21, 22, 23, 24, 24, 24, 26, 22),
        (18, 24, 30, 35, 37, 39, 40, 41, 42, 42, 42, 44, 38),
    ),
    "hills/mountains": (
        (3.0, 3.5, 5.5, 5.5, 8.0, 14, 16, 17, 18, 18, 18, 15, 10),
        (8.0, 9.5, 12, 14, 15, 17, 18, 19, 20, 20, 20, 23, 19),
    ),
    "desert/barren": (
        (6.0, 8.5, 15, 22, 24, 26, 27, 29, 30, 30, 30, 38, 34),
        (11, 15, 25, 38, 41, 43, 45, 47, 49, 49, 49, 58, 52),
    ),
    "shrublands/plains": (
        (3.0, 4.0, 7.0, 6.5, 11, 20, 23, 25, 27, 27, 27, 22, 13),
        (5.0, 6.5, 10, 12, 16, 20, 22, 24, 26, 27, 27, 31, 23),
    ),
    "wetland/bog/marsh": (
        (1.8, 2.2, 3.5, 3.2, 5.0, 8.0, 9.0, 9.5, 10, 10, 10, 5.0, 2.5),
        (2.8, 3.6, 6.0, 6.0, 9.5, 15, 17, 18, 19, 19, 19, 14, 8.0),
    ),
    "open_water": (
        (2.6, 2.4, 1.4, 0.6, 0.5, 0.4, 0.4, 0.3, 0.3, 0.3, 0.3, 0.2, 0.1),
        (4.0, 4.2, 4.0, 2.2, 1.8, 0.9, 0.8, 0.7, 0.6, 0.5, 0.5, 0.3, 0.2),
    ),
    "enclosed_water": (
        (1.6, 1.8, 2.0, 1.0, 0.9, 0.6, 0.5, 0.5, 0.4, 0.4, 0.4, 0.2, 0.1),
        (3.0, 3.6, 5.0, 3.8, 3.4, 1.4, 1.3, 1.0, 0.9, 0.8, 0.8, 0.4, 0.3),
    ),
}
WATER = ("open_water", "enclosed_water")

# Per band: what the air adds, what its gases let through, what clouds of droplets and of ice reflect, and the noise.
PATH = np.array([11.2, 7.6, 4.2, 2.4, 2.0, 1.6, 1.3, 1.1, 0.8, 0.5, 0.08, 0.3, 0.15], "float32") / 100
GAS = np.array([1, 1, 0.97, 0.97, 0.95, 0.92, 1, 0.97, 1, 0.42, 0.002, 0.97, 0.95], "float32")
WATER_CLOUD = np.array([0.96, 0.95, 0.94, 0.97, 0.99, 1, 1.01, 1.0, 1.03, 0.6, 0.006, 0.7, 0.52], "float32")
ICE_CLOUD = np.array([0.97, 0.95, 0.94, 0.96, 0.98, 1, 1.01, 1.0, 1.02, 0.75, 0.22, 0.4, 0.3], "float32")
NOISE_FLOOR = np.array([5, 5, 5, 5, 5, 5, 5, 5, 4, 3, 1.3, 3, 3], "float32")
"""Sensor noise of a dark pixel, DN."""
NOISE_SHARE = 0.004
"""Sensor noise that grows with the signal, as a share of it."""


@dataclass(frozen=True)
class CloudKind:
    """How a cloud type looks.

    Attributes
    ----------
    length : float
        Size of its largest structures, pixels of 20 m.
    slope : float
        Exponent of its power spectrum; larger is smoother.
    stretch : float
        Length over width of its structures.
    depth : float
        Optical depth one standard deviation inside its edge.
    shift : float
        Distance to its shadow, pixels of 20 m; 0 for clouds too thin to cast one.
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
    "cumulus": CloudKind(50, 4.4, 1, 3.0, 22, 0.0),
    "cumulonimbus": CloudKind(140, 4.1, 1, 6.0, 50, 0.7),
    "altocumulus/stratocumulus": CloudKind(80, 3.8, 1.6, 2.5, 36, 0.1),
    "cirrus": CloudKind(160, 3.4, 6, 0.6, 0, 1.0),
    "haze/fog": CloudKind(300, 4.6, 1, 0.6, 0, 0.0),
    "ice_clouds": CloudKind(200, 3.6, 2, 1.4, 0, 1.0),
    "contrails": CloudKind(60, 3.0, 1, 0.9, 0, 1.0),
}


@dataclass(frozen=True)
class Pixels:
    """The pixels of a synthetic scene.

    Attributes
    ----------
    dn : np.ndarray
        (y, x, band) uint16, DN = reflectance x 10000, 1 to 65534.
    classes, alt_classes : np.ndarray
        (y, x) uint8, values of `MaskClass`; `alt_classes` as another annotator might have drawn them.
    """

    dn: np.ndarray
    classes: np.ndarray
    alt_classes: np.ndarray


def synthesize(row: Mapping[str, object], size: int, seed: int) -> Pixels:
    """Make the pixels of a row of the published table, `size` x `size`.

    The same product ID, size and seed (and tags) give the same pixels.
    """
    rng = np.random.default_rng([seed, size, zlib.crc32(str(row["scene"]).encode())])
    scale = min(1.0, size / FULL_DETAIL_SIZE)
    # Sentinel-2 passes at half past ten: the sun is in the south-east, or north-east south of the equator.
    north = Product.parse(str(row["scene"])).epsg < 32700
    azimuth = np.deg2rad((145 if north else 45) + rng.uniform(-12, 12))
    sun = (-np.cos(azimuth), np.sin(azimuth))  # (y, x) of the direction towards the sun; y counts downward

    cloud = _clouds(rng, row, size, scale, sun)
    count, shadow_count = (round(float(row[k]) / 100 * size**2) for k in ("cloud_percent", "shadow_percent"))
    classes, edge, shadow_edge = _label(cloud.score, cloud.shadow_score, count, shadow_count)
    if not row["shadows_marked"] and shadow_count == 0:
        shadow_edge = edge  # an annotator who marked no shadows did not see them away
    alt_classes = _relabel(rng, cloud, classes, scale)

    covers, mix, light = _surface(rng, row, size, scale, sun)
    shade = 0.75 * _opacity(cloud.shadow_score, shadow_edge, 4.0)
    dn = np.empty((size, size, len(BANDS)), "uint16")
    ends = np.array([COVERS[name] for name in COVERS], "float32").swapaxes(0, 1) / 100  # (end, cover, band)
    opacity, bright, ice = cloud.look(edge, ends.mean(0)[covers, BAND_NAMES.index("B04")] * light)
    for b, band in enumerate(BANDS):
        low, high = ends[:, :, b]
        ground = (low[covers] + (high - low)[covers] * mix) * light
        toa = PATH[b] * (1 - 0.2 * shade) + GAS[b] * ground * (1 - shade)
        reflected = bright * (WATER_CLOUD[b] + (ICE_CLOUD[b] - WATER_CLOUD[b]) * ice)
        dn[:, :, b] = _sense(rng, toa + opacity * (reflected - toa), NOISE_FLOOR[b], band.resolution)
    return Pixels(dn, classes, alt_classes)


def fractal(
    rng: np.random.Generator, size: int, length: float, slope: float, stretch: float = 1, angle: float = 0
) -> np.ndarray:
    """Random field (y, x) float32 of mean 0 and deviation 1, power spectrum k**-slope below structures of `length`.

    `stretch` elongates it along `angle` (radians, from the x axis).
    """
    n = -(-size // 32) * 32  # a length that the FFT likes
    ky = np.fft.fftfreq(n).astype("float32")[:, None]
    kx = np.fft.rfftfreq(n).astype("float32")[None, :]
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    along, across = kx * cos + ky * sin, ky * cos - kx * sin
    k2 = (along * np.float32(stretch)) ** 2 + across**2 + np.float32(length**-2)
    spectrum = np.fft.rfft2(rng.standard_normal((n, n), dtype="float32"))
    spectrum *= k2 ** np.float32(-slope / 4)
    spectrum[0, 0] = 0
    field = np.fft.irfft2(spectrum, (n, n))[:size, :size]
    return field / field.std()


@dataclass(frozen=True)
class _Clouds:
    """Cloud layers over the scene: how strongly each pixel is cloud or cloud shadow, all (y, x) float32."""

    score: np.ndarray
    shadow_score: np.ndarray
    layers: list[tuple[CloudKind, np.ndarray, np.ndarray | float]]  # kind, score, optical depth
    light: np.ndarray
    gain: float

    def look(self, edge: float, ground: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Opacity, brightness and share of ice where scores above `edge` are cloud, over ground of this reflectance."""
        depth = np.zeros_like(self.score)
        ice = np.zeros_like(self.score)
        for kind, score, strength in self.layers:
            part = strength * _inside(score, edge)
            depth += part
            ice += kind.ice * part
        ice /= np.maximum(depth, 1e-6)
        opacity = 1 - np.exp(-depth)
        bright = self.gain * (0.36 + 0.42 * (1 - np.exp(-0.3 * depth)) + self.light * opacity)
        bright = np.maximum(bright, 0.9 * ground)  # over snow, light goes back and forth and clouds are no darker
        return opacity, bright, ice


def _clouds(
    rng: np.random.Generator, row: Mapping[str, object], size: int, scale: float, sun: tuple[float, float]
) -> _Clouds:
    """Lay out the cloud types of a row, on a canvas wider than the scene so that shadows fall in from outside."""
    kinds = [t.published for t in TAGS if t.group is TagGroup.CLOUD_TYPE and row[t.published]] or ["cumulus"]
    extent = {(1, 0): 0.8, (0, 1): 2.5}.get((int(bool(row["isolated"])), int(bool(row["extended"]))), 1.4)
    pad = int(np.ceil(64 * scale))
    canvas = size + 2 * pad

    def window(field: np.ndarray, shift: float = 0) -> np.ndarray:
        y, x = (pad + round(shift * scale * s) for s in sun)
        return field[y : y + size, x : x + size]

    patchy = np.exp(-1.4 * np.maximum(fractal(rng, size, 200 * scale, 3.4), 0))
    wind = rng.uniform(0, np.pi)
    layers, shadows = [], []
    for name in kinds:
        kind = CLOUD_KINDS[name]
        field = fractal(rng, canvas, max(3, kind.length * extent * scale), kind.slope, kind.stretch, wind)
        if name == "contrails":
            field = _trails(rng, field, scale)
        depth: np.ndarray | float = kind.depth
        if not row["thick"]:
            depth = min(depth, 0.7)
        elif not row["thin"]:
            depth = max(depth, 2.5)
        elif depth > 1:
            depth = depth * patchy
        layers.append((kind, window(field), depth))
        shadows.append((kind.shift or 50, window(field, kind.shift or 50), kind.shift > 0))
    score = np.maximum.reduce([field for _, field, _ in layers])
    solid = [field for _, field, casts in shadows if casts] or [field for _, field, _ in shadows]
    slope_y, slope_x = np.gradient(score)
    light = -(slope_y * sun[0] + slope_x * sun[1])
    light = np.clip(0.05 * light / max(light.std(), 1e-6) + 0.008 * fractal(rng, size, 20, 2.6), -0.2, 0.5)
    return _Clouds(score, np.maximum.reduce(solid), layers, light.astype("float32"), float(rng.uniform(0.75, 1.15)))


def _trails(rng: np.random.Generator, ragged: np.ndarray, scale: float) -> np.ndarray:
    """Score of a few straight, ragged lines across the canvas, in place of the field `ragged` alone."""
    y, x = np.indices(ragged.shape, dtype="float32") - np.float32(len(ragged) / 2)
    score = np.full_like(ragged, -3)
    for _ in range(3):
        angle, offset = rng.uniform(0, np.pi), rng.uniform(-0.35, 0.35) * len(ragged)
        distance = np.abs(x * np.sin(angle) - y * np.cos(angle) - offset) / max(1.0, 7 * scale)
        np.maximum(score, 3.2 - distance + 0.5 * ragged, out=score)
    return score


def _inside(score: np.ndarray, edge: float) -> np.ndarray:
    """How far a score is inside the edge; the root makes edges crisp, the small margin lets them fade outside."""
    return np.sqrt(np.maximum(score - (edge - 0.03), 0))


def _opacity(score: np.ndarray, edge: float, depth: float) -> np.ndarray:
    return 1 - np.exp(-depth * _inside(score, edge))


def _label(
    score: np.ndarray, shadow_score: np.ndarray, cloud: int, shadow: int
) -> tuple[np.ndarray, float, float]:
    """Label exactly `cloud` pixels of highest score, then `shadow` of the rest; also the lowest score of each."""
    classes = np.full(score.shape, MaskClass.CLEAR, "uint8")
    edges = []
    for label, scores, count in ((MaskClass.CLOUD, score, cloud), (MaskClass.CLOUD_SHADOW, shadow_score, shadow)):
        ranked = np.where(classes == MaskClass.CLEAR, scores, -np.inf).ravel()
        count = min(count, int((classes == MaskClass.CLEAR).sum()))  # shares rounded apart may exceed the whole by one
        chosen = np.argpartition(ranked, ranked.size - count)[ranked.size - count :] if count else np.array([], int)
        classes.ravel()[chosen] = label
        edges.append(float(ranked[chosen].min()) if count else np.inf)
    return classes, edges[0], edges[1]


def _relabel(rng: np.random.Generator, cloud: _Clouds, classes: np.ndarray, scale: float) -> np.ndarray:
    """Label again as another annotator: the same clouds, their edges drawn a little elsewhere."""
    size = len(classes)
    wobble = 0.11 * fractal(rng, size, 40 * scale, 3.0)
    counts = [int((classes == c).sum()) for c in (MaskClass.CLOUD, MaskClass.CLOUD_SHADOW)]
    if 0 < counts[0] < size**2:
        counts = [round(c * rng.uniform(0.92, 1.08)) for c in counts]
    return _label(cloud.score + wobble, cloud.shadow_score + wobble, *(min(c, size**2) for c in counts))[0]


def _surface(
    rng: np.random.Generator, row: Mapping[str, object], size: int, scale: float, sun: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cover (y, x) as a position in `COVERS`, where between its two ends (0 to 1), and the light on it (about 1)."""
    names = [name for name in COVERS if row[name]] or ["forest/jungle", "shrublands/plains"]
    if row["coastal"]:
        names += [] if row["open_water"] else ["open_water"]
        names += [] if set(names) - {"coastal", *WATER} else ["shrublands/plains"]
    if names == ["enclosed_water"]:
        names += ["shrublands/plains"]
    relief = fractal(rng, size, 250 * scale, 3.5)
    scores = np.full((len(COVERS), size, size), -np.inf, "float32")
    order = list(COVERS)
    for name in names:
        length = 60 if name in ("urban/developed", "enclosed_water") else 300
        scores[order.index(name)] = fractal(rng, size, length * scale, 4.0)
    scores[order.index("enclosed_water")] -= 0.9
    scores[order.index("urban/developed")] -= 0.5
    if row["snow/ice"] and row["hills/mountains"]:
        scores[order.index("snow/ice")] = relief + 0.2  # snow lies high
    if row["coastal"]:  # sand lies along the shore only
        land = np.delete(scores, [order.index(n) for n in ("coastal", *WATER)], axis=0).max(0)
        sea = scores[order.index("open_water")]
        scores[order.index("coastal")] = np.where(np.abs(land - sea - 0.05) < 0.05, np.inf, -np.inf)
    covers = scores.argmax(0).astype("uint8")

    texture = fractal(rng, size, 120 * scale, 2.6)
    mix = 0.5 + 0.22 * texture
    fields = covers == order.index("agricultural")
    mix[fields] = _parcels(rng, relief, scale)[fields] + 0.06 * texture[fields]
    town = covers == order.index("urban/developed")
    mix[town] = np.abs(0.35 * fractal(rng, size, 8, 1.2))[town]
    slope_y, slope_x = np.gradient(relief)
    steep = -(slope_y * sun[0] + slope_x * sun[1])
    water = np.isin(covers, [order.index(name) for name in WATER])
    rugged = np.where(water, 0.0, 0.28 if row["hills/mountains"] else 0.04).astype("float32")
    light = 1 + rugged * steep / steep.std() + 0.03 * fractal(rng, size, 12, 2.0)
    return covers, np.clip(mix, 0, 1), np.maximum(light, 0.15)


def _parcels(rng: np.random.Generator, warp: np.ndarray, scale: float) -> np.ndarray:
    """A patchwork of fields (y, x), one random value from 0 to 1 in each."""
    y, x = np.indices(warp.shape, dtype="float32")
    angle, width = rng.uniform(0, np.pi / 2), max(4, 28 * scale)
    u = (x * np.cos(angle) + y * np.sin(angle) + 5 * scale * warp) / width
    v = (y * np.cos(angle) - x * np.sin(angle) + 5 * scale * warp) / width
    strip = np.floor(v).astype("int64")
    starts, values = rng.uniform(0, 2, 1024), rng.uniform(0, 1, 4096) ** 1.5
    return values[(strip * 127 + np.floor(u / 1.7 + starts[strip % 1024]).astype("int64")) % 4096]


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
