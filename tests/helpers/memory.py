"""Memory that a piece of work takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def memory_below(nbytes: int) -> Iterator[None]:
    """Fail where this process grows by more meanwhile, if the system tells.

    tracemalloc would see it too, but crashes Python 3.13.0 when it is stopped beside other threads:
    https://github.com/python/cpython/issues/128679.
    """
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        yield
        return
    reset.write_text("5")  # the peak begins anew: https://man7.org/linux/man-pages/man5/proc_pid_clear_refs.5.html
    before = _peak()
    yield
    assert _peak() - before < nbytes


def _peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
