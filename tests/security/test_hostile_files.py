"""Arrays, thumbnails and outlines that lie: what is plain is read, anything else is one error, and nothing warns."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from helpers.pickles import Mark
from PIL import Image, PngImagePlugin

from s2cmc.conversion.convert.conversion import convert
from s2cmc.conversion.source.outlines import read_outline
from s2cmc.conversion.source.thumbnails import read_thumbnail
from s2cmc.errors import CatalogueError, ReleaseError, SceneError
from s2cmc.files.limits import SIDE
from s2cmc.files.npy import open_array, read_array
from s2cmc.release import array_path, encode_outline, outline_path
from s2cmc.schema.products import Product
from s2cmc.synthetic.make import make_release, make_scene
from s2cmc.synthetic.table import sample_table

VALUES = np.arange(12, dtype="<u2").reshape(3, 4)


def npy(header: str, content: bytes = VALUES.tobytes(), version: int = 1) -> bytes:
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header.encode("latin1") + content


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<u2', 'fortran_order': False, 'shape': (3, 4), }      \n",
        "{'descr': '<u2', 'fortran_order': False, 'shape': (3, 4)}",
        '{"shape":(3,4,),"fortran_order":False,"descr":"<u2"}',
        "{'descr': '<u2', 'fortran_order': False, 'shape': (3L, 4L), }",  # as Python 2 wrote them
        "{'descr': 'u2', 'fortran_order': False, 'shape': (\n3,\t4), }",
    ],
)
def test_a_header_is_read_however_it_is_written(header: str) -> None:
    assert np.array_equal(read_array(npy(header), "a.npy"), VALUES)
    assert np.array_equal(read_array(npy(header, version=2), "a.npy"), VALUES)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("{'descr': '<u2', 'fortran_order': False, 'shape': (-3, -4), }", r"its shape is '\(-3, -4\)'"),
        ("{'descr': '<u2', 'fortran_order': False, 'shape': (12), }", r"its shape is '\(12\)'"),
        ("{'descr': '<u2', 'fortran_order': False, 'shape': (3.0, 4), }", "its shape is"),
        ("{'descr': '<u2', 'fortran_order': 0, 'shape': (3, 4), }", "expected descr, fortran_order and shape"),
        ("{'descr': '<u2', 'shape': (3, 4), }", "expected descr, fortran_order and shape"),
        ("{'descr': '<u2', 'fortran_order': False, 'shape': (3, 4), 'more': True}", "expected descr"),
        ("{'descr': '<u2', 'descr': '<u2', 'fortran_order': False, 'shape': (3, 4)}", "expected descr"),
        ("{'descr': '<u2', 'fortran_order': False, 'shape': (10**9, 4), }", "its shape is"),
        (f"{{'descr': '<u2', 'fortran_order': False, 'shape': ({'1, ' * 40}), }}", "its shape is"),
        ("{'descr': '<u2', 'fortran_order': False, 'shape': (999999999999999999, 0), }", "more than the"),
        ("{'descr': '<u3', 'fortran_order': False, 'shape': (3, 4), }", "its dtype is"),
        ("{'descr': 'M8[ns/0]', 'fortran_order': False, 'shape': (3, 4), }", "its dtype is"),  # NumPy 2.5 would crash
        ("{'descr': 'M8[0ns]', 'fortran_order': False, 'shape': (3, 4), }", "its dtype is"),
        ("{'descr': '|S0', 'fortran_order': False, 'shape': (3, 4), }", "whose values have no bytes"),
        ("{'descr': '(9,9)u2', 'fortran_order': False, 'shape': (3, 4), }", "expected plain values"),
        ("{'descr': [('a', '<u2')], 'fortran_order': False, 'shape': (3, 4), }", "expected plain values"),
        ("{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (3, 4), }", "holds Python objects"),
        ("{'descr': __import__('os').abort(), 'fortran_order': False, 'shape': (3, 4), }", "expected descr"),
        ("(" * 9_000, "expected descr"),
        ("-" * 9_000 + "1", "expected descr"),
        ("{'descr': '\\d', 'fortran_order': False, 'shape': (3, 4), }", "expected descr"),
        (" " * 10_001, "its header takes 10001 bytes; expected at most 10000"),
    ],
)
def test_a_header_that_is_not_plain_is_an_error(header: str, said: str) -> None:
    for read in (read_array, lambda content, path: open_array(io.BytesIO(content), path)):
        with pytest.raises(ReleaseError, match=rf"^a\.npy.*{said}"):
            read(npy(header, version=2 if len(header) > 65_535 else 1), "a.npy")


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A scene in a folder, to be spoilt."""
    return make_release(tmp_path / "release", scenes=1, size=16, layout="folder")


