"""Damaged files, releases and predictions: ``python -m helpers.fuzz [SECONDS] [SEED]``, or ``make fuzz``.

A damaged file is read, or refused by one error. A damaged release is converted to a store that is proved against it, or
refused, and then nothing opens. Nothing else may come of it: no other exception, no warning, no other file, not much
memory, not much time. An input of which something else came is kept in build/fuzz.
"""

import io
import logging
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import xarray as xr
from fsspec.implementations.memory import MemoryFileSystem

import s2cmc
from helpers.mutations import damage, damage_folder
from s2cmc.conversion.convert.conversion import convert
from s2cmc.conversion.source.containers import zip_members
from s2cmc.conversion.source.outlines import read_outline
from s2cmc.conversion.source.tables import read_scenes, read_table
from s2cmc.conversion.source.thumbnails import read_thumbnail
from s2cmc.conversion.verify.verification import verify
from s2cmc.errors import CatalogueError, StoreError
from s2cmc.files.npy import open_array, read_array
from s2cmc.schema.products import Product
from s2cmc.synthetic.make import make_release

KEPT = Path("build/fuzz")
SECONDS = 60.0
"""Longest time that one input may take."""
NBYTES = 100_000_000
"""Memory that one input of a hundred kilobytes may take."""

SIZE = 16
FORMS = (("zip", "npy"), ("folder", "npy"), ("folder", "npz"), ("zip", "npz"))


class Flaw(AssertionError):  # noqa: N818, it is none of the program
    """Something came of an input that must not."""


def make_originals(folder: Path) -> list[Path]:
    """Small releases in all forms."""
    return [make_release(folder / f"{a}-{b}", scenes=3, size=SIZE, layout=a, arrays=b) for a, b in FORMS]


def make_predictions(folder: Path, store: Path) -> list[Path]:
    """Predictions in all forms: npy, npz and GeoTIFF in folders, and in a zip."""
    import numpy as np
    import rasterio

    catalogue = s2cmc.open_catalogue(store)
    masks = dict(zip(catalogue["scene"].to_numpy().tolist(), catalogue["mask"].to_numpy(), strict=True))
    for name in ("npy", "npz", "tif", "zip/p"):
        (folder / name).mkdir(parents=True)
    with warnings.catch_warnings(action="ignore"):  # that it lies nowhere
        for scene, mask in masks.items():
            np.save(folder / "npy" / f"{scene}.npy", mask)
            np.savez_compressed(folder / "npz" / f"{scene}.npz", mask)
            shape = {"count": 1, "height": SIZE, "width": SIZE}
            with rasterio.open(folder / "tif" / f"{scene}.tif", "w", driver="GTiff", dtype="uint8", **shape) as raster:
                raster.write(mask, 1)
    shutil.make_archive(str(folder / "zip" / "p"), "zip", folder / "npy")
    (folder / "zip" / "p").rmdir()
    return [folder / name for name in ("npy", "npz", "tif", "zip")]


def files_of(releases: list[Path]) -> dict[Path, bytes]:
    """Content of every file that has a reader."""
    files = (file for release in releases for file in sorted(release.rglob("*")))
    return {file: file.read_bytes() for file in files if file.suffix in READERS}


def attempt_file(path: Path, content: bytes) -> bool:
    """Read a file by itself; whether it was taken."""
    with _watched():
        try:
            READERS[path.suffix](path, content)
        except CatalogueError as error:
            _check_message(error)
            return False
        return True


def _read_arrays(path: Path, content: bytes) -> None:
    """Whole and in blocks it is the same array, or an error."""
    found = []
    for read in (lambda: read_array(content, path.name), lambda: open_array(io.BytesIO(content), path.name).read()):
        try:
            found.append(read().tobytes())
        except CatalogueError as error:
            found.append(error)
    if any(isinstance(one, CatalogueError) for one in found):
        if not all(isinstance(one, CatalogueError) for one in found):
            raise Flaw(f"read in one way only: {found}")
        raise found[0]
    if found[0] != found[1]:
        raise Flaw("whole and in blocks it differs")


def _read_members(path: Path, content: bytes) -> None:
    filesystem = MemoryFileSystem()
    filesystem.pipe_file(f"/{path.name}", content)
    for member in zip_members(filesystem, f"/{path.name}"):
        with suppress(CatalogueError):
            member.read()


def _read_outline(path: Path, content: bytes) -> None:
    files = {suffix: path.with_suffix(suffix).read_bytes() for suffix in (".shp", ".prj")}
    read_outline(files | {path.suffix: content}, Product.parse(path.stem))


