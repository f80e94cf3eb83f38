"""Listing of a published release: which files belong to which scene, with all problems in one report."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from posixpath import basename, dirname, join, splitext

import pandas as pd

from s2cmc._redact import redacted, without_secrets
from s2cmc.errors import CatalogueError, ReleaseError
from s2cmc.files import OUTLINE_BYTES, TABLE_BYTES
from s2cmc.release import ALT_PREFIX, PARTS, SHAPEFILE_SUFFIXES, TABLE_FILE
from s2cmc.schema import SPLITS, Product
from s2cmc.storage import Location, unreadable

from ..records import GIVE_UP, KeptRecord
from .containers import Member, PassingMember, ZipMember, inner_members, printable
from .filesystems import release_filesystem
from .layouts import REQUIRED_PARTS, SHOWN, AnyMember, find_layout, is_stray, join_names, shorten
from .tables import read_scenes, read_table

FILE_NAMES = {
    "subscenes": re.compile(r"(?P<scene>.+)\.(?i:npy|npz)"),
    "masks": re.compile(r"(?P<scene>.+)\.(?i:npy|npz)"),
    "alt_masks": re.compile(rf"(?P<prefix>{ALT_PREFIX})?(?P<scene>.+)\.(?i:npy|npz)"),
    "shapefiles": re.compile(rf"(?P<scene>.+)(?P<suffix>(?i:{'|'.join(map(re.escape, SHAPEFILE_SUFFIXES))}))"),
    "thumbnails": re.compile(r"(?P<scene>.+)\.(?i:png)"),
}
"""Patterns of the file names of each part without folders; `scene` is the product ID."""

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


_READ_SUFFIXES = (".shp", ".prj")  # all else of a shapefile says nothing of the place
_OTHER_OUTLINES = (".geojson", ".json", ".gpkg", ".kml", ".gml")

_FOLDERS = re.compile(r"(?:(?!\.{1,2}/)[^/:]+/)*")  # of a name that leads nowhere else, as "../" and "C:/" do


@dataclass(frozen=True)
class SceneSource:
    """The files of one scene.

    Attributes
    ----------
    product : Product
    subscene, mask : Member
    alt_mask, thumbnail : Member or None
    shapefile : mapping of str to Member
        By suffix, ``.shp`` and, if there is one, ``.prj``; empty where the scene has none.
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
        Rows of its scenes in the order of the table, columns as published; then those of the user's own that are kept.
    table_file : Member
    table_md5 : str
        MD5 of the whole published table file.
    scenes : tuple of SceneSource
        One for each row of `table`.
    synthetic : bool
        The release says that its pixels are made up.
    warnings : tuple of str
        Oddities that do not prevent a conversion.
    record : KeptRecord, optional
        The record it is, if it is one.
    streamed : str
        Path of the zip of all subscenes, if its server honours no ranges: it is read as it streams by.
    is_whole : bool
        No scenes of the release were left out.
    """

    url: str
    table: pd.DataFrame
    table_file: Member
    table_md5: str
    scenes: tuple[SceneSource, ...]
    synthetic: bool
    warnings: tuple[str, ...]
    record: KeptRecord | None = None
    streamed: str = ""
    is_whole: bool = True

    def fingerprint(self, variable: str | None = None, first: int = 0, last: int | None = None) -> str:
        """Return the SHA-256 over ending, size and CRC-32 (zip) or modification time (folder) of files.

        The files are those of the scenes from `first` up to, not including, `last`: all of them, or those from which
        `variable` of the store is made.
        """
        digest = hashlib.sha256()
        for source in self.scenes[first:last]:
            for member in source.members(variable):
                digest.update(f"{source.scene} {splitext(member.name)[1].lower()} {member.identity}\n".encode())
        return digest.hexdigest()


def open_release(
    url: str,
    *,
    scenes: Sequence[str] | None = None,
    skip: Sequence[str] = (),
    keep_columns: bool = False,
    thumbnails: bool = True,
    release_options: Mapping[str, object] | None = None,
    keep: Location | None = None,
    give_up: float = GIVE_UP,
) -> Release:
    """List a release and check that it is whole. Its table is read, but no array.

    Parameters
    ----------
    url : str
        Folder or zip, URL that fsspec knows, or address of a record; see `find_layout` for what may differ from the
        published layout.
    scenes : sequence of str, optional
        Product IDs to keep.
    skip : sequence of str, optional
        Product IDs to leave out.
    keep_columns : bool
        Keep columns of the table that are not published ones.
    thumbnails : bool
        Without them, what stands in their place is not looked at.
    release_options : mapping, optional
        Options of its fsspec file system.
    keep : str or path, optional
        Folder that keeps what is fetched of a record.
    give_up : float
        Seconds in which nothing of a record arrives, after which it is given up.

    Raises
    ------
    ReleaseError
        If files are missing, duplicated or misnamed, or the table is wrong; one line for each problem.
    """
    filesystem, root = release_filesystem(url, release_options, keep=keep, give_up=give_up)
    try:
        layout = find_layout(filesystem, root, url, thumbnails=thumbnails)
    except unreadable(ValueError) as error:
        if isinstance(error, CatalogueError):
            raise
        raise ReleaseError(f"{url} cannot be read: {error}") from without_secrets(error)
    content = layout.table.read(TABLE_BYTES)
    table, notes, problems = _read_table(content, f"{url}/{TABLE_FILE}", keep_columns)
    listing = _Listing(
        set(table["scene"]),
        set(_choose_scenes(table, scenes, skip)),
        all_wanted=scenes is None and not skip,
        problems=[*layout.problems, *problems],
        warnings=[*layout.warnings, *notes],
    )
    for part, members in layout.parts.items():
        listing.add_part(part, members)
    if layout.streamed:
        listing.add_streamed("subscenes", layout.streamed)
    chosen = table[table["scene"].isin(listing.chosen)].reset_index(drop=True)
    sources = listing.sources(chosen["scene"])
    listing.warn_of_absent(chosen, thumbnails=thumbnails)
    if listing.problems:
        raise ReleaseError(
            f"{url} cannot be converted: {len(listing.problems)} errors, {len(listing.warnings)} warnings",
            [*listing.problems, *(f"warning: {line}" for line in listing.warnings)],
        )
    record = filesystem if isinstance(filesystem, KeptRecord) else None
    if record:
        _expect_files(record, sources)
    return Release(
        url=redacted(url),
        table=chosen,
        table_file=layout.table,
        table_md5=hashlib.md5(content, usedforsecurity=False).hexdigest(),
        scenes=tuple(sources),
        synthetic=layout.synthetic,
        warnings=tuple(listing.warnings),
        record=record,
        streamed=layout.streamed,
        is_whole=scenes is None and not skip,
    )


def _expect_files(record: KeptRecord, sources: Iterable[SceneSource]) -> None:
    """Announce the small files of the scenes, so that neighbours come by one request."""
    spans: dict[str, list[tuple[int, int]]] = {}
    for source in sources:
        for member in source.members():
            if isinstance(member, ZipMember) and member is not source.subscene:
                spans.setdefault(member.archive, []).append((member.info.header_offset, member.end))
    for path, expected in spans.items():
        record.expect(path, expected)


def scene_of_subscene(name: str) -> str | None:
    """Return the scene of a member of the zip of all subscenes; None if its name is not one."""
    match = FILE_NAMES["subscenes"].fullmatch(basename(name))
    return match["scene"] if match and not is_stray(name) else None


def _read_table(content: bytes, path: str, keep_columns: bool) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Return the table, notes and problems; files are listed in any case, so that one report holds everything."""
    try:
        table = read_table(content, path, keep_columns=keep_columns)
        return table.rows, [f"{TABLE_FILE}: {line}" for line in table.notes], []
    except ReleaseError as error:
        scenes = read_scenes(content)
        if scenes is None:
            raise
        return scenes, [], [f"{TABLE_FILE}: {line}" for line in error.problems]


