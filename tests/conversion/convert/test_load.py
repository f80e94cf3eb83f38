"""A scene is loaded in pieces, and what is loaded is what the file holds, in whatever form it holds it."""

import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem

from s2cmc.conversion.convert.load import Block, load_block
from s2cmc.conversion.convert.plan import Options, Plan, make_plan
from s2cmc.conversion.layout.arrays import shard_objects
from s2cmc.conversion.source import containers
from s2cmc.conversion.source.containers import zip_members
from s2cmc.conversion.source.listing import open_release
from s2cmc.errors import ReleaseError

TEN_THOUSAND = np.float32(10_000)
DN = np.random.default_rng(0).integers(1, 20_000, (64, 64, 13)).astype(np.uint16)
DN[3, 5] = 0
DN[7, 60:, 2] = 65_535
DN[63, 63, 12] = 65_535
REFLECTANCE = DN / TEN_THOUSAND
COUNTS = {"zero_pixels": 1, "saturated_pixels": 5, "nonfinite_pixels": 0, "invalid_pixels": 1}


def counts_of(block: Block) -> list[dict[str, int]]:
    return [{name: facts[name] for name in COUNTS} for facts in block.findings]


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, array)
    return buffer.getvalue()


Load = Callable[..., tuple[np.ndarray, Block]]
"""Loads the first scene with another subscene; see `load`."""


@pytest.fixture(scope="module", params=["uint16", "float32"])
def plan(request: pytest.FixtureRequest, release: Path) -> Plan:
    return make_plan(open_release(str(release)), Options(reflectance=request.param))


@pytest.fixture
def load(plan: Plan, tmp_path: Path) -> Load:
    """Load the first scene with another subscene, deflated in a zip."""

    def load_as(subscene: bytes, *, damaged: bool = False) -> tuple[np.ndarray, Block]:
        with zipfile.ZipFile(tmp_path / "subscenes.zip", "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("subscenes/first.npy", subscene)
        (member,) = zip_members(LocalFileSystem(), f"{tmp_path}/subscenes.zip")
        member.info.CRC ^= damaged
        scenes = (replace(plan.release.scenes[0], subscene=member), *plan.release.scenes[1:])
        return load_block(replace(plan, release=replace(plan.release, scenes=scenes)), plan.tasks()[0])

    return load_as


@pytest.mark.parametrize(
    "subscene",
    [
        npy(REFLECTANCE),
        npy(np.asfortranarray(REFLECTANCE)),
        npy(REFLECTANCE.astype(">f4")),
        npz(REFLECTANCE),
        npz(np.asfortranarray(REFLECTANCE)),
    ],
    ids=["npy", "Fortran order", "big-endian", "npz", "npz in Fortran order"],
)
def test_every_form_gives_the_same_block(load: Load, plan: Plan, subscene: bytes) -> None:
    pixels, block = load(subscene)
    assert block.problems == []
    assert counts_of(block) == [COUNTS]
    expected = DN if plan.options.reflectance == "uint16" else REFLECTANCE
    assert pixels.dtype == expected.dtype
    assert np.array_equal(pixels[0], expected)
    task = plan.tasks()[0]
    assert shard_objects(task.array, 0, pixels) == shard_objects(task.array, 0, expected[np.newaxis])


def test_what_is_wrong_is_counted_over_the_whole_scene(load: Load, plan: Plan) -> None:
    odd = REFLECTANCE.copy()
    odd[2::30, 9, 3] = 0.12345
    odd[40, 1, 0] = -0.0
    odd[62:, :2, 12] = np.nan
    pixels, block = load(npy(odd))
    if plan.options.reflectance == "float32":
        assert counts_of(block) == [COUNTS | {"zero_pixels": 2, "nonfinite_pixels": 4, "invalid_pixels": 6}]
        assert pixels[0].tobytes() == odd.tobytes()
        return
    (problem,) = block.problems
    assert "B01: 1 pixels, the first at y=40, x=1 is -0.0; " in problem
    assert "B04: 3 pixels, the first at y=2, x=9 is 0.12345; " in problem
    assert "B12: 4 pixels, the first at y=62, x=0 is nan)" in problem


def test_a_subscene_unlike_the_first_is_a_problem(load: Load) -> None:
    assert "has shape (64, 63, 13); expected (64, 64, 13)" in load(npy(REFLECTANCE[:, :63]))[1].problems[0]
    assert "is float64; expected float32" in load(npy(REFLECTANCE.astype(float)))[1].problems[0]
    assert "takes 212992 bytes, but 212991 follow" in load(npy(REFLECTANCE)[:-1])[1].problems[0]
    assert "takes 212992 bytes, but 212993 follow" in load(npy(REFLECTANCE) + b"0")[1].problems[0]
    assert "is not a readable npy" in load(b"no array at all")[1].problems[0]


@pytest.mark.parametrize(
    "subscene", [npy(REFLECTANCE), npy(REFLECTANCE + 1e-6), npy(REFLECTANCE[:9]), b"no array", npz(REFLECTANCE)]
)
def test_a_damaged_file_is_told_as_such_whatever_it_seems_to_hold(load: Load, subscene: bytes) -> None:
    (problem,) = load(subscene, damaged=True)[1].problems
    assert "is damaged: its content does not have the size and CRC-32" in problem


def test_an_array_is_never_held_as_floats(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    take = containers.ZipContent._take

    def count(self: containers.ZipContent, nbytes: int) -> containers.Piece:
        taken.append(len(found := take(self, nbytes)))
        return found

    monkeypatch.setattr(containers.ZipContent, "_take", count)
    load(npy(REFLECTANCE))
    assert sum(taken) == len(npy(REFLECTANCE))
    assert max(taken) <= 8 * 64 * 13 * 4


def test_a_plan_reads_of_every_subscene_its_header(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    take = containers.ZipContent._take

    def count(self: containers.ZipContent, nbytes: int) -> containers.Piece:
        found = take(self, nbytes)
        if "subscenes" in self._path:
            read.append(len(found))
        return found

    monkeypatch.setattr(containers.ZipContent, "_take", count)
    assert make_plan(open_release(str(release)), Options()).size == (64, 64)
    assert read == [8, 2, 118] * 10


def test_a_first_subscene_smaller_than_it_says_is_an_error(release: Path, tmp_path: Path) -> None:
    source = open_release(str(release))
    header = npy(REFLECTANCE).replace(b"(64, 64, 13)", b"(99, 99, 13)")
    with zipfile.ZipFile(tmp_path / "subscenes.zip", "w") as file:
        file.writestr("first.npy", header)
    (member,) = zip_members(LocalFileSystem(), f"{tmp_path}/subscenes.zip")
    first = replace(source.scenes[0], subscene=member)
    with pytest.raises(ReleaseError, match=r"shape \(99, 99, 13\) of float32 takes 509652 bytes, but 212992 follow"):
        make_plan(replace(source, scenes=(first, *source.scenes[1:])), Options())