READERS: dict[str, Callable[[Path, bytes], object]] = {
    ".csv": lambda path, content: (read_scenes(content), read_table(content, path.name)),
    ".npy": _read_arrays,
    ".npz": _read_arrays,
    ".png": lambda path, content: read_thumbnail(content, path.name),
    ".zip": _read_members,
    ".shp": _read_outline,
    ".prj": _read_outline,
}


def attempt_release(release: Path, store: Path) -> bool:
    """Convert a release; whether it was taken."""
    with _watched():
        try:
            convert(str(release), str(store), workers=2)
        except CatalogueError as error:
            _check_message(error)
            _check_nothing_opens(store)
            return False
        if problems := verify(str(store), str(release)):
            raise Flaw(f"converted, and yet {problems[:3]}")
        return True


def attempt_predictions(predictions: Path, catalogue: xr.Dataset) -> bool:
    """Count predictions; whether they were taken."""
    path = next(predictions.glob("*.zip"), predictions)
    with _watched():
        try:
            catalogue.clouds.confusion(path).compute()
        except CatalogueError as error:
            _check_message(error)
            return False
        return True


@contextmanager
def _watched() -> Iterator[None]:
    """Time, memory and warnings are flaws too."""
    began, before = time.monotonic(), _peak()
    try:
        with warnings.catch_warnings(action="error"):
            yield
    finally:
        seconds, nbytes = time.monotonic() - began, _peak() - before
    if seconds > SECONDS or nbytes > NBYTES:
        raise Flaw(f"took {seconds:.0f} s and {nbytes / 1e6:.0f} MB")


def _peak() -> int:
    """Bytes of memory that this process has had at most."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _check_message(error: CatalogueError) -> None:
    if not str(error).strip() or len(str(error)) > 100_000:
        raise Flaw(f"says {str(error)[:200]!r}") from error


def _check_nothing_opens(store: Path) -> None:
    try:
        s2cmc.open_catalogue(store)
    except StoreError:
        return
    raise Flaw("refused, and yet a store opens")


@dataclass(frozen=True)
class Outcome:
    """What came of a run: inputs that were taken, and refused, and what must not have come of others."""

    taken: int
    refused: int
    flaws: list[str]


def fuzz(seconds: float, seed: int, folder: Path) -> Outcome:
    """Damage and try for some time."""
    originals = make_originals(folder / "originals")
    convert(str(originals[0]), str(folder / "whole.zarr"))
    catalogue = s2cmc.open_catalogue(folder / "whole.zarr").load()
    predictions = make_predictions(folder / "predictions", folder / "whole.zarr")
    target, store = folder / "input", folder / "store.zarr"
    files, there = files_of(originals), _files(folder)
    began, outcomes, flaws = time.monotonic(), [0, 0], []
    for number in count():
        if time.monotonic() - began > seconds:
            return Outcome(outcomes[True], outcomes[False], flaws)
        draw = random.Random(f"{seed}-{number}")  # noqa: S311, what is drawn must come again
        kind = draw.choices(("file", "release", "predictions"), (200, 6, 4))[0]
        if kind == "file":
            path = draw.choice(list(files))
            target.mkdir()
            what, content = path.name, damage(files[path], files[draw.choice(list(files))], draw)
        else:
            shutil.copytree(draw.choice(originals if kind == "release" else predictions), target)
            what = damage_folder(target, draw)
        try:
            if kind == "file":
                taken = attempt_file(path, content)
            elif kind == "release":
                taken = attempt_release(target, store)
            else:
                taken = attempt_predictions(target, catalogue)
            outcomes[taken] += 1
            if stray := _files(folder) - there - _files(target) - _files(store):
                raise Flaw(f"files elsewhere: {min(stray)}")
        except Exception as error:  # noqa: BLE001, whatever it is
            kept = KEPT / f"{seed}-{number}"
            if kind == "file":
                (target / what).write_bytes(content)
            shutil.copytree(target, kept, dirs_exist_ok=True)
            trace = "".join(traceback.format_exception(error)[-3:])
            flaws.append(f"{what}, kept in {kept}: {type(error).__name__}: {error}\n{trace}")
        shutil.rmtree(target)
        shutil.rmtree(store, ignore_errors=True)
    raise AssertionError


def _files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()} if folder.exists() else set()


def main() -> None:
    """Run as told by the command line; exit code 1 where there are flaws."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 300.0
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(1_000_000)
    sys.stdout.write(f"seed {seed}\n")
    logging.disable(logging.WARNING)  # of what is misnamed
    with tempfile.TemporaryDirectory() as folder:
        found = fuzz(seconds, seed, Path(folder))
    sys.stdout.write(
        "\n".join([*found.flaws, f"{found.taken} taken, {found.refused} refused, {len(found.flaws)} flaws\n"])
    )
    sys.exit(bool(found.flaws))


if __name__ == "__main__":
    main()