def _choose_scenes(table: pd.DataFrame, scenes: Sequence[str] | None, skip: Sequence[str]) -> Iterable[str]:
    known = list(table["scene"])
    asked = [*(scenes or []), *skip]
    if unknown := [scene for scene in asked if scene not in set(known)]:
        raise ReleaseError(
            f"{len(unknown)} of the {len(asked)} scenes asked for are not in the table",
            [f"{scene!r}{suggestion(scene, known)}" for scene in unknown],
        )
    chosen = [scene for scene in (known if scenes is None else scenes) if scene not in set(skip)]
    if not chosen and known:
        raise ReleaseError("no scene was asked for; leave `scenes` out to convert all")
    return chosen


def _shown(member: Member) -> str:
    return printable(member.path)


@dataclass(frozen=True)
class _Named:
    """A file whose name is that of a scene.

    Attributes
    ----------
    member : Member
    folder : str
        Where it is in its part, without the scene's own folder of a shapefile; with a final ``/``, or empty.
    scene : str
    suffix : str
        Of a file of a shapefile; else empty.
    prefixed : bool
        It has the prefix of alternative masks.
    """

    member: Member
    folder: str
    scene: str
    suffix: str
    prefixed: bool

    @property
    def place(self) -> str:
        """Container and folders, for messages."""
        own = self.member.name[len(self.folder) :]
        return _shown(self.member).replace("\\", "/").removesuffix(own)


