"""Damage done to real files: bytes flipped, inserted, removed, repeated, and taken from elsewhere."""

import io
import random
import warnings
import zipfile
from pathlib import Path

from s2cmc.release import TABLE_FILE

_ODD = (b"\0", b"\0\0\0\0", b"\xff", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff")
_ODD += (b"-1", b"9" * 12, b"../", b"\n", b'"', b",")


def damage(content: bytes, other: bytes, draw: random.Random) -> bytes:
    """`content` with one thing to a few changed; `other` is what pieces are taken from."""
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 5))):
        at = draw.choice((draw.randrange(len(changed) + 1), draw.randrange(min(len(changed), 200) + 1)))
        length = draw.choice((1, 1, 2, 4, 8, 100, 1000))
        match draw.randrange(7):
            case 0 if at < len(changed):
                changed[at] ^= 1 << draw.randrange(8)
            case 1 if at < len(changed):
                changed[at] = draw.randrange(256)
            case 2:
                changed[at:at] = draw.choice((draw.randbytes(length), *_ODD))
            case 3:
                del changed[at : at + length]
            case 4:
                del changed[at:]
            case 5:
                odd = draw.choice(_ODD)
                changed[at : at + len(odd)] = odd
            case 6:
                start = draw.randrange(len(other) + 1)
                changed[at : at + draw.choice((0, length))] = other[start : start + length]
    return bytes(changed)


def damage_folder(folder: Path, draw: random.Random) -> str:
    """Damage one file of a whole folder, or one member of a zip in it, its CRC-32 then made to fit; says which."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    tables = [path for path in files if path.name == TABLE_FILE]
    path = draw.choice([*files, *tables])
    other = draw.choice(files).read_bytes()
    if not zipfile.is_zipfile(path) or path.suffix != ".zip" or draw.random() < 0.3:
        path.write_bytes(damage(path.read_bytes(), other, draw))
        return path.name
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    chosen = draw.choice([name for name in members if not name.endswith("/")])
    content = damage(members.pop(chosen), other, draw)
    name = chosen
    if draw.random() < 0.1:
        name = damage(chosen.encode(), other, draw).decode("latin1")
    method = draw.choice((zipfile.ZIP_DEFLATED,) * 8 + (zipfile.ZIP_STORED, zipfile.ZIP_BZIP2))
    path.write_bytes(_packed({**members, name: content}, {name: method}))
    return f"{path.name}!{name}"


def _packed(members: dict[str, bytes], methods: dict[str, int]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings(action="ignore"):
        for name, content in members.items():
            archive.writestr(name or "_", content, methods.get(name))  # names may be there twice
    return buffer.getvalue()
