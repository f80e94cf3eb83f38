"""From bytes to arrays: npy and npz. Nothing is ever unpickled."""

import io
import lzma
import zipfile
import zlib
from math import prod
from tokenize import TokenError

import numpy as np

from s2cmc.errors import ReleaseError

# RuntimeError: encrypted, or (its child NotImplementedError) of an unknown method or version.
_DAMAGED_ZIP = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError, ValueError, OSError, EOFError)


def read_array(content: bytes, path: str) -> np.ndarray:
    """Read the one array of an npy or npz file; of an npy it is a read-only view of `content`.

    Raises
    ------
    ReleaseError
        If it holds no array, several, or Python objects, or its size is not what its header says.
    """
    if not content.startswith(b"PK"):
        return _read_npy(content, path)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
            if len(names) != 1:
                raise ReleaseError(f"{path} holds {len(names)} arrays ({', '.join(names)}); expected one")
            return _read_npy(archive.read(names[0]), f"{path}!{names[0]}")
    except _DAMAGED_ZIP as error:
        raise ReleaseError(f"{path} is not a readable npz: {error}") from error


def _read_npy(content: bytes, path: str) -> np.ndarray:
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran_order, dtype = read_header(file)
    except (ValueError, KeyError, TypeError, SyntaxError, TokenError) as error:
        raise ReleaseError(f"{path} is not a readable npy (version 1 or 2): {error}") from error
    if dtype.hasobject:
        raise ReleaseError(f"{path} holds Python objects ({dtype}); they are never loaded")
    expected, found = prod(shape) * dtype.itemsize, len(content) - file.tell()
    if any(n < 0 for n in shape) or found != expected:
        raise ReleaseError(f"{path}: shape {shape} of {dtype} takes {expected} bytes, but {found} follow its header")
    flat = np.frombuffer(content, dtype, offset=file.tell())
    return flat.reshape(shape, order="F" if fortran_order else "C")
