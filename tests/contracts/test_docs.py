"""docs/contributing.md says of the code what is so: every module is in its picture, every name in it exists."""

import importlib
import re
import tomllib
from functools import reduce
from pathlib import Path

import pytest
from helpers.paths import ROOT

FOLDERS = {"s2cmc": ROOT / "src" / "s2cmc", "conversion": ROOT / "conversion"}
PAGE = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")

NAME = re.compile(r"`([\w/]+\.py): ([\w.]+)`")
"""A function or class, as the page names it: `store/open.py: open_group`."""

WALKS = dict(re.findall(r"^### (.+?)\n(.+?)(?=^##)", PAGE, flags=re.MULTILINE | re.DOTALL))


def floors(picture: str) -> list[list[str]]:
    """Lines of a picture of packages, by floor: paths from the package it is of, packages with a slash at their end."""
    found = []
    for floor in picture.split("\n\n"):
        package, paths = "", []
        for line in floor.strip("\n").splitlines():
            indent, name, text = re.fullmatch(r"( *)(\S+) +(\S.*)", line).groups()
            assert text, line
            package = package if indent else name
            paths.append(package + name if indent else name)
        found.append(paths)
    return found


SRC, CONVERSION = (floors(block) for block in re.findall(r"```text\n(.*?)```", PAGE, flags=re.DOTALL))


def layers(contract: str) -> list[set[str]]:
    """Packages on each floor, from top to bottom, as import-linter holds them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (found,) = (c["layers"] for c in contracts if c["name"] == contract)
    return [{name.strip().rpartition(".")[2] for name in layer.split("|")} for layer in found]


def modules_of(folder: Path) -> set[str]:
    """Modules and packages below a folder; of a package its own name, and not its ``__init__.py``."""
    found = {path.relative_to(folder) for path in folder.rglob("*.py")}
    inner = {path for path in found if path.name == "__init__.py" and path != Path("__init__.py")}
    return {str(path) for path in found - inner} | {f"{path.parent}/" for path in inner}


@pytest.mark.parametrize(("picture", "folder"), [(SRC, FOLDERS["s2cmc"]), (CONVERSION, FOLDERS["conversion"])])
def test_the_picture_has_every_module_once(picture, folder):
    named = [path for floor in picture for path in floor]
    assert set(named) == modules_of(folder)
    assert len(set(named)) == len(named)


@pytest.mark.parametrize(
    ("picture", "contract"), [(SRC, "Packages import downwards"), (CONVERSION, "The conversion imports downwards")]
)
def test_its_floors_are_those_of_the_contract(picture, contract):
    tops = [{path.rstrip("/").removesuffix(".py") for path in floor if "/" not in path[:-1]} for floor in picture[1:]]
    assert tops == [layer - {"conversion"} for layer in layers(contract)]  # which has a picture of its own


@pytest.mark.parametrize(("path", "name"), sorted(set(NAME.findall(PAGE))))
def test_what_it_names_exists(path, name):
    module = ".".join(["s2cmc", *path.removesuffix(".py").split("/")])
    assert reduce(getattr, name.split("."), importlib.import_module(module))


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([\w./]+/[\w.]*)[:`]", PAGE))))
def test_files_it_names_exist(path):
    assert (ROOT / path).exists() or (FOLDERS["s2cmc"] / path).exists()


@pytest.mark.parametrize("title", WALKS)
def test_a_walk_says_which_packages_it_passes(title):
    """Those of all functions that its steps name; and each step names one."""
    steps, _, passed = WALKS[title].partition("\nPasses ")
    for step in re.split(r"^\d+\. ", steps, flags=re.MULTILINE)[1:]:
        assert NAME.search(step), step
    packages = {Path(path).parent.name for path, _ in NAME.findall(steps)}
    assert packages <= set(re.findall(r"`(\w+)`", passed))


def test_there_are_three_walks():
    assert len(WALKS) == 3
