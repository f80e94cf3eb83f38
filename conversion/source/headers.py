"""Headers of all arrays and pictures of a release, read before any pixel is, so that one error tells what is wrong."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from fsspec.implementations.local import LocalFileSystem

from s2cmc.errors import CatalogueError, ReleaseError
from s2cmc.files import SIDE, open_array
from s2cmc.schema import BAND_NAMES

from ..records import KeptRecord, RecordError
from .checks import check_mask, check_subscene
from .containers import FileMember, Member, PassingMember, ZipMember, open_content
from .listing import SceneSource
from .thumbnails import read_size

_NPZ_BYTES = 1_000_000  # the directory of an npz is at its end, so that a look at a larger one costs a whole read
_PICTURES = 5  # pictures whose size is looked at where each look is a request


@dataclass(frozen=True)
class Headers:
    """Facts of a release that the headers of its files state.

    Attributes
    ----------
    size : tuple of int
        Pixels (y, x) of a scene.
    masks, alt_masks : dict of str to str
        dtype of the arrays that were looked at, by scene.
    thumbnail : tuple of int or None
        The most common pixels (y, x) of a thumbnail; None if there is none that a store could keep.
    """

    size: tuple[int, int]
    masks: dict[str, str]
    alt_masks: dict[str, str]
    thumbnail: tuple[int, int] | None


@dataclass(frozen=True)
class _Form:
    """Shape and dtype of an array."""

    shape: tuple[int, ...]
    dtype: np.dtype


def read_headers(sources: Sequence[SceneSource], *, thumbnails: bool, whole: bool = True) -> Headers:
    """Read the headers of local files and of zips that are held whole; of remote files, those of the first ones.

    Remote files cost a request each: they are checked scene by scene as they arrive.

    Parameters
    ----------
    sources : sequence of SceneSource
    thumbnails : bool
        Also look at the thumbnails.
    whole : bool
        Every array must be right. Otherwise one that is wrong is an error only when it is needed, as in a repair.

    Raises
    ------
    ReleaseError
        With one line for each array that cannot be stored.
    """
    problems: list[str] = []
    subscenes = _read_forms([(s, s.subscene) for s in sources], problems)
    sizes = Counter((form.shape[0], form.shape[1]) for form in subscenes.values() if _is_subscene(form.shape))
    if not subscenes:  # of a record, none is looked at before its turn
        masks = _read_forms([(s, s.mask) for s in sources], [])
        sizes = Counter((form.shape[0], form.shape[1]) for form in masks.values() if len(form.shape) == 3)
    size = sizes.most_common(1)[0][0] if sizes else None
    for scene, form in subscenes.items():
        _note(problems, check_subscene, form, size, scene)
    dtypes: dict[str, dict[str, str]] = {}
    for part, members in (
        ("masks", [(s, s.mask) for s in sources]),
        ("alt_masks", [(s, s.alt_mask) for s in sources if s.alt_mask]),
    ):
        forms = _read_forms(members, problems)
        for scene, form in forms.items():
            if size:
                _note(problems, check_mask, form, size, scene, part)
        dtypes[part] = {scene: str(form.dtype) for scene, form in forms.items()}
    if size is None or (problems and whole):
        raise ReleaseError(
            f"{len(problems)} arrays cannot be stored; mend these files, or leave their scenes out with --skip",
            problems,
        )
    pictures = [s.thumbnail for s in sources if s.thumbnail] if thumbnails else []
    return Headers(size, dtypes["masks"], dtypes["alt_masks"], _common_size(pictures))


def _is_subscene(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[2] == len(BAND_NAMES) and all(0 < n <= SIDE for n in shape[:2])


def _note[**P](problems: list[str], check: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    """Add the problem that a check finds."""
    try:
        check(*args, **kwargs)
    except CatalogueError as error:
        problems.append(str(error))


def _read_forms(members: Sequence[tuple[SceneSource, Member]], problems: list[str]) -> dict[str, _Form]:
    """Read shape and dtype of the arrays of a part, by scene."""
    forms = {}
    for i, (source, member) in enumerate(members):
        if (i or _is_of_record(member)) and (not _is_near(member) or _is_large_npz(member)):
            continue
        try:
            forms[source.scene] = _read_form(member)
        except CatalogueError as error:
            problems.append(f"{source.scene}: {error}")
    return forms


def _read_form(member: Member) -> _Form:
    """Read shape and dtype of an array; a file that is smaller than its header says is an error."""
    with open_content(member) as content:
        array = open_array(content, member.path)
        if array.nbytes > member.nbytes:
            array.check_size()
    return _Form(array.shape, array.dtype)


def _common_size(members: Sequence[Member]) -> tuple[int, int] | None:
    near = [member for member in members if _is_near(member)]
    sizes = Counter(size for member in near or members[:_PICTURES] if (size := _read_size(member)))
    return sizes.most_common(1)[0][0] if sizes else None


def _read_size(member: Member) -> tuple[int, int] | None:
    try:
        return read_size(member)
    except RecordError:
        raise
    except CatalogueError:  # a picture that cannot be read is left out, with its reason, when its turn comes
        return None


def _is_near(member: Member) -> bool:
    """Return True if a look at the beginning of a file is no request, or brings all of its kind."""
    if isinstance(member, ZipMember):
        kept = isinstance(member.filesystem, KeptRecord) and member.filesystem.keeps_expected(member.archive)
        return kept or member.whole is not None or isinstance(member.filesystem, LocalFileSystem)
    return isinstance(member, FileMember) and isinstance(member.filesystem, LocalFileSystem)


def _is_of_record(member: Member) -> bool:
    """Return True if a look at the beginning of a file would be a request that fetches more than that."""
    return isinstance(member, PassingMember) or (
        isinstance(member, ZipMember) and isinstance(member.filesystem, KeptRecord)
    )


def _is_large_npz(member: Member) -> bool:
    return member.name.endswith(".npz") and member.nbytes > _NPZ_BYTES
