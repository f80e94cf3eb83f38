"""Chunks as they are encoded: decoded by the C codecs that zarr uses too, their checksum and size looked at first."""

import numpy as np

_CRC_NBYTES = 4


def decode(encoded: np.ndarray, compressor: str, out: np.ndarray) -> None:
    """Decode a chunk.

    Parameters
    ----------
    encoded : ndarray of uint8
        Followed by its crc32c.
    compressor : {"blosc", "zstd"}
    out : ndarray
        Contiguous, of the size of the chunk.

    Raises
    ------
    ValueError, RuntimeError
        If it is damaged, or holds a chunk of another size.
    """
    from numcodecs import blosc, zstd

    content = checked(encoded)
    nbytes = _nbytes_of_blosc(content) if compressor == "blosc" else _nbytes_of_zstd(content)
    if nbytes != out.nbytes:  # the codecs leave the rest of `out` as it is
        raise ValueError(f"a chunk of it has {nbytes} bytes; expected {out.nbytes}")
    (blosc if compressor == "blosc" else zstd).decompress(content, out)


def decode_text(encoded: np.ndarray, most: int) -> list[str]:
    """Decode a chunk of texts, by zstd.

    Parameters
    ----------
    encoded : ndarray of uint8
        Followed by its crc32c.
    most : int
        Bytes of all texts at most, with 4 bytes for the length of each.

    Raises
    ------
    ValueError, RuntimeError
        If it is damaged, or larger.
    """
    from numcodecs import zstd
    from numcodecs.vlen import VLenUTF8

    content = checked(encoded)
    nbytes = _nbytes_of_zstd(content)
    if nbytes is None or nbytes > most:
        raise ValueError(f"its texts have {nbytes} bytes; expected at most {most}")
    texts: list[str] = VLenUTF8().decode(zstd.decompress(content)).tolist()
    return texts


def checked(content: np.ndarray) -> np.ndarray:
    """What comes before a crc32c, if it agrees."""
    import google_crc32c

    body, stored = content[:-_CRC_NBYTES], content[-_CRC_NBYTES:].tobytes()
    computed = google_crc32c.value(body).to_bytes(_CRC_NBYTES, "little")
    if computed != stored:
        raise ValueError(f"Stored and computed checksum do not match: {stored.hex()}, {computed.hex()}")
    return body


def _nbytes_of_blosc(content: np.ndarray) -> int | None:
    """Bytes that a chunk decodes to: https://github.com/Blosc/c-blosc/blob/main/README_CHUNK_FORMAT.rst.

    None if it is shorter than it says: the codec would read on behind it.
    """
    nbytes, _, encoded_nbytes = np.frombuffer(content[4:16].tobytes().ljust(12, b"\0"), "<u4").tolist()
    return nbytes if len(content) == encoded_nbytes else None


def _nbytes_of_zstd(content: np.ndarray) -> int | None:
    """Bytes that a frame decodes to, if it says so: https://datatracker.ietf.org/doc/html/rfc8878#section-3.1.1.1."""
    if len(content) < 18:
        content = np.append(content, np.zeros(18, np.uint8))
    descriptor = int(content[4])
    single, flag, dictionary = descriptor >> 5 & 1, descriptor >> 6, (0, 1, 2, 4)[descriptor & 3]
    length = (single, 2, 4, 8)[flag]
    start = 5 + (1 - single) + dictionary
    value = int.from_bytes(content[start : start + length].tobytes(), "little")
    if not length:
        return None
    return value + 256 if length == 2 else value
