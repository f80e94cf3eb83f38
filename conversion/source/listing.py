"""Listing of a published release: which files belong to which scene, with all problems in one report."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

import pandas as pd
from fsspec import AbstractFileSystem

from s2cmc._redact import redacted, without_secrets
from s2cmc.errors import CatalogueError, MissingReleaseError, ReleaseError
from s2cmc.files import TABLE_BYTES
from s2cmc.release import ALT_PREFIX, PARTS, SHAPEFILE_SUFFIXES, SYNTHETIC_FILE, TABLE_FILE
from s2cmc.schema import SPLITS, Product
from s2cmc.storage import file_info, filesystem_of, unreadable

from .containers import FileMember, Member, folder_members, zip_members
from .tables import read_scenes, read_table

FILE_NAMES = {
    "subscenes": re.compile(r"(?P<scene>[^/]+)\.(npy|npz)"),
    "masks": re.compile(r"(?P<scene>[^/]+)\.(npy|npz)"),
    "alt_masks": re.compile(rf"{ALT_PREFIX}(?P<scene>[^/]+)\.(npy|npz)"),
    "shapefiles": re.compile(rf"((?P<folder>[^/]+)/)?(?P<scene>[^/]+)({'|'.join(map(re.escape, SHAPEFILE_SUFFIXES))})"),
    "thumbnails": re.compile(r"(?P<scene>[^/]+)\.png"),
}
"""Patterns of the file names of each part; `scene` is the product ID."""

FILE_FORMS = {
    "subscenes": "SCENE.npy",
    "masks": "SCENE.npy",
    "alt_masks": f"{ALT_PREFIX}SCENE.npy",
    "shapefiles": "SCENE/SCENE.shp",
    "thumbnails": "SCENE.png",
}
"""Forms of the file names of each part, for messages."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return the end of an error message about an unknown name: the nearest known name, if one is near."""
    by_capitals = {scene.upper(): scene for scene in known}
    close = get_close_matches(name.upper(), by_capitals, n=1, cutoff=0.8)
    return f"; did you mean {by_capitals[close[0]]}?" if close else ""


REQUIRED_PARTS = ("subscenes", "masks")

_SHOWN = 20  # files with a wrong name that are listed one by one for each part


@dataclass(frozen=True)
class SceneSource:
    """The files of one scene.

    Attributes
    ----------
    product : Product
    subscene, mask : Member
    alt_mask, thumbnail : Member or None
    shapefile : mapping of str to Member
        By suffix (``.shp``, ``.prj``, ...); empty where the scene has none.
    """

    product: Product
    subscene: Member
    mask: Member
    alt_mask: Member | None
    thumbnail: Member | None
    shapefile: Mapping[str, Member]

    @property
    def scene(self) -> str:
        """Product ID."""
        return self.product.id

    def members(self, variable: str | None = None) -> list[Member]:
        """Return all files of the scene, or those from which `variable` of the store is made."""
        by_variable: dict[str, list[Member | None]] = {
            "reflectance": [self.subscene],
            "mask": [self.mask],
            "alt_mask": [self.alt_mask],
            "thumbnail": [self.thumbnail],
            "outline": [*self.shapefile.values()],
        }
        members = by_variable[variable] if variable else [member for part in by_variable.values() for member in part]
        return [member for member in members if member is not None]


@dataclass(frozen=True)
class Release:
    """A release, or the requested scenes of one.

    Attributes
    ----------
    url : str
    table : DataFrame
        Rows of its scenes in the order of the table, columns as published.
    table_md5 : str
        MD5 of the whole published table file.
    scenes : tuple of SceneSource
        One for each row of `table`.
    synthetic : bool
        The release says that its pixels are made up.
    warnings : tuple of str
        Oddities that do not prevent a conversion.
    """

    url: str
    table: pd.DataFrame
    table_md5: str
    scenes: tuple[SceneSource, ...]
    synthetic: bool
    warnings: tuple[str, ...]

    def fingerprint(self, variable: str | None = None, first: int = 0, last: int | None = None) -> str:
        """Return the SHA-256 over name, size and CRC-32 (zip) or modification time (folder) of files.

        The files are those of the scenes from `first` up to, not including, `last`: all of them, or those from which
        `variable` of the store is made.
        """
        digest = hashlib.sha256()
        for source in self.scenes[first:last]:
            for member in source.members(variable):
                digest.update(f"{source.scene} {member.name} {member.identity}\n".encode())
        return digest.hexdigest()