def _named(part: str, member: Member) -> _Named | None:
    """Read the name of a file; None if it is not that of a scene."""
    file = basename(member.name)
    match = FILE_NAMES[part].fullmatch(file)
    if match is None:
        return None
    found = match.groupdict()
    folder = member.name.removesuffix(file)
    if part == "shapefiles" and basename(folder.rstrip("/")) == found["scene"]:
        folder = folder.removesuffix(f"{found['scene']}/")
    return _Named(member, folder, found["scene"], found.get("suffix", "").lower(), found.get("prefix") is not None)


def _files_of_outline(member: AnyMember) -> list[AnyMember]:
    """List the files of a zip of one outline, as if they were where the zip is."""
    if member.nbytes > OUTLINE_BYTES:
        raise ReleaseError(
            f"{_shown(member)} has {member.nbytes} bytes, which is more than the {OUTLINE_BYTES} that are taken"
        )
    folder = dirname(member.name)
    return [
        replace(file, name=join(folder, basename(file.name)))
        for file in inner_members(member)
        if not is_stray(file.name)
    ]


def _is_product(scene: str) -> bool:
    try:
        Product.parse(scene)
    except CatalogueError:
        return False
    return True


@dataclass
class _Listing:
    """Files, problems and warnings of the parts that have been listed so far."""

    known: set[str]
    chosen: set[str]
    all_wanted: bool
    files: dict[str, dict[str, dict[str, Member]]] = field(default_factory=dict)  # part -> scene -> suffix
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    suggested: int = 0

    def add_part(self, part: str, members: Sequence[AnyMember]) -> None:
        scenes: dict[str, dict[str, Member]] = {}
        self.files[part] = scenes
        warnings: list[str] = []
        problems: list[str] = []
        if part == "shapefiles":
            members = self._of_outlines(members, warnings, problems)
        named = [(member, _named(part, member)) for member in members]
        folder = self._find_folder(part, [file for _, file in named if file and file.scene in self.known])
        for member, file in named:
            if file is None or file.folder != folder:
                warnings.append(f"misnamed: {_shown(member)} is not a name of {part} ({FILE_FORMS[part]})")
            elif file.scene not in self.known:
                (problems if self._is_problem(part, file.scene) else warnings).append(self._unknown(file.scene, member))
            elif file.scene in self.chosen and file.suffix in ("", *_READ_SUFFIXES):
                first = scenes.setdefault(file.scene, {}).setdefault(file.suffix, member)
                if first is not member:
                    problems.append(f"duplicated: {_shown(first)} and {_shown(member)} hold the same of one scene")
        if members and not scenes and part in REQUIRED_PARTS:
            problems.append(f"missing: none of the {len(members)} files of {part} is of a scene that is wanted")
        self.warnings += shorten(warnings, f"misnamed or extra: {{}} more files of {part}")
        self.problems += shorten(problems, f"duplicated or extra: {{}} more files of {part}")

    def add_streamed(self, part: str, path: str) -> None:
        """Take it that a zip which cannot be listed holds the file of each scene."""
        self.files[part] = {scene: {"": PassingMember(f"{path}!{scene}.npy", f"{scene}.npy")} for scene in self.chosen}

    def _of_outlines(self, members: Iterable[AnyMember], warnings: list[str], problems: list[str]) -> list[AnyMember]:
        """Replace the zip of an outline by its files, and leave out outlines of other formats."""
        files: list[AnyMember] = []
        others: list[str] = []
        for member in members:
            scene, ending = splitext(basename(member.name))
            if ending.lower() in _OTHER_OUTLINES:
                others.append(_shown(member))
            elif ending.lower() != ".zip" or scene not in self.known:
                files.append(member)
            elif scene in self.chosen:  # only these are opened
                try:
                    files += _files_of_outline(member)
                except ReleaseError as error:
                    problems.append(str(error))
        if others:
            warnings.append(
                f"not read: {len(others)} outlines that are no shapefiles, {others[0]} first; expected "
                f"{FILE_FORMS['shapefiles']}, as ogr2ogr makes it"
            )
        return files

    def _find_folder(self, part: str, files: Sequence[_Named]) -> str:
        """Return the folder that the files of a part are in; say where its name, or theirs, is not as published."""
        folders: dict[str, list[_Named]] = {}
        for file in files:
            if _FOLDERS.fullmatch(file.folder) and file.folder.isprintable():
                folders.setdefault(file.folder, []).append(file)
        # The published zips have a top folder of their own name.
        usual = ("", f"{part}/") if files and isinstance(files[0].member, ZipMember) else ("",)
        folder = max(usual, key=lambda name: len(folders.get(name, ())))
        if folder not in folders and folders:
            folder, *others = folders
            if others:
                counted = [f"{folders[name][0].place} ({len(folders[name])} files)" for name in folders]
                self.problems.append(
                    f"several: {join_names(counted, 'and')} are there; which is {part}? Move the others elsewhere"
                )
            else:
                self.warnings.append(f"found {folders[folder][0].place}; taken as {part}/")
        bare = [_shown(file.member) for file in folders.get(folder, ()) if not file.prefixed]
        if part == "alt_masks" and bare:
            self.warnings.append(
                f"found {len(bare)} files of alt_masks without {ALT_PREFIX} in their names, {bare[0]} first; taken"
            )
        return folder

    def _unknown(self, scene: str, member: Member) -> str:
        """Describe a file of a scene that is not in the table."""
        if not _is_product(scene):
            return f"misnamed: {_shown(member)} names no scene{self._suggestion(scene)}"
        return f"extra: {_shown(member)} is of a scene without a row in {TABLE_FILE}{self._suggestion(scene)}"

    def _is_problem(self, part: str, scene: str) -> bool:
        """Return True for a scene with pixels and no row, unless only some scenes were requested."""
        return part in REQUIRED_PARTS and self.all_wanted and _is_product(scene)

    def _suggestion(self, scene: str) -> str:
        """Return the nearest scene for the first unknown names only, as each is compared with all scenes."""
        self.suggested += 1
        return suggestion(scene, self.known) if self.suggested <= SHOWN else ""

    def sources(self, scenes: Iterable[str]) -> list[SceneSource]:
        sources = []
        problems: list[str] = []
        for scene in scenes:
            files = {part: self.files[part].get(scene, {}) for part in PARTS}
            missing = [
                f"missing: {part} has no file of scene {scene}"
                for part in REQUIRED_PARTS
                if self.files[part] and not files[part]
            ]
            if files["shapefiles"] and ".shp" not in files["shapefiles"]:
                missing.append(f"missing: the shapefile of {scene} lacks .shp")
            problems += missing
            try:
                product = Product.parse(scene)
            except CatalogueError as error:
                problems.append(f"misnamed: {TABLE_FILE}: {error}")
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
        self.problems += shorten(problems, "missing or misnamed: {} more files")
        return sources

    def warn_of_absent(self, table: pd.DataFrame, *, thumbnails: bool) -> None:
        expected = {
            "alt_masks": set(table.loc[table["dataset"].isin(SPLITS["test"]), "scene"]),
            "shapefiles": set(table["scene"]),
        }
        if thumbnails:
            expected["thumbnails"] = set(table["scene"])
        for part, scenes in expected.items():
            if absent := scenes - set(self.files[part]):
                self.warnings.append(f"absent: {part} of {len(absent)} of {len(scenes)} scenes that should have one")
