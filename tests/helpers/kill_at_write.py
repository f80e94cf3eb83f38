"""Converts a release again and again, each time killed before another of its writes, and resumes it.

Run by test_resume.py as ``python -m helpers.kill_at_write RELEASE FOLDER``; prints how many conversions were killed.
Every conversion runs in a child that is forked before any thread begins.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import s2cmc
from s2cmc.conversion.convert.conversion import convert
from s2cmc.conversion.targets.folder import Folder
from s2cmc.conversion.verify.verification import verify

EVERY = bool(os.environ.get("S2CMC_EVERY_WRITE"))


def in_child(work: Callable[[], object]) -> int:
    """Wait status of a forked child that does `work`."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except SystemExit as ended:
            sys.stderr.write(f"{ended}\n")
        except Exception:  # noqa: BLE001, the child says it before it ends
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    return os.waitpid(child, 0)[1]


def convert_killed(release: str, store: str, at: int) -> None:
    """Convert, and die right before write number `at`."""
    put, written = Folder.put, 0

    def put_or_die(self: Folder, key: str, value: bytes, **how: bool) -> str:
        nonlocal written
        written += 1
        if written == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return put(self, key, value, **how)

    Folder.put = put_or_die  # type: ignore[method-assign]
    convert(release, store, workers=1)


def check_killed(store: str) -> None:
    """What is there must not open."""
    try:
        s2cmc.open_catalogue(store)
    except s2cmc.StoreError:
        return
    sys.exit("a store that was killed before its end opens")


def finish(release: str, store: str) -> None:
    convert(release, store)
    problems = verify(store, release)
    if problems:
        sys.exit("\n".join(problems))


def main(release: str, folder: str) -> None:
    at, killed = 1, 0
    while True:
        store = str(Path(folder) / f"{at}.zarr")
        status = in_child(lambda: convert_killed(release, store, at))  # noqa: B023, done before the next round
        if status == 0:
            break
        if not os.WIFSIGNALED(status):
            sys.exit(f"conversion {at} failed")
        for step in (lambda: check_killed(store), lambda: finish(release, store)):  # noqa: B023
            if in_child(step) != 0:
                sys.exit(f"killed before write {at}: see above")
        killed += 1
        at += 1 if EVERY or at < 5 else 23
    sys.stdout.write(f"{killed}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
