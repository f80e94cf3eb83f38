"""Damaged input is taken as what it is, or refused by one error; for longer, and by other seeds: ``make fuzz``."""

import random
from pathlib import Path

import pytest
from helpers import fuzz
from helpers.mutations import damage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[Path, bytes]]:
    """Files of small releases by suffix."""
    found = fuzz.files_of(fuzz.make_originals(tmp_path_factory.mktemp("originals")))
    return {
        suffix: {path: content for path, content in found.items() if path.suffix == suffix} for suffix in fuzz.READERS
    }


@pytest.mark.parametrize("suffix", fuzz.READERS)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32))
def test_a_damaged_file_is_read_or_refused(files: dict[str, dict[Path, bytes]], suffix: str, seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311, nothing is secret
    path, content = draw.choice(list(files[suffix].items()))
    fuzz.attempt_file(path, damage(content, draw.choice(list(files[".npz"].values())), draw))


def test_a_damaged_release_is_converted_and_proved_or_refused_and_predictions_are_counted_or_refused(
    tmp_path: Path,
) -> None:
    found = fuzz.fuzz(8, 0, tmp_path)
    assert found.flaws == []
    assert found.taken > 3
    assert found.refused > 10
