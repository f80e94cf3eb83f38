"""The command evaluate, and what both refuse in one message."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from helpers.answers import Answer
from helpers.output import differences, read_csv, shows, strict_json

from s2cmc.report import pages, tables

pytestmark = pytest.mark.slow

BY = ["--by", "difficulty", "--by", "cirrus"]
QUESTIONS = ["difficulty", "cirrus"]
LINE = [*BY, "--resamples", 20]


@pytest.fixture(scope="module")
def probability(labels: xr.DataArray) -> xr.DataArray:
    """Probability of cloud: high where `labels` have cloud, low elsewhere, and some on the wrong side of 0.5."""
    noise = np.random.default_rng(0).uniform(0, 0.6, labels.shape)
    return xr.DataArray(np.where(labels == 1, 1 - noise, noise).astype("float32"), labels.coords, labels.dims)


@pytest.fixture(scope="module")
def result(opened: xr.Dataset, labels: xr.DataArray) -> xr.Dataset:
    """Scores of `labels`, asked as `LINE` asks."""
    return opened.clouds.evaluate(labels, QUESTIONS, resamples=20)


@pytest.fixture(scope="module")
def folders(labels: xr.DataArray, probability: xr.DataArray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Predictions as people keep them; not to be changed: folders ``labels``, ``scl``, ``probability``."""
    root = tmp_path_factory.mktemp("predictions")
    scl = xr.where(labels == 255, 0, xr.where(labels == 1, 9, xr.where(labels == 2, 3, 4))).astype("uint8")
    for name, array in {"labels": labels, "scl": scl, "probability": probability}.items():
        (root / name).mkdir()
        for scene in array.scene.values:
            np.save(root / name / f"{scene}.npy", array.sel(scene=scene).values)
    return root


@pytest.mark.parametrize("prediction", ["labels", "probability"])
def test_predictions_say_the_same_in_a_folder_a_zip_and_a_zarr(
    prediction: str,
    folders: Path,
    store: Path,
    tmp_path: Path,
    run: Callable[..., Answer],
    request: pytest.FixtureRequest,
) -> None:
    array = request.getfixturevalue(prediction)
    array.to_dataset(name="prediction").to_zarr(tmp_path / "p.zarr", zarr_format=2)
    zipped = shutil.make_archive(str(tmp_path / "p"), "zip", folders / prediction)
    options = ["--resamples", 20, *(["--threshold", 0.5] if prediction == "probability" else [])]
    answers = []
    for path in (folders / prediction, zipped, tmp_path / "p.zarr"):
        answer = run("evaluate", store, path, *options)
        answers.append(answer._replace(out=answer.out.replace(f"prediction {path}", "prediction PATH")))
    first, *others = answers
    assert (first.code, first.err) == (0, "")
    assert "prediction against masks: cloud" in first.out
    assert others == [first, first]


def test_evaluate_shows_the_numbers_of_the_accessor(
    store: Path, folders: Path, result: xr.Dataset, run: Callable[..., Answer]
) -> None:
    answer = run("evaluate", store, folders / "labels", *LINE)
    assert (answer.code, answer.err) == (0, "")
    parts = answer.out.split("prediction against masks: ")
    *classes, overall = parts[1:]
    scores = tables.class_table(result)
    for name, part in zip(["clear", "cloud", "cloud_shadow"], classes, strict=True):
        assert part.split()[0] == name
        of_class = scores[scores["class"] == name]
        assert shows(part, of_class.drop(columns=["class", "groups", "IoU", "bal.acc."]))
    assert {"human", "beside", "interval"} < set(classes[0].split())
    assert shows(overall, tables.overall_table(result, intervals=False).drop(columns="groups"))
    assert shows(overall.split("pixels left out of all strata together")[1], tables.ignored_table(result).head(1))


