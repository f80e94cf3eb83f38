"""The worked example: s2cloudless over a store gives what s2cloudless gives by hand, one scene at a time."""

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import xarray as xr
from helpers.paths import ROOT

import s2cmc
from s2cmc.conversion import convert
from s2cmc.synthetic import make_release

SCRIPT = ROOT / "docs" / "examples" / "evaluate_s2cloudless.py"


def load_example() -> ModuleType:
    """The script as a module, under a name that hides no package."""
    spec = importlib.util.spec_from_file_location("s2cloudless_example", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


example = load_example()


def run_example(*arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, SCRIPT, *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def detector() -> Callable[[], object]:
    """s2cloudless' own detector, where it is installed."""
    try:
        from s2cloudless import S2PixelCloudDetector
    except (ImportError, OSError) as error:  # OSError: libgomp, which LightGBM needs, is not there
        pytest.skip(f"s2cloudless cannot be imported: {error}")
    return lambda: S2PixelCloudDetector(all_bands=True)


@pytest.fixture(scope="module")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 2 scenes of 16 x 16 pixels; the model is loaded once for each."""
    folder = tmp_path_factory.mktemp("tiny")
    convert(str(make_release(folder / "release", scenes=2, size=16)), str(folder / "store"))
    return folder / "store"


@pytest.fixture(scope="module")
def tiny(tiny_store: Path) -> xr.Dataset:
    return s2cmc.open_catalogue(tiny_store)


@pytest.mark.slow
def test_the_probability_is_that_of_s2cloudless(tiny: xr.Dataset, detector: Callable[[], object]) -> None:
    one = tiny.isel(scene=[1])
    by_hand = detector().get_cloud_probability_maps(one.reflectance.values)
    found = example.cloud_probability(one.reflectance)
    assert (found.dims, found.dtype, found.name) == (("scene", "y", "x"), np.float32, "cloud_probability")
    values = found.compute()
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, by_hand.astype("float32"))
    assert values.scene.item() == one.scene.item()
    assert len(np.unique(values)) > 1, "the pixels differ"


@pytest.mark.slow
@pytest.mark.usefixtures("no_compute", "detector")
def test_it_is_lazy_with_one_scene_in_a_chunk(tiny: xr.Dataset) -> None:
    found = example.cloud_probability(tiny.reflectance)
    assert found.chunks == ((1, 1), (16,), (16,))
    counts = tiny.clouds.confusion(found, threshold=example.THRESHOLD)
    assert counts.confusion.chunks is not None


@pytest.mark.slow
@pytest.mark.usefixtures("detector")
def test_the_script_prints_scores_and_writes_a_page(tiny_store: Path, tiny: xr.Dataset, tmp_path: Path) -> None:
    file = tmp_path / "out.html"
    done = run_example(tiny_store, file)
    assert (done.returncode, done.stderr) == (0, "")
    probability = example.cloud_probability(tiny.reflectance)
    result = tiny.clouds.evaluate(probability, ["surface_type", "cloud_type"], threshold=0.4)
    assert done.stdout == f"{result.evaluation}\n"
    text = file.read_text(encoding="utf-8")
    assert "<h2>Precision and recall</h2>" in text
    assert "class_map binary" in text
    assert "threshold 0.4" in text


def test_without_s2cloudless_it_says_what_to_install(catalogue: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s2cloudless", None)
    said = r"needs s2cloudless .*pip install 's2cmc\[ml\]', and on Debian libgomp1"
    with pytest.raises(s2cmc.CatalogueError, match=said):
        example.cloud_probability(catalogue.reflectance)


@pytest.mark.slow
def test_the_script_says_in_one_message_what_it_cannot_read_or_write(tmp_path: Path) -> None:
    done = run_example(tmp_path / "nothing", tmp_path / "out.html")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith(f"error: {tmp_path}/nothing holds no catalogue")
    done = run_example(tmp_path / "nothing", tmp_path / "no folder" / "out.html")
    assert done.returncode == 2
    assert "cannot be written" in done.stderr


def test_it_uses_what_users_have() -> None:
    """The example uses nothing of s2cmc but what ``import s2cmc`` offers; xarray finds the accessors."""
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"))
    imported = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    imported += [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert [name for name in imported if name.startswith("s2cmc")] == ["s2cmc"]
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "s2cmc"
    }
    assert used == {"open_catalogue", "CatalogueError"} <= set(s2cmc.__all__)
