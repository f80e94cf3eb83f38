"""Find the table and the parts of a release: in a folder, in a folder below it, or in one zip of everything.

Years on a disk change names. A name whose meaning is plain is taken and said in a warning; where two may be meant, the
error is a question. A web server cannot be listed, and is asked for the published names only.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from posixpath import basename, splitext
from typing import Any, Protocol

from fsspec import AbstractFileSystem
from fsspec.implementations.http import HTTPFileSystem

from s2cmc._redact import without_secrets
from s2cmc.errors import MissingReleaseError, ReleaseError
from s2cmc.release import PARTS, SYNTHETIC_FILE, TABLE_FILE
from s2cmc.storage import file_info, unreadable

from ..records import NoRangesError
from .checksums import PUBLISHED
from .containers import FileMember, ZipMember, folder_members, follow_link, inner_members, printable, zip_members

AnyMember = FileMember | ZipMember

REQUIRED_PARTS = ("subscenes", "masks")

_STRAY = re.compile(
    r"(?:.*/)?(?:__macosx(?:/.*)?|\.ds_store|thumbs\.db|desktop\.ini|\._[^/]*)", re.IGNORECASE | re.DOTALL
)
"""Paths of files that operating systems leave behind."""

_COPY = re.compile(r"[ _-]*(?:\(\d+\)|copy)$")  # "masks (1).zip", "masks - Copy.zip"

_OTHER_FORMS = {
    r"tar|tar\.\w+|tgz|tbz2?|txz|7z|rar|gz|bz2|xz": "is no zip; unpack it into a folder {part}/",
    r"(?:\w+\.)?(?:crdownload|part|partial|download|aria2)": "is an unfinished download; download it to its end",
    r"(?:zip\.)?[zZ]?\d{2,3}": "is a piece of a split zip; join the pieces (zip -s 0 {part}.zip --out joined.zip)",
}
"""Endings of files that hold a part in a form that is not read, and what to do."""

_DEPTH = 3  # folders below the one that was given, in which the table is looked for
_FOLDERS = 100  # that are looked into at each depth
SHOWN = 20
"""Lines or names that a report has of one kind."""


def shorten(lines: list[str], rest: str) -> list[str]:
    """Return the first `SHOWN` lines, and `rest` with the number of the others."""
    more = len(lines) - SHOWN
    return [*lines[:SHOWN], rest.format(more)] if more > 0 else lines


def join_names(names: list[str], word: str) -> str:
    """Join names; of many, the first ones."""
    if len(names) > SHOWN:
        names = [*names[:SHOWN], f"{len(names) - SHOWN} more"]
    return f" {word} ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


@dataclass
class Layout:
    """A release as it was found.

    Attributes
    ----------
    table : FileMember or ZipMember
    synthetic : bool
        The release says that its pixels are made up.
    parts : mapping of str to list of members
        Files of each part, without those of operating systems; empty where the part is absent.
    streamed : str
        Path of the zip of all subscenes, if its server honours no ranges: it is read as it streams by.
    problems, warnings : list of str
        What is in the way of a conversion, and what was taken for something else than its name says.
    """

    table: AnyMember
    synthetic: bool
    parts: dict[str, list[AnyMember]] = field(default_factory=dict)
    streamed: str = ""
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class _Place(Protocol):
    """A folder, or a folder of a zip."""

    @property
    def name(self) -> str:
        """Path below the place that was given, with a final ``/``; empty there."""

    @property
    def entries(self) -> Mapping[str, bool]:
        """Names of all files (False) and folders (True); no pipes and devices."""

    def file(self, name: str) -> AnyMember:
        """Return a file."""

    def folder(self, name: str) -> list[AnyMember]:
        """List every file below a folder."""

    def below(self, name: str) -> "_Place":
        """Return a folder as a place."""


@dataclass(frozen=True)
class _FolderPlace:
    filesystem: AbstractFileSystem
    root: str
    name: str
    infos: Mapping[str, Mapping[str, Any]]

    @cached_property
    def entries(self) -> Mapping[str, bool]:
        return {
            name: info["type"] == "directory"
            for name, info in self.infos.items()
            if info["type"] in ("file", "directory")
        }

    def file(self, name: str) -> FileMember:
        return FileMember(self.filesystem, f"{self.root}/{name}", name, "", self.infos[name].get("size") or 0)

    def folder(self, name: str) -> list[AnyMember]:
        return list(folder_members(self.filesystem, f"{self.root}/{name}"))

    def below(self, name: str) -> "_FolderPlace":
        root = f"{self.root}/{name}"
        try:
            infos = self.filesystem.ls(root, detail=True)
        except (FileNotFoundError, NotADirectoryError, PermissionError):  # it is only looked through
            infos = []
        return _folder_place(self.filesystem, root, infos, f"{self.name}{name}/")

    def opened(self, name: str) -> "_ZipPlace":
        """Return a zip as a place."""
        return _zip_place(self.filesystem, f"{self.root}/{name}", f"{self.name}{name}!")


def _folder_place(
    filesystem: AbstractFileSystem, root: str, infos: Iterable[Mapping[str, Any]], name: str = ""
) -> _FolderPlace:
    # Object stores list the object of an empty name, which stands for the folder, among its files.
    named = {basename(info["name"].rstrip("/")): info for info in infos if info["name"].strip("/") != root.strip("/")}
    return _FolderPlace(
        filesystem, root, name, {entry: follow_link(filesystem, named[entry]) for entry in sorted(named)}
    )


def _web_place(filesystem: AbstractFileSystem, root: str) -> _FolderPlace:
    """Ask a web server for the published names; for the folder of a part only where there is no zip of it."""
    infos: dict[str, Mapping[str, Any]] = {}
    for name in (TABLE_FILE, SYNTHETIC_FILE, *(f"{part}.zip" for part in PARTS)):
        if info := file_info(filesystem, f"{root}/{name}"):
            infos[name] = info
        elif name == TABLE_FILE:
            break
        elif name.endswith(".zip") and filesystem.isdir(f"{root}/{name.removesuffix('.zip')}"):
            infos[name.removesuffix(".zip")] = {"type": "directory"}
    return _FolderPlace(filesystem, root, "", infos)


@dataclass(frozen=True)
class _ZipPlace:
    members: tuple[tuple[str, ZipMember], ...]  # with the path below this place
    name: str

    @cached_property
    def entries(self) -> Mapping[str, bool]:
        return {path.partition("/")[0]: "/" in path for path, _ in self.members}

    def file(self, name: str) -> ZipMember:
        first, *others = (member for path, member in self.members if path == name)
        if others:
            raise ReleaseError(f"{first.path} is in its zip {len(others) + 1} times; expected one")
        return replace(first, name=name)

    def folder(self, name: str) -> list[AnyMember]:
        return [replace(member, name=path) for path, member in self.below(name).members]

    def below(self, name: str) -> "_ZipPlace":
        return _ZipPlace(tuple(self._folders.get(name, ())), f"{self.name}{name}/")

    @cached_property
    def _folders(self) -> Mapping[str, list[tuple[str, ZipMember]]]:
        folders: dict[str, list[tuple[str, ZipMember]]] = {}
        for path, member in self.members:
            folder, slash, rest = path.partition("/")
            if slash:
                folders.setdefault(folder, []).append((rest, member))
        return folders


def _zip_place(filesystem: AbstractFileSystem, path: str, name: str = "") -> _ZipPlace:
    return _ZipPlace(tuple((member.name, member) for member in zip_members(filesystem, path)), name)


def is_stray(path: str) -> bool:
    """Return True for a file that operating systems leave behind, such as ``.DS_Store``."""
    return _STRAY.fullmatch(path) is not None


def _entries(place: _Place) -> dict[str, bool]:
    """Return the entries of a place that are none of an operating system."""
    return {name: is_folder for name, is_folder in place.entries.items() if not is_stray(name)}


def find_layout(filesystem: AbstractFileSystem, root: str, url: str, *, thumbnails: bool = True) -> Layout:
    """Find the table, and list all parts of a release.

    Parameters
    ----------
    filesystem : AbstractFileSystem
    root : str
        Folder or zip.
    url : str
        The same place, for messages.
    thumbnails : bool
        Without them, what stands in their place is not looked at.

    Raises
    ------
    ReleaseError
        If there is no table, or more than one may be it, or a part cannot be reached. A zip that is damaged is one of
        `Layout.problems`.
    OSError, ClientError
        If the place cannot be reached.
    """
    top = _top_place(filesystem, root, url)
    place, table = _find_table(top, url)
    layout = Layout(place.file(table), SYNTHETIC_FILE in place.entries)
    if place.name:
        layout.warnings.append(
            f"found {printable(place.name + table)}; {printable(place.name)} is taken as the release"
        )
    if table != TABLE_FILE:
        layout.warnings.append(f"found {printable(table)}; taken as {TABLE_FILE}")
    around = _place_of_parts(place, top)
    if around is not place:
        layout.warnings.append(f"found the parts in {printable(around.name) or 'the folder above the table'}; taken")
    strays: list[str] = []
    known = {table, SYNTHETIC_FILE, *PUBLISHED}
    for part in PARTS:
        if part == "thumbnails" and not thumbnails:
            layout.parts[part] = []
            known.update(name for names in _candidates(around, part) for name in names)
            continue
        try:
            layout.parts[part], containers = _list_part(part, around, layout, strays)
            known.update(containers)
        except unreadable() as error:
            raise ReleaseError(f"{url}: {part} cannot be listed: {error}") from without_secrets(error)
    _warn_of_others(layout, {place.name: place, around.name: around}, known, strays)
    return layout


def _top_place(filesystem: AbstractFileSystem, root: str, url: str) -> _Place:
    if isinstance(getattr(filesystem, "fs", filesystem), HTTPFileSystem):
        is_zip = root.lower().endswith(".zip") and file_info(filesystem, root)
        return _zip_place(filesystem, root) if is_zip else _web_place(filesystem, root)
    filesystem.invalidate_cache(root)  # an earlier listing of this process may be of another state
    try:
        infos = filesystem.ls(root or "/", detail=True)
    except (FileNotFoundError, NotADirectoryError):
        infos = []
    if [(info["name"].strip("/"), info["type"]) for info in infos] != [(root.strip("/"), "file")]:
        return _folder_place(filesystem, root, infos)
    if root.lower().endswith(".zip"):
        return _zip_place(filesystem, root)
    raise _no_table(url)


def _no_table(url: str) -> MissingReleaseError:
    return MissingReleaseError(
        f"{url} holds no {TABLE_FILE}; expected a folder with it and {', '.join(f'{p}.zip' for p in PARTS)} "
        "(or folders of those names), or one zip of all these"
    )


def _find_table(top: _Place, url: str) -> tuple[_Place, str]:
    """Return the only place with a table, and the name of the table: the given place, one below it, or its only zip."""
    if found := _search(top, url):
        return found
    zips = [name for name, is_folder in _entries(top).items() if not is_folder and name.lower().endswith(".zip")]
    if isinstance(top, _FolderPlace) and len(zips) == 1 and not _is_part(zips[0]):
        found = _search(top.opened(zips[0]), url)
    if not found:
        raise _no_table(url)
    return found


def _search(top: _Place, url: str) -> tuple[_Place, str] | None:
    places = [top]
    for _ in range(_DEPTH + 1):
        found = [(place, name) for place in places for name in _tables(place)]
        if len(found) > 1:
            names = [printable(place.name + name) for place, name in found]
            raise ReleaseError(f"{url}: which is the table, {join_names(names, 'or')}? Give the folder of one release")
        if found:
            return found[0]
        folders = [(place, name) for place in places for name in _other_folders(place)]
        places = [place.below(name) for place, name in folders[:_FOLDERS]]
    return None


def _tables(place: _Place) -> list[str]:
    files = [name for name, is_folder in _entries(place).items() if not is_folder]
    if TABLE_FILE in files:
        return [TABLE_FILE]
    stem, ending = splitext(TABLE_FILE)
    return [f for f in files if splitext(f)[1].lower() == ending and _spelling(splitext(f)[0]) == _spelling(stem)]


def _other_folders(place: _Place) -> list[str]:
    """Return the folders that hold no part, and are none of an operating system."""
    parts = {name for part in PARTS for names in _candidates(place, part) for name in names}
    return [name for name, is_folder in _entries(place).items() if is_folder and name not in parts]


def _place_of_parts(place: _Place, top: _Place) -> _Place:
    """Return the place of the parts: that of the table, the given one, or the only folder below that has some."""
    for around in (place, top):
        if _has_parts(around):
            return around
    below = [place.below(name) for name in _other_folders(place)[:_FOLDERS]]
    with_parts = [around for around in below if _has_parts(around)]
    return with_parts[0] if len(with_parts) == 1 else place


def _has_parts(place: _Place) -> bool:
    return any(names for part in PARTS for names in _candidates(place, part))


def _spelling(name: str) -> str:
    """Return a name without what people and systems change of it: capitals, separators, the number of a copy."""
    return re.sub(r"[\W_]", "", _COPY.sub("", name.casefold()))


def _is_part(name: str) -> bool:
    return _spelling(splitext(name)[0]) in map(_spelling, PARTS)


def _candidates(place: _Place, part: str) -> list[list[str]]:
    """Return the folder and zip of a part: those of the published name, then those of a like spelling."""
    exact = [name for name in (f"{part}.zip", part) if place.entries.get(name) is (name == part)]
    alike = [
        name
        for name, is_folder in _entries(place).items()
        if (is_folder or name.lower().endswith(".zip"))
        and _spelling(name if is_folder else name[:-4]) == _spelling(part)
        and name not in exact
    ]
    return [exact, alike]


def _list_part(part: str, place: _Place, layout: Layout, strays: list[str]) -> tuple[list[AnyMember], list[str]]:
    """List the files of a part, and the names of its containers; of a like spelling only if no others hold a file.

    What stands in the place of a part and cannot be read is a problem, however optional the part is.
    """
    others = _other_forms(place, part)
    seen: list[str] = []
    for names in _candidates(place, part):
        seen += names
        try:
            listed = {name: _members(place, name, layout, strays) for name in names}
        except NoRangesError:
            layout.streamed = place.file(names[0]).path
            return [], seen
        except ReleaseError as error:
            layout.problems.append("; ".join([str(error), *[*others.values()][:1]]))
            return [], [*seen, *others]
        held = {name: members for name, members in listed.items() if members}
        shown = {name: f"{printable(name)}{'/' * place.entries[name]}" for name in held}
        if len(held) > 1:
            counted = [f"{shown[name]} ({len(members)} files)" for name, members in held.items()]
            layout.problems.append(
                f"several: {join_names(counted, 'and')} are there; which is {part}? Move the others elsewhere"
            )
            return [], seen
        for name, members in held.items():
            if name not in (part, f"{part}.zip"):
                layout.warnings.append(f"found {shown[name]}; taken as {part}")
            return members, seen
    missing = [f"missing: neither {part}.zip nor folder {part}/ holds a file"] if part in REQUIRED_PARTS else []
    layout.problems += [*others.values()][:1] or missing
    return [], [*seen, *others]


def _members(place: _Place, name: str, layout: Layout, strays: list[str]) -> list[AnyMember]:
    """List the files of one container of a part, a folder or a zip."""
    if place.entries[name]:
        members = place.folder(name)
    else:
        nbytes = PUBLISHED[name].nbytes if name in PUBLISHED and not layout.synthetic else None
        members = [*inner_members(place.file(name), nbytes)]
    return [*_without_strays(members, strays)]


def _without_strays(members: Iterable[AnyMember], strays: list[str]) -> Iterator[AnyMember]:
    for member in members:
        if is_stray(member.name):
            strays.append(member.path)
        else:
            yield member


def _other_forms(place: _Place, part: str) -> dict[str, str]:
    """Return the files that hold a part in a form that is not read, and for each what to do."""
    forms: dict[str, str] = {}
    for name, is_folder in _entries(place).items():
        for endings, text in _OTHER_FORMS.items():
            match = re.fullmatch(rf"(.+?)\.(?:{endings})", name, re.IGNORECASE | re.DOTALL)
            if match and not is_folder and _spelling(match[1]) == _spelling(part):
                forms[name] = f"{printable(name)} {text.format(part=part)}"
    return forms


def _warn_of_others(layout: Layout, places: Mapping[str, _Place], known: set[str], strays: list[str]) -> None:
    """Name what is no part of a release, and count the files of operating systems."""
    unknown = []
    for place in places.values():
        others = {other.removeprefix(place.name).partition("/")[0] for other in places}
        for name, is_folder in place.entries.items():
            if is_stray(name):
                strays.append(name)
            elif name not in known | others:
                unknown.append(f"{printable(name)}{'/' * is_folder}")
    if unknown:
        layout.warnings.append(f"not part of a release, left alone: {join_names(unknown, 'and')}")
    if strays:
        first = printable(strays[0])
        layout.warnings.append(f"ignored: {len(strays)} files and folders of operating systems, {first} first")