REFLECTANCE = make_scene(sample_table(1).to_dict("records")[0], 16, 0).reflectance


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (REFLECTANCE.astype(float), "its subscene is float64; expected float32 reflectance"),
        ((REFLECTANCE * 10_000).astype("int16"), "its subscene is int16; expected float32 reflectance"),
        (REFLECTANCE[np.newaxis], r"its subscene has shape \(1, 16, 16, 13\); expected \(y, x, band\) with 13 bands"),
        (
            REFLECTANCE.transpose(2, 0, 1),
            r"shape \(13, 16, 16\); its axes look transposed, band first; expected \(y, x,",
        ),
        (REFLECTANCE[:0], "its subscene has 0 x 16 pixels; expected at least 1 and at most 2048 each"),
        (np.zeros((SIDE + 1, 1, 13), "f4"), "its subscene has 2049 x 1 pixels; expected at least 1 and at most 2048"),
        (np.array([Mark(Path("mark"))], object), r"subscenes/S2.*\.npy holds Python objects"),
    ],
    ids=["float64", "DN", "more dims", "band first", "no row", "too high", "pickle"],
)
def test_another_subscene_is_one_error_and_nothing_opens(release: Path, values: np.ndarray, said: str) -> None:
    scene = next((release / "masks").iterdir()).stem
    with (release / array_path("subscenes", scene, "npy")).open("wb") as file:
        np.save(file, values, allow_pickle=True)
    with pytest.raises(CatalogueError, match=rf"{scene}.*{said}|{said}"):
        convert(str(release), str(release.parent / "store"))
    assert {path.name for path in release.parent.iterdir()} == {"release"}
    assert not Path("mark").exists()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


RGB = np.random.default_rng(0).integers(0, 256, (6, 7, 3), np.uint8)


def png(**options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, "PNG", **options)
    return buffer.getvalue()


def test_of_a_png_its_picture_alone_is_decoded() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "x" * 3_000_000, zip=True)  # more than Pillow takes
    content = png(pnginfo=text)
    animation = chunk(b"acTL", struct.pack(">2I", 9, 0))  # and no frame: Pillow would warn
    content = content[:33] + animation + chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(9_000_000))) + content[33:]
    assert np.array_equal(read_thumbnail(content, "t.png"), RGB)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (png().replace(b"IDAT", b"IDAt"), r"its chunk 'IDAt' is damaged or cut short"),
        (png()[:33] + png()[8:33] + png()[33:], "it does not begin with one header"),
        (png()[:8] + chunk(b"IHDR", bytes(12)) + png()[33:], "it does not begin with one header"),
        (png()[:8] + chunk(b"IHDR", struct.pack(">2I5B", 7, 6, 16, 2, 0, 0, 0)) + png()[33:], "has 16 bits a sample"),
        (png()[:8] + chunk(b"IHDR", struct.pack(">2I5B", 0, 6, 8, 2, 0, 0, 0)) + png()[33:], "has 0 x 6 pixels"),
        (png()[:8] + chunk(b"IHDR", struct.pack(">2I5B", 7, 6, 8, 9, 0, 0, 0)) + png()[33:], "is not a readable PNG"),
    ],
    ids=["chunk", "two headers", "short header", "16 bits of colour", "no width", "colour type"],
)
def test_a_png_that_is_not_plain_is_an_error(content: bytes, said: str) -> None:
    with pytest.raises(ReleaseError, match=rf"^t\.png.*{said}"):
        read_thumbnail(content, "t.png")


