"""Read arrays of one chunk, as coordinates are: there are dozens, and zarr takes some milliseconds for each.

Strings are stored as https://github.com/zarr-developers/zarr-extensions/tree/main/codecs/vlen-utf8 says.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from s2cmc.chunkcodec import decode, decode_text

if TYPE_CHECKING:
    import zarr

    from s2cmc.objects import CatalogueStore

_TEXT_NBYTES = 1024
"""Bytes of one text, at most: of those that are stored the longest has some 60."""


@dataclass(frozen=True)
class OneChunk:
    """An array of one dimension whose values are one object.

    Attributes
    ----------
    key : str
        Of the object.
    size : int
        Values.
    dtype : dtype
        Of the values; NumPy's StringDType for texts.
    """

    key: str
    size: int
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, array: "zarr.Array[Any]") -> "OneChunk | None":
        """The chunk of an array; None where there are more, or only zarr knows how to read it."""
        codecs = [codec.to_dict() for codec in getattr(array.metadata, "codecs", ())]
        if array.ndim != 1 or not array.shape[0] or array.shards or array.chunks != array.shape or not codecs:
            return None
        first = "vlen-utf8" if array.dtype.kind == "T" else "bytes"
        endian = codecs[0].get("configuration", {}).get("endian", "little")
        named = array.metadata.encode_chunk_key((0,)) == "c/0"
        if [codec["name"] for codec in codecs] != [first, "zstd", "crc32c"] or endian != "little" or not named:
            return None
        return cls(f"{array.path}/c/0", array.shape[0], np.dtype(array.dtype))

    def read(self, store: "CatalogueStore") -> np.ndarray:
        """All values.

        Raises
        ------
        StoreError
            If the object is missing, or cannot be read.
        ValueError, RuntimeError
            If it is not what was written.
        """
        encoded = np.frombuffer(store.held(self.key) or store.run(store.fetch(self.key)), np.uint8)
        if self.dtype.kind != "T":
            values = np.empty(self.size, self.dtype.newbyteorder("<"))
            decode(encoded, "zstd", values)
            return values.astype(self.dtype, copy=False)
        texts = decode_text(encoded, self.size * _TEXT_NBYTES)
        if len(texts) != self.size:
            raise ValueError(f"it holds {len(texts)} texts; expected {self.size}")
        return np.array(texts, self.dtype)
