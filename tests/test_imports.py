"""Who may import whom, and how cheap importing s2cmc is."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LIBRARY = [
    *("schema", "bands", "redact", "errors", "filesystem", "limits", "zipfiles", "npyheader", "arrayfile"),
    *("product", "geo", "geozarr", "tile"),
    *("parallel", "reused"),
    *("access", "process", "faults", "aws", "transport"),
    *("metadata", "bundle", "digests", "diskcache", "kept", "objects"),
    *("planar", "chunkcodec", "shard", "onechunk", "reading"),
    *("indexed", "lazy", "store", "expression", "footprints", "select", "patches"),
    *("scene", "grid", "mosaic", "l1c", "safe", "georeference"),
    *(
        "sceneblocks",
        "strata",
        "reduce",
        "tables",
        "counter",
        "histogram",
        "bandstatistics",
        "histogramcache",
        "indices",
    ),
    *("annotators", "classmap", "prediction", "predictionfiles", "confusion", "score", "bootstrap", "estimate"),
    *("evaluate", "curve", "census", "summary", "charts", "page", "pages", "plot"),
    *(
        "accessorbase",
        "statisticsaccessor",
        "evaluationaccessor",
        "geoaccessor",
        "accessor",
        "resultaccessor",
        "example",
    ),
    *("published", "synthesis", "sampletable", "quirks", "testing"),
    *("display", "ending", "console", "clirelease", "cliask", "clievaluate", "cligeo", "cli"),
]
"""Rooms of src/s2cmc: each imports only from those before it (the package itself counts as accessor)."""

CONVERSION = [
    *(
        "attributes",
        "png",
        "read",
        "content",
        "archive",
        "filenames",
        "source",
        "shp",
        "outline",
        "check",
        "axes",
        "encode",
        "layout",
        "plan",
        "load",
    ),
    *("coordinates", "report"),
    *("folder", "lease", "bucket", "place", "target", "cluster", "write", "forecast"),
    *("readback", "inventory", "shardcheck", "compare", "verify", "publication", "restore"),
    *("remains", "mending", "repair"),
    *("publish", "picture", "geotiff", "subset", "export", "geoparquet", "croissant", "stac", "describe"),
]


def rooms(folder: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / folder).glob("*.py") if not path.stem.startswith("__"))


def imports(path: Path) -> list[tuple[str, bool]]:
    """Modules that a file imports, and whether at its top level."""
    tree = ast.parse(path.read_text())
    found = []
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = f"conversion.{node.module or ''}" if node.level else str(node.module)
            names = [module] if module != "s2cmc" else [f"s2cmc.{alias.name}" for alias in node.names]
        found += [(name, node in tree.body) for name in names]
    return found


def test_every_room_has_its_place():
    assert rooms("src/s2cmc") == sorted(LIBRARY)
    assert rooms("conversion") == sorted(CONVERSION)


@pytest.mark.parametrize("room", LIBRARY)
def test_the_library_imports_downhill(room):
    allowed = LIBRARY[: LIBRARY.index(room)]
    for name, at_top in imports(ROOT / "src" / "s2cmc" / f"{room}.py"):
        package, _, module = name.partition(".")
        if package != "s2cmc":
            continue
        if module.startswith("conversion"):
            assert room in ("clirelease", "cligeo"), f"{room} imports {name}"
            assert not at_top, "the command loads the conversion lazily"
        elif module in LIBRARY:
            assert module in allowed, f"{room} imports {name}, which stands above it"


@pytest.mark.parametrize("room", CONVERSION)
def test_the_conversion_imports_downhill(room):
    allowed = CONVERSION[: CONVERSION.index(room)]
    for name, _ in imports(ROOT / "conversion" / f"{room}.py"):
        package, _, module = name.partition(".")
        if package == "conversion":
            assert module in allowed, f"{room} imports {name}, which stands above it"


def test_what_proves_a_store_knows_nothing_of_what_wrote_it():
    seen, todo = set(), ["verify"]
    while todo:
        room = todo.pop()
        seen.add(room)
        names = [name.removeprefix("conversion.") for name, _ in imports(ROOT / "conversion" / f"{room}.py")]
        todo += [name for name in names if name in CONVERSION and name not in seen]
    assert not seen & {"write", "load", "layout", "plan", "target", "report"}


def test_importing_s2cmc_does_not_import_what_is_heavy():
    heavy = {"zarr", "dask.array", "rasterio", "pyproj", "matplotlib", "obstore", "PIL", "typer", "sklearn"}
    heavy |= {"rioxarray", "shapely", "geopandas", "odc", "pystac"}
    code = f"import sys, s2cmc; print(sorted({heavy!r} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout == "[]\n"


def test_the_command_shows_its_help_without_the_conversion():
    code = "import sys, s2cmc.cli; sys.exit(any(name.startswith('s2cmc.conversion') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
