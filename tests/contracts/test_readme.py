"""The front door: what README and docs show runs, their tables are those of the code, their links lead somewhere."""

import inspect
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import pytest
import typer.main
import xarray as xr
import yaml
from helpers.paths import ROOT
from matplotlib import pyplot

import s2cmc
from s2cmc import conversion, errors, schema
from s2cmc.accessor import CloudsAccessor
from s2cmc.cli import app

DOCS = ROOT / "docs"
PAGES = {str(path.relative_to(ROOT)): path for path in (ROOT / "README.md", *sorted(DOCS.rglob("*.md")))}
TEXTS = {name: path.read_text(encoding="utf-8") for name, path in PAGES.items()}

COMMANDS = typer.main.get_command(app.app).commands
SHARED_OPTIONS = {"--help", "-h", "--store-option", "-o"}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXTS[page], flags=re.DOTALL | re.MULTILINE)


def pages_with(language: str) -> list[str]:
    return [page for page in PAGES if blocks(page, language)]


def rows(page: str) -> list[list[str]]:
    """Cells of all tables of a page, without their heads."""
    lines = [line for line in TEXTS[page].splitlines() if line.startswith("|")]
    heads = {i + shift for i, line in enumerate(lines) if not line.strip("|- ") for shift in (-1, 0)}
    return [[cell.strip() for cell in line.strip("|").split("|")] for i, line in enumerate(lines) if i not in heads]


@pytest.fixture
def demo(store, release, tmp_path, monkeypatch) -> Iterator[Path]:
    """A folder with the store and release that the pages have in demo/, which a page may write into."""
    matplotlib.use("Agg")
    shutil.copytree(store, tmp_path / "demo" / "catalogue.zarr")
    (tmp_path / "demo" / "release").symlink_to(release)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    pyplot.close("all")


SLOW = {"docs/start.md", *(page for page in PAGES if page.startswith("docs/how-to/"))} - {
    f"docs/how-to/{name}.md" for name in ("open-remote", "select", "train")
}
"""Pages that convert, write or draw for seconds."""


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=pytest.mark.slow if page in SLOW else ()) for page in pages_with("python")]
)
def test_python_of_a_page_runs(page, demo):
    names: dict[str, object] = {}
    for block in blocks(page, "python"):
        exec(block, names)  # noqa: S102, our own pages
    assert isinstance(names.get("ds", xr.Dataset()), xr.Dataset)


@pytest.mark.parametrize("page", pages_with("py"))
def test_python_that_needs_a_network_is_spelled_right(page):
    """Blocks of ``py`` are called with nothing behind."""
    opened = []

    def open_catalogue(*args: object, **options: object) -> None:
        inspect.signature(s2cmc.open_catalogue).bind(*args, **options)
        s2cmc.Access(**options)
        opened.append(args[0])

    for block in blocks(page, "py"):
        exec(block, {"s2cmc": SimpleNamespace(open_catalogue=open_catalogue, Access=s2cmc.Access)})  # noqa: S102
    assert opened


def options_of(command: str) -> set[str]:
    """All options of a subcommand, as they are written."""
    names = {name for option in COMMANDS[command].params for name in (*option.opts, *option.secondary_opts)}
    return {name for name in names if name.startswith("-")}


def commands(page: str) -> list[list[str]]:
    """Words of every call of s2cmc in the shell blocks of a page."""
    parts = (part for block in blocks(page, "sh") for line in block.splitlines() for part in line.split("&&"))
    words = (shlex.split(part, comments=True) for part in parts)
    return [line[1:] for line in words if line[:1] == ["s2cmc"]]


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)])
def test_commands_of_a_page_exist(page):
    for name, *arguments in commands(page):
        assert {word for word in arguments if word.startswith("-")} <= options_of(name)


def test_the_readme_is_short():
    assert len(TEXTS["README.md"].splitlines()) <= 150


def test_the_readme_has_ten_lines_of_python():
    (block,) = blocks("README.md", "python")
    assert len([line for line in block.splitlines() if line]) <= 10


def test_the_picture_is_small():
    assert (DOCS / "images" / "gallery.png").stat().st_size < 400_000


# Tables


@pytest.mark.parametrize("name", [name for name in dir(CloudsAccessor) if not name.startswith("_")])
def test_every_method_of_the_accessor_is_named(name):
    assert re.search(rf"`{name}\b", TEXTS["docs/reference/accessor.md"])


def test_every_stored_variable_is_in_its_table():
    for name, dims in schema.DIMS.items():
        assert f"| `{name}` | {', '.join(dims)} |" in TEXTS["docs/explanation/store-format.md"]


def test_access_options_are_in_their_table_with_their_defaults():
    documented = {
        name: default.strip("`")
        for names, default, _ in rows("docs/reference/access.md")
        for name in re.findall(r"`(\w+)`", names)
    }
    defaults = vars(s2cmc.Access())
    assert documented == {
        field.name: str(defaults[field.name]).replace("obstore", '"obstore"') for field in fields(s2cmc.Access)
    }


def test_errors_are_in_their_table_with_the_classes_of_python():
    documented = {name.strip("`"): set(re.findall(r"\w+", also)) for name, also, _ in rows("docs/reference/errors.md")}
    public = [name for name in s2cmc.__all__ if name.endswith("Error") and name != "CatalogueError"]
    assert sorted(documented) == sorted(public)
    for name, also in documented.items():
        bases = {base.__name__ for base in getattr(errors, name).__mro__ if base.__module__ == "builtins"}
        assert bases - {"OSError", "Exception", "BaseException", "object"} == also


def test_commands_are_in_their_table_with_their_options():
    documented = {
        usage.strip("`").split()[0]: set(re.findall(r"`(--[\w-]+)`", options))
        for usage, _, options in rows("docs/reference/command-line.md")
    }
    assert documented == {name: options_of(name) - SHARED_OPTIONS for name in COMMANDS}


def test_functions_of_conversion_are_in_their_table():
    documented = {re.match(r"`(\w+)\(", call).group(1) for call, _ in rows("docs/reference/conversion.md")}
    assert documented == {name for name in conversion.__all__ if name[0].islower()}


# Links


def anchors(path: Path) -> set[str]:
    """Anchors of the headings of a page, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_of_a_page_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", TEXTS[page]):
        path, _, anchor = target.partition("#")
        linked = (PAGES[page].parent / path).resolve() if path else PAGES[page]
        assert linked.is_file(), target
        assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize("page", [page for page in PAGES if page not in ("README.md", "docs/index.md")])
def test_a_page_is_in_the_list(page):
    assert f"]({PAGES[page].relative_to(DOCS).as_posix()})" in TEXTS["docs/index.md"]


# Files beside them


def test_the_newest_change_is_this_version():
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (\S+)", changes, flags=re.MULTILINE).group(1) == s2cmc.__version__


def test_the_citation_is_of_this_version_and_of_the_catalogue():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert citation["references"][0]["doi"] == "10.5281/zenodo.4172871"


def test_hooks_are_steps_of_make_check():
    (hooks,) = (part["hooks"] for part in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"])
    check = re.search(r"^check:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), flags=re.MULTILINE).group(1)
    steps = [line.strip().replace("$(BIN)", ".venv/bin") for line in check.splitlines()]
    assert {hook["entry"] for hook in hooks} <= set(steps)