PRODUCT = Product.parse("S2A_MSIL1C_20160112T155831_N0201_R097_T18SVG_20160112T155831")


def shp(*changes: tuple[int, bytes]) -> dict[str, bytes]:
    """A shapefile of one outline, with other bytes at some places."""
    outline = make_scene(sample_table(1).to_dict("records")[0] | {"scene": PRODUCT.id}, 16, 0).outline
    assert outline is not None
    contents = encode_outline(outline)
    content = bytearray(contents[".shp"])
    for at, value in changes:
        content[at : at + len(value)] = value
    return contents | {".shp": bytes(content)}


NAN, INFINITE, FAR = (struct.pack("<d", value) for value in (float("nan"), float("inf"), 1e12))
LAST = 100 + 8 + 44 + 4  # where the points begin


@pytest.mark.parametrize(
    ("change", "said"),
    [
        # The reasons for wrong lengths and types are those of pyshp.
        ((100 + 8 + 36, b"\xff\xff\xff\x7f"), "its shapefile cannot be read"),
        ((100 + 8 + 40, b"\xff\xff\xff\xff"), "its shapefile cannot be read"),
        ((100 + 8 + 44, b"\3\0\0\0"), r"polygon, rings begin at points \[3\]\); expected one polygon of one ring"),
        ((100 + 8, b"\x1f\0\0\0"), "its shapefile cannot be read"),
        ((100 + 8, b"\x63\0\0\0"), r"its shapefile cannot be read: KeyError\(99\)"),
        ((100 + 4, b"\0\0\0\1"), "its shapefile cannot be read"),
        ((100 + 4, b"\x80\0\0\0"), "its shapefile cannot be read"),
        ((0, b"PK\3\4"), r"\.shp begins with \d+; expected 9994"),
        ((24, b"\0\0\0\x77"), r"\.shp is not as long as its header says"),
        ((LAST, NAN), "its outline is not an upright rectangle"),
        ((LAST, INFINITE), "its outline is not an upright rectangle"),
    ],
)
def test_an_outline_that_is_not_plain_is_an_error(change: tuple[int, bytes], said: str) -> None:
    with pytest.raises(SceneError, match=rf"{PRODUCT.id}: .*{said}"):
        read_outline(shp(change), PRODUCT)


def test_a_shapefile_whose_records_never_end_is_an_error() -> None:
    null = struct.pack(">2ii8x", 1, -4, 0)  # of -8 bytes, so that the next record is this one again
    content = shp((24, struct.pack(">i", (100 + len(null)) // 2)))[".shp"][:100] + null
    with pytest.raises(SceneError, match="its shapefile holds 2 or more shapes"):
        read_outline({".shp": content}, PRODUCT)


def test_a_record_of_another_length_than_stated_gives_the_same_outline() -> None:
    # pyshp reads as many bytes as a polygon needs; all corners are checked behind it.
    plain = shp()
    longer = shp((24, struct.pack(">i", len(plain[".shp"]) // 2)), (100 + 4, struct.pack(">i", 100)))
    assert read_outline(longer, PRODUCT) == read_outline(plain, PRODUCT)


def test_an_outline_lies_in_its_zone() -> None:
    corners = np.frombuffer(shp()[".shp"], "<f8", 10, LAST) + 1e9
    with pytest.raises(SceneError, match="its outline lies outside of every UTM zone"):
        read_outline(shp((LAST, corners.tobytes())), PRODUCT)


def test_of_a_shapefile_only_place_and_zone_are_looked_at(release: Path) -> None:
    scene = next((release / "masks").iterdir()).stem
    for suffix in (".dbf", ".shx", ".cpg"):
        (release / outline_path(scene, suffix)).write_bytes(b"\xff" * 100)
    assert convert(str(release), str(release.parent / "store"))
