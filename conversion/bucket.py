"""A bucket that is listed and written to. Objects appear whole or not at all; conditional puts decide who wins."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

from s2cmc.access import Access, has_obstore, scheme_of
from s2cmc.errors import StoreError
from s2cmc.faults import explain
from s2cmc.transport import object_store

from .lease import Lease, mark_of, put_if_same

_KEPT = "public, max-age=31536000"
_ASKED_ANEW = "no-cache"
_MOVERS = 16  # copies side by side


def is_bucket(url: str) -> bool:
    """There is a `Bucket` for it."""
    return has_obstore(url) and not scheme_of(url).startswith("http")


class Bucket:
    """Objects below a URL.

    Parameters
    ----------
    url : str
        ``s3://``, ``gs://`` or ``az://``.
    access : Access
    unchanging : bool
        Nothing that is written here is ever changed, so that caches may keep it.
    """

    def __init__(self, url: str, access: Access, *, unchanging: bool = False) -> None:
        self.url = url
        self._access = access
        self._caching = _KEPT if unchanging else _ASKED_ANEW
        self.store = object_store(url, access)
        self._lease: Lease | None = None

    def read(self, key: str) -> bytes | None:
        """An object, if it is there."""
        try:
            return bytes(obstore.get(self.store, key).bytes())
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise explain(error, f"{self.url}/{key}", self._access) from error
            return None
        except BaseError as error:
            raise explain(error, f"{self.url}/{key}", self._access) from error

    def put(self, key: str, value: bytes, *, new: bool = False, durable: bool = False) -> str:  # noqa: ARG002
        """Write an object by one request, with `new` only where there is none; returns its entity tag.

        What a provider has confirmed is always durable.

        Raises
        ------
        StoreError
            If it cannot be written, there is one already, or another has taken over.
        """
        if self._lease:
            self._lease.check()
        try:
            return _tag(self._put(key, value, "create" if new else "overwrite", self._caching))
        except (AlreadyExistsError, PreconditionError) as error:
            if self.read(key) == value:  # by this very put, whose answer was lost
                return ""
            raise StoreError(f"{self.url}/{key} has been written by another in the meantime") from error
        except (BaseError, OSError) as error:
            raise explain(error, f"{self.url}/{key}", self._access, verb="written") from error

    def replace(self, key: str, before: bytes | None, after: bytes) -> bool:
        """Put `after` where `before` is, and tell whether that was so. Caches must ask for it anew each time."""
        try:
            if before is None:
                self._put(key, after, "create", _ASKED_ANEW)
                return True
            found = obstore.get(self.store, key)
            if bytes(found.bytes()) != before:
                return False
            put_if_same(lambda mark: self._put(key, after, mark, _ASKED_ANEW), mark_of(found.meta))
        except (AlreadyExistsError, PreconditionError):
            return False
        except (BaseError, OSError) as error:
            raise explain(error, f"{self.url}/{key}", self._access, verb="written") from error
        return True

    def _put(self, key: str, value: bytes, mode: Any, caching: str) -> dict[str, Any]:
        kind = "application/json" if key.endswith(".json") else "application/octet-stream"
        answer = obstore.put(
            self.store,
            key,
            value,
            mode=mode,
            attributes={"Cache-Control": caching, "Content-Type": kind},
            use_multipart=False,  # parts of uploads that are killed would lie there unseen, and be paid for
        )
        return dict(answer)

    def top(self) -> set[str]:
        """Names of all that is there, without what is below."""
        try:
            found = obstore.list_with_delimiter(self.store)
        except (BaseError, OSError) as error:
            raise explain(error, self.url, self._access, verb="listed") from error
        return {*found["common_prefixes"], *(item["path"] for item in found["objects"])}

    def sizes(self, below: str = "") -> dict[str, int]:
        """Bytes of every object, or of those below a name, by key."""
        return {key: size for key, (size, _) in self.tags(below).items()}

    def tags(self, below: str = "") -> dict[str, tuple[int, str]]:
        """Bytes and entity tag of every object, or of those below a name, by key."""
        try:
            pages = list(obstore.list(self.store, below or None, chunk_size=1000))
        except (BaseError, OSError) as error:
            raise explain(error, self.url, self._access, verb="listed") from error
        return {item["path"]: (item["size"], _tag(item)) for page in pages for item in page}

    def remove(self, name: str) -> None:
        """Remove an object, or all below a name."""
        below = [item["path"] for page in obstore.list(self.store, f"{name}/", chunk_size=1000) for item in page]
        if self._lease:
            self._lease.check()
        try:
            obstore.delete(self.store, below or [name])
        except FileNotFoundError:
            pass
        except (BaseError, OSError) as error:
            raise explain(error, f"{self.url}/{name}", self._access, verb="removed") from error

    def adopt(self, name: str, *, last: str) -> None:
        """Move all objects below a name to the top, `last` after all others; the provider copies them."""
        keys = [key.removeprefix(f"{name}/") for key in self.sizes(name)]

        def move(key: str) -> None:
            if self._lease:
                self._lease.check()
            try:
                obstore.rename(self.store, f"{name}/{key}", key, overwrite=True)
            except (BaseError, OSError) as error:
                raise explain(error, f"{self.url}/{key}", self._access, verb="written") from error

        with ThreadPoolExecutor(_MOVERS, thread_name_prefix="s2cmc-move") as pool:
            list(pool.map(move, (key for key in keys if key != last)))
        if last in keys:
            move(last)

    def sync(self) -> None:
        """Nothing to do: what a provider has confirmed is there to stay."""

    def sweep(self, is_own: Callable[[str], object]) -> None:
        """Nothing to do: what was not written whole is not there."""

    @contextmanager
    def claimed(self, name: str) -> Iterator[None]:
        """Hold it against others; see `Lease`."""
        lease = Lease(self.store, name, self.url)
        with ExitStack() as stack:
            try:
                stack.enter_context(lease.held())
            except (BaseError, OSError) as error:
                raise explain(error, f"{self.url}/{name}", self._access, verb="written") from error
            self._lease = lease
            try:
                yield
            finally:
                self._lease = None

    def vanish(self, name: str) -> None:
        """Remove all below a name but the lease, which goes last and by itself; nothing if another has it by now."""
        if self._lease and self._lease.is_lost():
            return
        keys = [item["path"] for page in obstore.list(self.store, f"{name}/", chunk_size=1000) for item in page]
        obstore.delete(self.store, [key for key in keys if self._lease is None or key != self._lease.key])


def _tag(answer: Any) -> str:
    return (answer["e_tag"] or "").strip('"')