def open_release(
    url: str, *, scenes: Sequence[str] | None = None, release_options: Mapping[str, object] | None = None
) -> Release:
    """List a release and check that it is whole. Its table is read, but no array.

    Parameters
    ----------
    url : str
        Folder, or URL that fsspec knows.
    scenes : sequence of str, optional
        Product IDs to keep.
    release_options : mapping, optional
        Options of its fsspec file system.

    Raises
    ------
    ReleaseError
        If files are missing, duplicated or misnamed, or the table is wrong; one line for each problem.
    """
    try:
        filesystem, root = filesystem_of(url, release_options)
    except (ValueError, ImportError) as error:
        raise ReleaseError(f"{url} cannot be read: {error}") from without_secrets(error)
    try:
        info = file_info(filesystem, f"{root}/{TABLE_FILE}")
        synthetic = info and file_info(filesystem, f"{root}/{SYNTHETIC_FILE}")
    except unreadable(ValueError) as error:
        raise ReleaseError(f"{url} cannot be read: {error}") from without_secrets(error)
    if info is None:
        raise MissingReleaseError(
            f"{url} holds no {TABLE_FILE}; expected a folder with it and {', '.join(f'{p}.zip' for p in PARTS)} "
            "(or folders of those names)"
        )
    content = FileMember(filesystem, f"{root}/{TABLE_FILE}", TABLE_FILE, "", info.get("size") or 0).read(TABLE_BYTES)
    table, problems = _read_table(content, f"{url}/{TABLE_FILE}")
    listing = _Listing(set(table["scene"]), set(_choose_scenes(table, scenes)), problems=problems)
    for part in PARTS:
        try:
            members = _part_members(filesystem, root, part)
        except unreadable() as error:
            raise ReleaseError(f"{url}: {part} cannot be listed: {error}") from without_secrets(error)
        listing.add_part(part, members)
    chosen = table[table["scene"].isin(listing.chosen)].reset_index(drop=True)
    sources = listing.sources(chosen["scene"])
    listing.warn_of_absent(chosen)
    if listing.problems:
        raise ReleaseError(
            f"{url} cannot be converted: {len(listing.problems)} errors, {len(listing.warnings)} warnings",
            [*listing.problems, *(f"warning: {line}" for line in listing.warnings)],
        )
    return Release(
        url=redacted(url),
        table=chosen,
        table_md5=hashlib.md5(content, usedforsecurity=False).hexdigest(),
        scenes=tuple(sources),
        synthetic=synthetic is not None,
        warnings=tuple(listing.warnings),
    )


def _read_table(content: bytes, path: str) -> tuple[pd.DataFrame, list[str]]:
    """Return the table and its problems; the files are listed in any case, so that one report holds everything."""
    try:
        return read_table(content, path), []
    except ReleaseError as error:
        scenes = read_scenes(content)
        if scenes is None:
            raise
        return scenes, [f"{TABLE_FILE}: {line}" for line in error.problems]


def _choose_scenes(table: pd.DataFrame, scenes: Sequence[str] | None) -> Iterable[str]:
    if scenes is None:
        return table["scene"]
    known = list(table["scene"])
    if unknown := [scene for scene in scenes if scene not in set(known)]:
        raise ReleaseError(
            f"{len(unknown)} of the {len(scenes)} scenes asked for are not in the table",
            [f"{scene!r}{suggestion(scene, known)}" for scene in unknown],
        )
    if not scenes:
        raise ReleaseError("no scene was asked for; leave `scenes` out to convert all")
    return scenes


def _part_members(filesystem: AbstractFileSystem, root: str, part: str) -> list[Member]:
    members: list[Member] = []
    if file_info(filesystem, f"{root}/{part}.zip"):
        members += zip_members(filesystem, f"{root}/{part}.zip")
    if filesystem.isdir(f"{root}/{part}"):
        members += folder_members(filesystem, f"{root}/{part}")
    return members


