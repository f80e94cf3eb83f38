"""Thumbnails: a PNG of any mode shows its colours; what is damaged, or a store could not keep, is an error."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from s2cmc.conversion.source.thumbnails import read_thumbnail
from s2cmc.errors import ReleaseError


def png(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


RGB = np.random.default_rng(0).integers(0, 256, (6, 7, 3), np.uint8)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA", "1"])
def test_a_thumbnail_of_any_mode_shows_the_same_colours(mode: str) -> None:
    image = Image.fromarray(RGB).convert(mode)
    found = read_thumbnail(png(image), "t.png")
    assert (found.shape, found.dtype) == ((6, 7, 3), np.uint8)
    assert np.array_equal(found, np.asarray(image.convert("RGB")))


def test_a_transparent_thumbnail_is_refused() -> None:
    image = Image.fromarray(RGB)
    image.putalpha(Image.fromarray(np.where(np.arange(42).reshape(6, 7) == 20, 254, 255).astype("u1")))
    with pytest.raises(ReleaseError, match=r"t\.png has transparent pixels, which a store could not keep"):
        read_thumbnail(png(image), "t.png")
    with pytest.raises(ReleaseError, match="transparent"):
        read_thumbnail(png(Image.fromarray(RGB).convert("P"), transparency=bytes([0] * 256)), "t.png")


def test_a_thumbnail_of_16_bits_or_another_format_is_refused() -> None:
    with pytest.raises(ReleaseError, match=r"t\.png .*16"):
        read_thumbnail(png(Image.fromarray(np.arange(42, dtype="u2").reshape(6, 7) * 1000)), "t.png")
    with pytest.raises(ReleaseError, match=r"t\.png is not a readable PNG"):
        read_thumbnail(png(Image.fromarray(RGB), "JPEG"), "t.png")


def test_a_png_cut_anywhere_is_an_error_or_the_same_picture() -> None:
    content = png(Image.fromarray(RGB))
    for cut in range(len(content)):
        try:
            found = read_thumbnail(content[:cut], "t.png")
        except ReleaseError as error:
            assert re.match(r"t\.png is not a readable PNG", str(error))  # noqa: PT017
        else:
            assert np.array_equal(found, RGB)
