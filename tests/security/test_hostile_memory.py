"""No file takes more memory or time than is stated, whatever it says of itself or inflates to."""

import json
import subprocess

import pytest
from helpers import bombs
from helpers.paths import ENVIRONMENT, command_of

from s2cmc.files.limits import ARRAY_BYTES, TABLE_BYTES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def exploded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """What a process of its own says of each bomb."""
    command = command_of(bombs, tmp_path_factory.mktemp("bombs"))
    ended = subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True, text=True, timeout=300)
    return {line["name"]: line for line in map(json.loads, ended.stdout.splitlines())}


SAID = {
    "whole release": r"",
    "subscene that goes on": "takes 212992 bytes, but 2212992 follow its header",
    "subscene of many pixels": f"takes 325000000 bytes, more than the {ARRAY_BYTES} that are taken",
    "mask that goes on": "takes 12288 bytes, but 2012288 follow its header",
    "mask of many pixels": "has shape (120000000,); expected (64, 64, 3) (y, x, class)",
    "mask in an npz that goes on": "takes 12288 bytes, but 2012288 follow its header",
    "mask in an npz of many pixels": "has shape (40000000, 1, 3); expected (64, 64, 3) (y, x, class)",
    "mask of a long header": "has 6000000000 bytes, which is more than the",
    "sparse npz": "has 6000000000 bytes, which is more than the",
    "sparse table": f"has 6000000000 bytes, which is more than the {TABLE_BYTES} that are taken",
    "table of many columns": "line 1 has 100,000 characters or more",
    "table of many short lines": "it has more than 100,000 rows",
    "sparse outline": "has 6000000000 bytes, which is more than the 1000000 that are taken",
    "sparse .prj": "has 6000000000 bytes, which is more than the 1000000 that are taken",
    "sparse PNG": "has 6000000000 bytes, which is more than the",
    "PNG of many pixels": "has 60000 x 60000 pixels; expected at most 2048 x 2048",
    "PNG of more pixels than it has": "has 2000000000 x 2000000000 pixels; expected at most 2048 x 2048",
    "zip in a sparse file": "is not a readable zip",
    "prediction: npz that goes on": "takes 4096 bytes, but 2004096 follow its header",
    "prediction: npz of many pixels": "has shape (120000000,); expected (64, 64) (y, x)",
    "prediction: sparse npy": "it has more than 1065536 bytes, which is more than a prediction of a scene needs",
    "prediction: sparse GeoTIFF": "it has more than 1065536 bytes",
    "prediction: zip": "it has more than 1065536 bytes",
    "prediction: sparse zip": "cannot be read",
}


def test_every_bomb_was_tried(exploded: dict[str, dict]) -> None:
    assert exploded.keys() == SAID.keys()
    assert {name for name in SAID if ":" not in name} == {"whole release", *bombs.BOMBS}


@pytest.mark.parametrize("name", SAID)
def test_a_bomb_is_one_error_and_takes_little_memory_and_time(exploded: dict[str, dict], name: str) -> None:
    found = exploded[name]
    assert SAID[name] in found["reason"]
    assert bool(found["reason"]) == (name != "whole release")
    assert found["nbytes"] < 60_000_000
    assert found["seconds"] < 30