@pytest.mark.parametrize(
    ("folder", "line", "options"),
    [
        (
            "labels",
            ["--truth", "B", "--boundary-buffer", 2, "--by", "season", "--by", "split", "--seed", 5],
            {"truth": "B", "boundary_buffer": 2, "by": ["season", "split"], "seed": 5},
        ),
        ("scl", ["--class-map", "sen2cor", "--merge-shadow"], {"class_map": "sen2cor", "merge_shadow": True}),
        ("probability", ["--threshold", 0.3], {"threshold": 0.3}),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else None if isinstance(value, str) else "",
)
def test_options_of_evaluate_are_those_of_the_accessor(
    folder: str,
    line: list[object],
    options: dict[str, Any],
    store: Path,
    folders: Path,
    opened: xr.Dataset,
    tmp_path: Path,
    run: Callable[..., Answer],
) -> None:
    file = tmp_path / "scores.csv"
    answer = run("evaluate", store, folders / folder, "--resamples", 20, *line, "--csv", file)
    assert (answer.code, answer.err) == (0, "")
    result = opened.clouds.evaluate(str(folders / folder), **{"resamples": 20} | options)
    assert differences(read_csv(file), result) == []


def test_evaluate_scores_the_scenes_that_are_left(
    store: Path, folders: Path, opened: xr.Dataset, labels: xr.DataArray, tmp_path: Path, run: Callable[..., Answer]
) -> None:
    left = opened.clouds.select("difficulty > 1", split="test")
    # Predictions of other scenes are not asked for.
    some = tmp_path / "some"
    some.mkdir()
    for scene in left.scene.values:
        shutil.copy(folders / "labels" / f"{scene}.npy", some)
    line = ["--where", "difficulty > 1", "--split", "test", "--resamples", 20]
    answer = run("evaluate", store, some, *line, "--csv", tmp_path / "scores.csv")
    assert (answer.code, answer.err) == (0, "")
    result = left.clouds.evaluate(labels, resamples=20)
    assert differences(read_csv(tmp_path / "scores.csv"), result) == []


def test_evaluate_writes_every_number_as_csv_and_json_and_the_tables_as_markdown(
    store: Path, folders: Path, result: xr.Dataset, tmp_path: Path, run: Callable[..., Answer]
) -> None:
    as_json, as_csv, as_markdown = (tmp_path / f"scores.{suffix}" for suffix in ("json", "csv", "md"))
    files = ["--json", as_json, "--csv", as_csv, "--markdown", as_markdown]
    answer = run("evaluate", store, folders / "labels", *LINE, *files)
    assert answer.code == 0
    assert answer.out.endswith(f"\nwritten: {as_json}\nwritten: {as_csv}\nwritten: {as_markdown}\n")
    written, expected = as_markdown.read_text(encoding="utf-8"), result.evaluation.to_markdown()
    assert written.split("\n\n")[1:] == expected.split("\n\n")[1:]
    assert written.startswith(expected.split("\n\n")[0])
    assert differences(read_csv(as_csv), result) == []
    found = strict_json(as_json)
    asked = {"store": str(store), "prediction": str(folders / "labels"), "by": "difficulty, cirrus"}
    assert found["settings"] == result.attrs | asked
    assert {"truth": "primary", "class_map": "catalogue", "resamples": 20, "seed": 0}.items() <= result.attrs.items()
    assert any(row["f1"] is None for row in found["scores"])
    assert differences(found["scores"], result) == []


def test_evaluate_writes_a_page(
    store: Path,
    folders: Path,
    opened: xr.Dataset,
    probability: xr.DataArray,
    tmp_path: Path,
    run: Callable[..., Answer],
) -> None:
    file = tmp_path / "scores.html"
    line = ["--threshold", 0.5, "--by", "difficulty", "--resamples", 20, "--html", file]
    assert run("evaluate", store, folders / "probability", *line).code == 0
    text = file.read_text(encoding="utf-8")
    result = opened.clouds.evaluate(probability, "difficulty", threshold=0.5, resamples=20)
    for shown in (result.evaluation.class_table(), result.evaluation.overall_table(), tables.ignored_table(result)):
        assert pages.table(shown) in text
    assert "<h2>Precision and recall</h2>" in text


def test_missing_scenes_are_named_in_one_message(
    store: Path, folders: Path, opened: xr.Dataset, tmp_path: Path, run: Callable[..., Answer]
) -> None:
    some = shutil.copytree(folders / "labels", tmp_path / "some")
    gone = opened.scene.values[[2, 7]]
    for scene in gone:
        (some / f"{scene}.npy").unlink()
    answer = run("evaluate", store, some)
    assert answer.is_one_message(*(f"scene {scene} is missing" for scene in gone), "8 of 10 scenes", some)
    assert answer.err.count("is missing") == 2


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        (["stats", "{store}", "--by", "surface_tpye"], ["no question 'surface_tpye'", "did you mean surface_type"]),
        (["stats", "{store}", "--where", "cirus"], ["did you mean cirrus"]),
        (["stats", "{store}", "--where", "difficulty > 5"], ["no scene of {store} is left", "--where or --split"]),
        (["stats", "{store}", "--split", "valid"], ["'train', 'test'"]),
        (["stats", "{tmp}/nothing"], ["holds no catalogue"]),
        (["evaluate", "{store}", "{labels}", "--by", "dificulty"], ["no question", "did you mean difficulty"]),
        (["evaluate", "{store}", "{labels}", "--class-map", "sen2cop"], ["'sen2cop'", "sen2cor"]),
        (["evaluate", "{store}", "{labels}", "--threshold", "0.5"], ["leave out the threshold"]),
        (["evaluate", "{store}", "{probability}"], ["need a threshold"]),
        (["evaluate", "{store}", "{probability}", "--threshold", "2"], ["threshold 2.0 is not above 0 and up to 1"]),
        (["evaluate", "{store}", "{labels}", "--where", "difficulty > 5"], ["no scene of {store} is left"]),
        (["evaluate", "{store}", "{tmp}/nothing"], ["{tmp}/nothing does not exist"]),
        (["evaluate", "{tmp}/nothing", "{labels}"], ["holds no catalogue"]),
    ],
    ids=" ".join,
)
def test_an_error_is_one_message_without_a_traceback(
    line: list[str], parts: list[str], store: Path, folders: Path, tmp_path: Path, run: Callable[..., Answer]
) -> None:
    places = {"store": store, "tmp": tmp_path, "labels": folders / "labels", "probability": folders / "probability"}
    answer = run(*(word.format(**places) for word in line))
    assert answer.is_one_message(*(part.format(**places) for part in parts))


