"""How the command ends when it is told to: in order, and with the exit code that shells have for the signal."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console

_FROM_SIGNAL = 128  # what shells add to the number of a signal
_SIGPIPE = 13  # Windows does not name it
_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


class Stopped(KeyboardInterrupt):
    """A signal that asks to end: whatever ends in order on Ctrl-C does so here too."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)


class PipedConsole(Console):
    """A console whose reader may leave before the end, as ``head`` does."""

    def on_broken_pipe(self) -> None:
        """End without a word."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is flushed at the end goes there
        raise SystemExit(_FROM_SIGNAL + _SIGPIPE)


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise `Stopped` on SIGTERM and SIGHUP; what is ignored, as SIGHUP under ``nohup``, stays so."""
    before = {}
    received: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        received.append(number)
        raise Stopped(number)

    if threading.current_thread() is threading.main_thread():  # others get no signals
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, stop)
    try:
        yield
    except SystemExit as ended:
        if received and ended.code == _FROM_SIGNAL + signal.SIGINT:  # typer knows no other signal
            raise SystemExit(_FROM_SIGNAL + received[0]) from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def how_stopped(error: KeyboardInterrupt) -> tuple[str, int]:
    """What to say of a signal, and the exit code: 130 of SIGINT, 143 of SIGTERM, 129 of SIGHUP."""
    number = error.number if isinstance(error, Stopped) else signal.SIGINT
    return _WORDS.get(signal.Signals(number), "hung up"), _FROM_SIGNAL + number
