"""Converts again and again, each time ended by a signal at a random moment, and looks at what is there.

Run by test_signals.py as ``python -m helpers.kill_anytime OLD NEW FOLDER MOMENTS``, where OLD and NEW are releases with
other numbers of scenes; prints how many conversions were ended. Every other store replaces one of OLD, and every other
conversion goes on with what the one before has left. Each runs in a child that is forked before any thread of ours
begins.
"""

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from helpers.kill_at_write import in_child
from helpers.targets import state_of
from s2cmc.cli import app
from s2cmc.conversion.convert.conversion import convert

SIGNALS = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143, signal.SIGINT: 130}


def start(new: Path, store: Path) -> int:
    """The command in a child; its process."""
    child = os.fork()
    if child == 0:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        sys.argv = ["s2cmc", "convert", str(new), str(store), "--overwrite", "--workers", "2"]
        code = 0
        try:
            app.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        os._exit(code)
    return child


def check(store: Path, releases: dict[str, Path], allowed: set[str]) -> None:
    state = state_of(store, releases)
    if state not in allowed:
        sys.exit(f"the target is {state}; expected one of {allowed}")


def main(old: Path, new: Path, folder: Path, moments: int) -> None:
    releases = {"old": old, "new": new}
    in_child(lambda: convert(str(old), str(folder / "old")))
    in_child(lambda: convert(str(new), str(folder / "warm")))  # as long as the first of all would take
    began = time.monotonic()
    in_child(lambda: convert(str(new), str(folder / "timed")))
    longest = 1.2 * (time.monotonic() - began)  # seconds; signals are sent up to then
    moment = random.Random(2018)  # noqa: S311, no secret
    ended, store = 0, folder / "none"
    for number in range(moments):
        replaces = number % 4 > 1
        if number % 2 == 0:
            store = folder / str(number)
            if replaces:
                shutil.copytree(folder / "old", store)
        child = start(new, store)
        time.sleep(moment.uniform(0, longest))
        sent = moment.choice(list(SIGNALS))
        os.kill(child, sent)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        # A signal may come before its handler, or when all is done.
        if code not in (0, -sent, SIGNALS[sent]):
            sys.exit(f"moment {number}: a conversion that got signal {sent} ended with {code}")
        ended += code != 0
        longest *= 0.7 if code == 0 else 1.1  # a busy machine is not as fast as it was
        allowed = {"started", "new"} | ({"old"} if replaces else {"empty"})
        if in_child(lambda: check(store, releases, allowed)):  # noqa: B023, done before the next round
            sys.exit(f"moment {number}, signal {sent}: see above")
        if number % 2:
            if in_child(lambda: finish(new, store)):  # noqa: B023
                sys.exit(f"moment {number}, signal {sent}: it is not finished by the same command")
            shutil.rmtree(store)
    sys.stdout.write(f"{ended}\n")


def finish(new: Path, store: Path) -> None:
    convert(str(new), str(store), overwrite=True)
    check(store, {"new": new}, {"new"})
    if (store / ".s2cmc-conversion").exists() or list(store.rglob("*#*")):
        sys.exit("something is left behind")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), int(sys.argv[4]))
