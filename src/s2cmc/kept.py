"""Bytes that many ask for, kept in memory: asked for once, however many ask, and bounded in size."""

import asyncio
from collections.abc import Awaitable, Callable

KEPT_NBYTES = 32 * 1024 * 1024
"""Indices and small shards, as they are encoded: all masks of 513 scenes are 7 MB."""

_Name = tuple[str, int | None]


class Kept:
    """What was asked for last, by name. Used in one event loop alone."""

    def __init__(self) -> None:
        self._asked: dict[_Name, asyncio.Task[bytes]] = {}
        self._here: dict[_Name, bytes] = {}  # what was used last comes last
        self._nbytes = 0

    async def get(self, name: _Name, fetch: Callable[[], Awaitable[bytes | memoryview]], *, anew: bool) -> bytes:
        """Bytes of a name, fetched unless they are here or on their way. What fails is not kept.

        Parameters
        ----------
        name : tuple of str and int
        fetch : callable
        anew : bool
            Fetch them in any case, and keep them in place of what is here.
        """
        if not anew and (content := self._here.pop(name, None)) is not None:
            self._here[name] = content
            return content
        task = None if anew else self._asked.get(name)
        if task is None:
            task = self._asked[name] = asyncio.ensure_future(self._fetch(name, fetch))
        return await asyncio.shield(task)  # one of several that wait may be cancelled

    async def _fetch(self, name: _Name, fetch: Callable[[], Awaitable[bytes | memoryview]]) -> bytes:
        try:
            content = bytes(await fetch())  # a view of a part would keep the whole
        finally:
            if self._asked.get(name) is asyncio.current_task():
                del self._asked[name]
        self._nbytes += len(content) - len(self._here.pop(name, b""))
        self._here[name] = content
        while self._nbytes > KEPT_NBYTES:
            self._nbytes -= len(self._here.pop(next(iter(self._here))))
        return content
