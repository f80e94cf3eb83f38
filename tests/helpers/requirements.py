"""What the tests of other programs need of a machine, and what is done where it is not there."""

import os
from typing import NoReturn

import pytest


def without(what: str) -> NoReturn:
    """Skip, and say why; with S2CMC_TEST_ALL in the environment, as in .ci/run, fail."""
    if os.environ.get("S2CMC_TEST_ALL"):
        pytest.fail(f"{what}, and S2CMC_TEST_ALL is set")
    pytest.skip(what)