@pytest.mark.parametrize(
    ("command", "option"),
    [
        *(("stats", option) for option in ("--json", "--csv", "--html")),
        *(("evaluate", option) for option in ("--json", "--csv", "--html", "--markdown")),
    ],
)
def test_a_file_that_cannot_be_written_is_told_before_anything_is_read(
    command: str, option: str, tmp_path: Path, run: Callable[..., Answer]
) -> None:
    file = tmp_path / "nowhere" / "file"
    # Neither store nor predictions are there, and that is not what the message is about.
    answer = run(command, *["store", "predictions"][: 1 + (command == "evaluate")], option, file)
    assert answer.is_one_message(f"{file} cannot be written: there is no folder {file.parent}")


@pytest.mark.parametrize("command", ["stats", pytest.param("evaluate", marks=pytest.mark.slow)])
def test_a_page_without_matplotlib_says_what_to_install(
    command: str,
    store: Path,
    folders: Path,
    tmp_path: Path,
    run: Callable[..., Answer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    predictions = [] if command == "stats" else [folders / "labels", "--resamples", 20]
    answer = run(command, store, *predictions, "--html", tmp_path / "page.html")
    assert answer.code == 1
    assert answer.err == "error: charts need matplotlib; install it with: pip install 's2cmc[plot]'\n"
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    "line",
    [
        ["stats"],
        ["stats", "store", "--nonsense"],
        ["stats", "store", "--markdown", "file"],
        ["evaluate", "store"],
        ["evaluate", "store", "predictions", "--boundary-buffer", "-1"],
        ["evaluate", "store", "predictions", "--boundary-buffer", "1.5"],
        ["evaluate", "store", "predictions", "--threshold", "high"],
        ["evaluate", "store", "predictions", "--truth", "C"],
        ["evaluate", "store", "predictions", "--resamples", "0"],
        ["evaluate", "store", "predictions", "--seed", "-1"],
        ["evaluate", "store", "predictions", "--by"],
    ],
    ids=" ".join,
)
def test_a_wrong_line_ends_with_2(line: list[str], run: Callable[..., Answer]) -> None:
    answer = run(*line)
    assert answer.code == 2
    assert "Error" in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize("contrary", [pytest.param(False, marks=pytest.mark.slow), True], ids=["", "contrary"])
def test_80_columns_hold_every_row_of_evaluate(
    contrary: bool, store: Path, folders: Path, opened: xr.Dataset, tmp_path: Path, run: Callable[..., Answer]
) -> None:
    predictions = folders / "labels"
    if contrary:  # kappa below 0 is the widest of numbers
        predictions = tmp_path
        for scene, mask in zip(opened.scene.values, opened.mask.values, strict=True):
            np.save(tmp_path / f"{scene}.npy", np.where(mask == 1, 2, 1).astype("uint8"))
    answer = run("evaluate", store, predictions, "--by", "cloud_type", "--resamples", 20, width=80)
    assert "…" not in answer.out
    result = opened.clouds.evaluate(str(predictions), "cloud_type", resamples=20)
    assert shows(answer.out, tables.class_table(result).drop(columns=["class", "groups", "IoU", "bal.acc."]))
    assert shows(answer.out, tables.overall_table(result, intervals=False).drop(columns="groups"))
    assert shows(answer.out, tables.ignored_table(result).head(1))