@dataclass
class _Listing:
    """Files, problems and warnings of the parts that have been listed so far."""

    known: set[str]
    chosen: set[str]
    files: dict[str, dict[str, dict[str, Member]]] = field(default_factory=dict)  # part -> scene -> suffix
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    suggested: int = 0

    def add_part(self, part: str, members: list[Member]) -> None:
        scenes: dict[str, dict[str, Member]] = {}
        self.files[part] = scenes
        if not members and part in REQUIRED_PARTS:
            self.problems.append(f"missing: neither {part}.zip nor folder {part}/ holds a file")
        before = len(self.warnings)
        for member in members:
            match = FILE_NAMES[part].fullmatch(member.name)
            if match is None or match.groupdict().get("folder") not in (None, match["scene"]):
                self.warnings.append(f"misnamed: {member.path} is not a name of {part} ({FILE_FORMS[part]})")
            elif match["scene"] not in self.known:
                self._add_unknown(part, match["scene"], member)
            elif match["scene"] in self.chosen:
                suffix = member.name[match.end("scene") :] if part == "shapefiles" else ""
                first = scenes.setdefault(match["scene"], {}).setdefault(suffix, member)
                if first is not member:
                    self.problems.append(f"duplicated: {first.path} and {member.path} hold the same of one scene")

        if members and not scenes and part in REQUIRED_PARTS:
            self.problems.append(f"missing: none of the {len(members)} files of {part} is of a scene that is wanted")
        if (more := len(self.warnings) - before - _SHOWN) > 0:
            self.warnings[before + _SHOWN :] = [f"misnamed or extra: {more} more files of {part}"]

    def _add_unknown(self, part: str, scene: str, member: Member) -> None:
        try:
            Product.parse(scene)
        except CatalogueError:
            self.warnings.append(f"misnamed: {member.path} names no scene{self._suggestion(scene)}")
            return
        line = f"extra: {member.path} is of a scene without a row in {TABLE_FILE}{self._suggestion(scene)}"
        # A scene with pixels and no row is an error, unless only some scenes were requested.
        everything = self.chosen == self.known
        (self.problems if part in REQUIRED_PARTS and everything else self.warnings).append(line)

    def _suggestion(self, scene: str) -> str:
        """Return the nearest scene for the first unknown names only, as each is compared with all scenes."""
        self.suggested += 1
        return suggestion(scene, self.known) if self.suggested <= _SHOWN else ""

    def sources(self, scenes: Iterable[str]) -> list[SceneSource]:
        sources = []
        for scene in scenes:
            files = {part: self.files[part].get(scene, {}) for part in PARTS}
            for part in REQUIRED_PARTS:
                if self.files[part] and not files[part]:
                    self.problems.append(f"missing: {part} has no file of scene {scene}")
            if files["shapefiles"] and not {".shp", ".shx", ".dbf"} <= set(files["shapefiles"]):
                lacking = sorted({".shp", ".shx", ".dbf"} - set(files["shapefiles"]))
                self.problems.append(f"missing: the shapefile of {scene} lacks {', '.join(lacking)}")
            try:
                product = Product.parse(scene)
            except CatalogueError as error:
                self.problems.append(f"misnamed: {TABLE_FILE}: {error}")
                continue
            if all(files[part] for part in REQUIRED_PARTS):
                sources.append(
                    SceneSource(
                        product,
                        files["subscenes"][""],
                        files["masks"][""],
                        files["alt_masks"].get(""),
                        files["thumbnails"].get(""),
                        files["shapefiles"],
                    )
                )
        return sources

    def warn_of_absent(self, table: pd.DataFrame) -> None:
        expected = {
            "alt_masks": set(table.loc[table["dataset"].isin(SPLITS["test"]), "scene"]),
            "shapefiles": set(table["scene"]),
            "thumbnails": set(table["scene"]),
        }
        for part, scenes in expected.items():
            if absent := scenes - set(self.files[part]):
                self.warnings.append(f"absent: {part} of {len(absent)} of {len(scenes)} scenes that should have one")
