"""Packages have one face each, and importing s2cmc is cheap. Who may import whom: `make check`, by import-linter."""

import ast
import importlib
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from helpers.paths import ROOT

FOLDERS = {"s2cmc": ROOT / "src" / "s2cmc", "s2cmc.conversion": ROOT / "conversion"}


@cache
def modules() -> dict[str, Path]:
    """Every module and package of the project, by the name it is installed under."""
    return {
        ".".join([top, *path.relative_to(folder).with_suffix("").parts]).removesuffix(".__init__"): path
        for top, folder in FOLDERS.items()
        for path in folder.rglob("*.py")
    }


def packages() -> list[str]:
    return sorted(name for name, path in modules().items() if path.name == "__init__.py")


FACES = [name for name in packages() if name not in FOLDERS]


def imports(name: str, path: Path) -> Iterator[tuple[str, str, bool]]:
    """Module, name, and whether at the top level, of each thing of ours that a module imports."""
    tree = ast.parse(path.read_text())
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "", node in tree.body) for alias in node.names if alias.name.startswith("s2cmc"))
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: -(node.level - 1) or None] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            if module.partition(".")[0] == "s2cmc":
                yield from ((module, alias.name, node in tree.body) for alias in node.names)


def package_of(name: str) -> str:
    """The package that a module belongs to; its own name if it stands alone."""
    return next((face for face in FACES if name == face or name.startswith(f"{face}.")), name)


def test_every_package_is_installed():
    installed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert sorted(installed) == packages()


@pytest.mark.parametrize(("top", "limit"), [("s2cmc", 7), ("s2cmc.conversion", 3)])
def test_few_modules_stand_outside_a_package(top, limit):
    assert len([path for path in FOLDERS[top].glob("*.py") if path.name != "__init__.py"]) <= limit


@pytest.mark.parametrize("name", sorted(modules()))
def test_others_are_imported_by_their_face(name):
    """``from s2cmc.store import open_group``, and not ``from s2cmc.store.open import open_group``."""
    behind = [
        module
        for module, _, _ in imports(name, modules()[name])
        if package_of(module) != package_of(name) and module in modules() and package_of(module) != module
    ]
    assert behind == []


@pytest.mark.parametrize("face", FACES)
def test_a_face_says_all_it_has(face):
    """Each name is imported from a module of the package, and no module has the name of something else in the face."""
    offered = importlib.import_module(face).__all__
    defined = {
        name for module, name, _ in imports(face, modules()[face]) if module != face and package_of(module) == face
    }
    assert sorted(offered) == sorted(defined)
    assert offered
    assert not {f"{face}.{name}" for name in offered} & set(modules())


@pytest.mark.parametrize("name", sorted(name for name in modules() if not name.startswith("s2cmc.conversion")))
def test_only_the_command_and_the_tutorial_import_the_conversion_and_when_they_need_it(name):
    found = [at_top for module, _, at_top in imports(name, modules()[name]) if module.startswith("s2cmc.conversion")]
    assert not found or package_of(name) in ("s2cmc.cli", "s2cmc.tutorial")
    assert not any(found)


@pytest.mark.slow
def test_the_package_offers_its_names_and_packages_and_nothing_else():
    code = "import s2cmc; print(*(name for name in dir(s2cmc) if not name.startswith('_')))"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    public = importlib.import_module("s2cmc").__all__
    assert set(shown) - set(public) <= {name.removeprefix("s2cmc.") for name in modules()}


def test_the_conversion_has_a_face():
    from s2cmc.conversion import convert, describe, export, forecast, publish, repair, restore, verify

    assert all(map(callable, (convert, describe, export, forecast, publish, repair, restore, verify)))


@pytest.mark.slow
def test_importing_s2cmc_does_not_import_what_is_heavy():
    heavy = {"zarr", "dask.array", "rasterio", "pyproj", "matplotlib", "obstore", "PIL", "typer", "sklearn"}
    heavy |= {"rioxarray", "shapely", "geopandas", "odc", "pystac"}
    code = f"import sys, s2cmc; print(sorted({heavy!r} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout == "[]\n"


def test_a_name_that_a_package_does_not_have_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"'s2cmc\.store' has no attribute 'nothing'"):
        importlib.import_module("s2cmc.store").nothing  # noqa: B018
