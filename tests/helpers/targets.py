"""What a target holds after something failed, and places that can fail."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

import s2cmc
from s2cmc.conversion.verify.verification import verify


def state_of(store: Path, releases: Mapping[str, Path]) -> str:
    """The name of the release whose whole store it is, or "started", or "empty"; anything else fails the test."""
    try:
        opened = s2cmc.open_catalogue(store)
    except s2cmc.UnfinishedStoreError:
        return "started"
    except s2cmc.StoreError as error:
        assert "holds no catalogue" in str(error)  # noqa: PT017
        return "empty"
    tables = {
        name: len((folder / "classification_tags.csv").read_text().splitlines()) - 1
        for name, folder in releases.items()
    }
    (name,) = (name for name, scenes in tables.items() if scenes == opened.sizes["scene"])
    assert verify(str(store), str(releases[name])) == []
    return name


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own in memory, of a size that can be too small."""
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=False, capture_output=True
    )
    if made.returncode:
        pytest.skip(f"nothing can be mounted here: {made.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=False, capture_output=True)  # a test may have done so


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


@contextmanager
def without_rights() -> Iterator[None]:
    """As a user who owns nothing; as oneself, where one is not root anyway."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
