"""Signals end every command in order, with an exit code of their own; what is there afterwards is whole, or resumes."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import reduce
from importlib import import_module

import pytest
import typer.main
from helpers import kill_anytime
from helpers.answers import Answer
from helpers.paths import ENVIRONMENT, ROOT, command_of

from s2cmc import store as stores
from s2cmc.cli import app
from s2cmc.synthetic.make import make_release

pytestmark = pytest.mark.slow

MOMENTS = int(os.environ.get("S2CMC_MOMENTS", "5"))
"""200 of them: `make hardship`."""

LINES = {
    "sample": (["sample", "{tmp}/out"], "s2cmc.synthetic:make_release"),
    "convert": (["convert", "{release}", "{tmp}/out"], "s2cmc.conversion.convert.conversion:open_release"),
    "verify": (["verify", "{store}"], "s2cmc.conversion.verify.verification:open_group"),
    "download": (["download", "zenodo:1", "{tmp}/out"], "s2cmc.conversion.records.filesystem:RecordFileSystem.ls"),
    "repair": (["repair", "{store}", "{release}", "--dry-run"], "s2cmc.conversion.repair.repairs:survey"),
    "restore": (["restore", "{store}", "{tmp}/out"], "s2cmc.release:ReleaseWriter.write_table"),
    "publish": (["publish", "{store}", "{tmp}/out"], "s2cmc.conversion.publish:_announce"),
    "info": (["info", "{store}"], "s2cmc.store:open_group"),
    "select": (["select", "{store}"], "s2cmc.store:open_catalogue"),
    "fractions": (["fractions", "{store}"], "s2cmc.store:open_catalogue"),
    "gallery": (["gallery", "{store}", "{tmp}/out.png"], "s2cmc.store:open_catalogue"),
    "stats": (["stats", "{store}"], "s2cmc.report:gather_statistics"),
    "evaluate": (["evaluate", "{store}", "{store}"], "s2cmc.store:open_catalogue"),
    "export": (["export", "{store}", "{tmp}/out"], "s2cmc.conversion.export.scenes:_write_files"),
    "metadata": (["metadata", "{store}", "{tmp}/out"], "s2cmc.conversion.metadata.documents:open_catalogue"),
    "window": (["window", "{store}", "0"], "s2cmc.store:open_catalogue"),
    "georeference": (["georeference", "{store}", "0", "{tmp}"], "s2cmc.store:open_catalogue"),
}
"""Of each command: a line, and a function that the signal comes in."""


def patch(monkeypatch: pytest.MonkeyPatch, where: str, replacement: Callable[..., object]) -> None:
    """Replace ``module:function`` or ``module:Class.method``; functions have the names of some packages they are in."""
    module, _, names = where.partition(":")
    *owners, name = names.split(".")
    monkeypatch.setattr(reduce(getattr, owners, import_module(module)), name, replacement)


RESUMABLE = ("download", "convert", "repair", "publish", "export")


@pytest.fixture(autouse=True)
def _as_in_a_terminal() -> Iterator[None]:
    """No signal is ignored, as it may be where the tests are run in the background."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_every_command_has_a_line_here():
    assert set(typer.main.get_command(app.app).commands) <= set(LINES)


SIGNALS = {
    signal.SIGTERM: (143, "terminated"),
    signal.SIGINT: (130, "interrupted"),
    signal.SIGHUP: (129, "hung up"),
}
ENDED = [*((name, signal.SIGTERM) for name in LINES), *(("convert", sent) for sent in list(SIGNALS)[1:])]


@pytest.mark.parametrize(("name", "sent"), ENDED)
def test_a_signal_ends_any_command_with_one_line(name, sent, release, store, tmp_path, run, monkeypatch) -> None:
    line, within = LINES[name]
    code, said = SIGNALS[sent]
    patch(monkeypatch, within, lambda *args, **kwargs: signal.raise_signal(sent))
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    answer: Answer = run(*(word.format(release=release, store=store, tmp=tmp_path) for word in line))
    kept = "; what is done is kept, and the same command resumes" if name in RESUMABLE else ""
    assert (answer.code, answer.out) == (code, "")
    assert f"{said}{kept}\n" in answer.err
    assert "Traceback" not in answer.err
    assert {number: signal.getsignal(number) for number in before} == before


def test_what_is_ignored_stays_ignored(store, run, monkeypatch):
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        open_catalogue = stores.open_catalogue
        monkeypatch.setattr(
            stores, "open_catalogue", lambda *args: signal.raise_signal(signal.SIGHUP) or open_catalogue(*args)
        )
        assert run("select", store, "--ids").code == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("left", ["restore", "sample"])
def test_nothing_half_is_left_by_what_cannot_be_resumed(left, store, tmp_path, run, monkeypatch):
    monkeypatch.setattr("s2cmc.release.ReleaseWriter.write_table", lambda *args: signal.raise_signal(signal.SIGTERM))
    source = [store] if left == "restore" else []
    assert run(left, *source, tmp_path / "out").code == 143
    assert not (tmp_path / "out").exists()


def test_a_reader_who_leaves_ends_it_without_a_word(store):
    """Exit code 141, as of what SIGPIPE ends."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "s2cmc", "select", store, "--ids"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "fork"), reason="ends forked children")
def test_signals_at_random_moments_leave_the_old_store_a_start_or_the_new_one(tmp_path):
    releases = [make_release(tmp_path / name, scenes=n, size=16) for name, n in (("old", 2), ("new", 4))]
    (tmp_path / "stores").mkdir()
    command = command_of(kill_anytime, *releases, tmp_path / "stores", MOMENTS)
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.split()[-1]) >= MOMENTS // 5, "hardly any conversion was ended before it was complete"


def test_exit_codes_are_those_of_their_page():
    page = (ROOT / "docs" / "reference" / "exit-codes.md").read_text()
    for code in (0, 1, 2, 129, 130, 141, 143):
        assert f"| {code} |" in page
