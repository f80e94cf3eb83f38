"""Durations that the command takes for records, and waits that it tells."""

import io
import logging
import time

import pytest
import typer
from rich.console import Console

from s2cmc.cli import _console
from s2cmc.cli._console import progress, seconds

LOGGER = logging.getLogger("s2cmc.conversion.records.limits")


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90), ("90s", 90), ("30m", 1800), ("2h", 7200), ("1.5 H", 5400), ("1d", 86_400)]
)
def test_a_duration_is_a_number_with_a_unit(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "m", "30 minutes", "-5", "0", "0m", "1e3", "nan"])
def test_another_duration_is_an_error(text):
    with pytest.raises(typer.BadParameter, match="is not a duration; expected seconds, or a number with s, m, h or d"):
        seconds(text)


def test_the_command_refuses_another_duration(run, tmp_path):
    answer = run("download", "zenodo:4172871", tmp_path, "--give-up", "soon")
    assert answer.code == 2
    assert "'soon' is not a duration" in answer.err


def test_on_a_terminal_a_wait_is_shown_in_the_bar_until_something_arrives(monkeypatch, caplog):
    shown = io.StringIO()
    monkeypatch.setattr(_console, "err", Console(file=shown, force_terminal=True, width=200))
    caplog.set_level(logging.INFO)
    with progress("downloading", in_bytes=True) as advance:
        LOGGER.info("waiting %d s: zenodo.org allows 60 requests at a time, and all are used", 38)
        logging.getLogger("s2cmc.store").info("something else")
        time.sleep(0.3)  # it is drawn ten times a second
        advance(1, 2)
    assert "downloading (waiting 38 s: zenodo.org allows 60 requests at a time, and all are used)" in shown.getvalue()
    assert shown.getvalue().rpartition("downloading")[2].startswith(" \x1b")
    assert caplog.messages == ["something else"]
    LOGGER.info("told as any other record again")
    assert caplog.messages == ["something else", "told as any other record again"]


def test_without_a_terminal_a_wait_is_a_line_of_the_log(monkeypatch, caplog):
    monkeypatch.setattr(_console, "err", Console(file=io.StringIO()))
    caplog.set_level(logging.INFO)
    with progress("downloading"):
        LOGGER.info("waiting 38 s")
    assert caplog.messages == ["waiting 38 s"]
