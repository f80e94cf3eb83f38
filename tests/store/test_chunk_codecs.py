"""Chunks are decoded as numcodecs decodes them, and never into a buffer of another size."""

from collections.abc import Callable

import google_crc32c
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import blosc, zstd

from s2cmc.store.shards import checked, decode

ENCODE: dict[str, Callable[[bytes], bytes]] = {
    "blosc": lambda content: blosc.compress(content, b"zstd", 5, blosc.BITSHUFFLE),
    "zstd": lambda content: zstd.compress(content, 9),
}

COMPRESSORS = pytest.mark.parametrize("compressor", ENCODE)
SIZES = [*range(1, 301), 65_535, 65_536, 65_791, 65_792, 65_793, 2**20]
"""Sizes around which zstd writes its own by one byte, by two less 256, by four."""


def with_crc(content: bytes) -> np.ndarray:
    return np.frombuffer(content + google_crc32c.value(content).to_bytes(4, "little"), np.uint8)


def raw_frame(content: bytes) -> bytes:
    """A frame of zstd that does not say its size: magic, no flag, window of 1 KiB, one last block as it is.

    https://datatracker.ietf.org/doc/html/rfc8878#section-3.1.1
    """
    return b"\x28\xb5\x2f\xfd\x00\x00" + (len(content) << 3 | 1).to_bytes(3, "little") + content


@COMPRESSORS
@pytest.mark.parametrize("byte", [b"\0", b"\xff"])
def test_chunks_of_any_size_are_decoded(compressor, byte):
    for size in SIZES:
        out = np.full(size, 7, np.uint8)
        decode(with_crc(ENCODE[compressor](byte * size)), compressor, out)
        assert out.tobytes() == byte * size


@COMPRESSORS
def test_a_buffer_of_any_other_size_is_refused(compressor):
    for size in SIZES:
        encoded = with_crc(ENCODE[compressor](bytes(size)))
        for other in {size + 1, size - 1, size + 256, 2 * size} - {size}:
            out = np.full(other, 7, np.uint8)
            with pytest.raises(ValueError, match=f"^a chunk of it has {size} bytes; expected {other}$"):
                decode(encoded, compressor, out)
            assert (out == 7).all()


@COMPRESSORS
@settings(deadline=None)
@given(content=st.binary(min_size=4, max_size=2000), dtype=st.sampled_from(["u1", "<u2", "<f4"]))
def test_values_of_any_dtype_are_decoded(compressor, content, dtype):
    values = np.frombuffer(content[: len(content) // 4 * 4], dtype)
    out = np.empty_like(values)
    decode(with_crc(ENCODE[compressor](values.tobytes())), compressor, out)
    assert out.tobytes() == values.tobytes()


@COMPRESSORS
@settings(deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_another_byte_anywhere_is_damage(compressor, where, change):
    encoded = with_crc(ENCODE[compressor](bytes(range(256)))).copy()
    encoded[int(where * len(encoded))] ^= change
    with pytest.raises(ValueError, match=r"^Stored and computed checksum do not match: "):
        decode(encoded, compressor, np.empty(256, np.uint8))


@COMPRESSORS
def test_what_is_cut_is_damage(compressor):
    encoded = with_crc(ENCODE[compressor](bytes(range(256))))
    for length in range(len(encoded)):
        with pytest.raises(ValueError, match=r"^Stored and computed checksum do not match: "):
            decode(encoded[:length], compressor, np.empty(256, np.uint8))


@COMPRESSORS
def test_what_was_cut_before_its_checksum_was_made_is_damage(compressor):
    """Blosc itself would read on behind its end."""
    encoded = ENCODE[compressor](np.random.default_rng(0).bytes(100_000))
    for length in (0, 3, 4, 8, 15, 16, 17, 20, 1000, len(encoded) // 2, len(encoded) - 1):
        with pytest.raises((ValueError, RuntimeError), match=r"a chunk of it has|[Zz]std|input"):
            decode(with_crc(encoded[:length]), compressor, np.empty(100_000, np.uint8))


def test_a_frame_that_does_not_say_its_size_is_refused():
    assert zstd.decompress(raw_frame(b"abc")) == b"abc"
    with pytest.raises(ValueError, match=r"expected 3$"):
        decode(with_crc(raw_frame(b"abc")), "zstd", np.empty(3, np.uint8))


def test_a_checksum_is_that_of_what_comes_before():
    """The check value of CRC-32C, https://reveng.sourceforge.io/crc-catalogue/17plus.htm#crc.cat.crc-32-iscsi."""
    content = np.frombuffer(b"123456789" + (0xE3069283).to_bytes(4, "little"), np.uint8)
    assert checked(content).tobytes() == b"123456789"
    with pytest.raises(ValueError, match=r"^Stored and computed checksum do not match: 839206e3, "):
        checked(np.append(np.uint8(0), content))
