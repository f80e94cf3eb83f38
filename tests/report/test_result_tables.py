"""Results as tables for people: rounded text, what is undefined as '-', in terminals, notebooks and Markdown."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from s2cmc.errors import CatalogueError
from s2cmc.report import tables
from s2cmc.schema.catalogue import CLASS_DIM

SCORES = ["precision", "recall", "f1", "iou", "balanced_accuracy"]
OVERALL = ["cloud_accuracy", "cloud_kappa", "three_class_accuracy", "three_class_kappa"]


def _by_hand(**more: object) -> xr.Dataset:
    """A result of three strata, of which the second has no scene, and two classes."""
    scores = {name: np.array([[0.12345, 0.9996], [np.nan] * 2, [0.5, np.nan]]) for name in SCORES}
    overall = {name: np.array([0.75, np.nan, -0.25]) for name in OVERALL[:2]}
    ends = {}
    for name, value in (scores | overall).items():
        ends |= {f"{name}_lower": value - 0.1, f"{name}_upper": value + 0.1}
    ends["f1_lower"][2] = ends["f1_upper"][2] = np.nan  # of one group there is no interval
    ends["cloud_kappa_lower"][2] = ends["cloud_kappa_upper"][2] = np.nan
    counts = {"scenes": np.array([[3, 4], [0, 0], [1, 1]]), "groups": np.array([[2, 3], [0, 0], [1, 1]])}
    values = scores | overall | ends | counts
    dims = ("stratum", CLASS_DIM)
    return xr.Dataset(
        {name: (dims[: value.ndim], value) for name, value in values.items()} | more,
        {"stratum": ["all", "nothing", "thin|thick"], CLASS_DIM: ["non_cloud", "cloud"]},
    )


@pytest.fixture(scope="module")
def counts(opened: xr.Dataset) -> xr.Dataset:
    """Masks moved by some pixels, counted."""
    moved = np.roll(opened.mask.values, (3, 5), axis=(1, 2))
    return opened.clouds.confusion(xr.DataArray(moved, coords={"scene": opened.scene}, dims=opened.mask.dims)).compute()


@pytest.fixture(scope="module")
def result(opened: xr.Dataset, counts: xr.Dataset) -> xr.Dataset:
    return opened.clouds.evaluate(counts, "difficulty", resamples=20)


def test_class_table_rounds_and_says_what_is_undefined() -> None:
    found = tables.class_table(_by_hand())
    assert found.columns.tolist() == [
        *("stratum", "class", "scenes", "groups", "F1", "interval", "prec.", "recall", "IoU", "bal.acc.")
    ]
    assert found.to_numpy().tolist() == [
        ["all", "non_cloud", "3", "2", "0.123", "0.023, 0.223", "0.123", "0.123", "0.123", "0.123"],
        ["all", "cloud", "4", "3", "1.000", "0.900, 1.100", "1.000", "1.000", "1.000", "1.000"],
        ["thin|thick", "non_cloud", "1", "1", "0.500", "-", "0.500", "0.500", "0.500", "0.500"],
        ["thin|thick", "cloud", "1", "1", "-", "-", "-", "-", "-", "-"],
    ]


def test_overall_table_puts_intervals_beside_the_scores() -> None:
    found = tables.overall_table(_by_hand())
    assert found.columns.tolist() == ["stratum", "scenes", "groups", "accuracy", "kappa"], "no three classes"
    assert found.to_numpy().tolist() == [
        ["all", "4", "3", "0.750 [0.650, 0.850]", "0.750 [0.650, 0.850]"],
        ["thin|thick", "1", "1", "-0.250 [-0.350, -0.150]", "-0.250"],
    ]
    plain = tables.overall_table(_by_hand(), intervals=False)
    assert plain[["accuracy", "kappa"]].to_numpy().tolist() == [["0.750", "0.750"], ["-0.250", "-0.250"]]


def test_the_human_ceiling_stands_beside_the_score_on_the_same_scenes() -> None:
    dims = ("stratum", CLASS_DIM)
    both = {
        "human_f1": (dims, [[0.9, 0.8], [np.nan] * 2, [np.nan] * 2]),
        "doubly_f1": (dims, [[0.7, 0.6], [np.nan] * 2, [np.nan] * 2]),
        "human_cloud_accuracy": ("stratum", [0.95, np.nan, np.nan]),
        "doubly_cloud_accuracy": ("stratum", [0.85, np.nan, np.nan]),
        "doubly_annotated": (dims, [[1, 2], [0, 0], [0, 0]]),
    }
    columns = ["human", "beside it", "on"]
    of_classes = tables.class_table(_by_hand(**both))[columns].to_numpy().tolist()
    assert of_classes == [["0.900", "0.700", "1"], ["0.800", "0.600", "2"], ["-", "-", "0"], ["-", "-", "0"]]
    overall = tables.overall_table(_by_hand(**both))[columns].to_numpy().tolist()
    assert overall == [["0.950", "0.850", "2"], ["-", "-", "0"]]


def test_a_result_shows_the_numbers_it_holds(result: xr.Dataset) -> None:
    found = tables.class_table(result).set_index(["stratum", "class"])
    for (stratum, mask_class), row in found.iterrows():
        at = result.sel({"stratum": stratum, CLASS_DIM: mask_class})
        for column, name in {"F1": "f1", "prec.": "precision", "IoU": "iou", "human": "human_f1"}.items():
            assert row[column] == ("-" if np.isnan(at[name]) else f"{at[name].item():.3f}")
        assert row["scenes"] == str(at["scenes"].item())
        assert row["on"] == str(at["doubly_annotated"].item())
    overall = tables.overall_table(result).set_index("stratum")
    assert overall.columns[2:6].tolist() == ["accuracy", "kappa", "acc. of 3", "kappa of 3"]
    at = result.sel(stratum="all")
    expected = (at[f"three_class_kappa{end}"].item() for end in ("", "_lower", "_upper"))
    assert overall.loc["all", "kappa of 3"] == "{:.3f} [{:.3f}, {:.3f}]".format(*expected)
    assert overall.loc["all", "groups"] == "8"


def test_agreement_shows_the_pixels_that_agree(opened: xr.Dataset) -> None:
    agreement = opened.clouds.agreement("annotator", resamples=20)
    found = tables.overall_table(agreement)
    assert found["agreeing pixels"].iloc[0] == f"{agreement.pixel_agreement.sel(stratum='all').item():.3f}"
    assert "human" not in found, "this is the human ceiling itself"


def test_ignored_table_counts_by_reason(result: xr.Dataset) -> None:
    found = tables.ignored_table(result)
    assert found.columns.tolist() == [*("stratum", "no truth", "no prediction", "near a boundary", "shadows unmarked")]
    assert found.iloc[0].tolist()[1:] == [
        f"{result[f'ignored_{name}'].sel(stratum='all').item():,}"
        for name in ("truth", "prediction", "boundary", "shadow")
    ]
    assert "," in found["shadows unmarked"].iloc[0], "thousands are set apart"
    assert "shadows unmarked" not in tables.ignored_table(result.drop_vars("ignored_shadow"))


def test_prevalence_table_shows_where_masks_and_table_differ(opened: xr.Dataset) -> None:
    prevalence = opened.clouds.prevalence("latitude_band").compute()
    found = tables.prevalence_table(prevalence)
    there = prevalence.stratum.values[prevalence.scenes.values > 0]
    assert 1 < len(there) < prevalence.sizes["stratum"]
    assert found["stratum"].tolist() == there.tolist(), "strata without a scene are left out"
    first = prevalence.sel(stratum="all")
    assert found.iloc[0].tolist() == [
        *("all", "10"),
        *(f"{value:.4f}" for value in first.percent.values),
        str(first.differing_scenes.item()),
        f"{np.abs(first.difference.values).max():.4f}",
    ]


def test_the_prevalence_of_scenes_without_a_label_is_undefined(opened: xr.Dataset) -> None:
    scene = opened.isel(scene=[0]).copy()
    scene["mask"] = xr.full_like(scene["mask"], 255)
    found = tables.prevalence_table(scene.clouds.prevalence().compute())
    assert found.loc[0, ["clear %", "cloud %", "cloud_shadow %", "by up to %"]].tolist() == ["-"] * 4


def test_share_table_shows_scenes_and_percentages(opened: xr.Dataset) -> None:
    found = tables.share_table(opened.clouds.difficulty())
    assert found.columns.tolist() == ["difficulty", "scenes", "percent"]
    levels = [int((opened.difficulty == level).sum()) for level in range(1, 6)]
    assert found.to_numpy().tolist() == [
        [str(level), str(scenes), f"{10 * scenes:.1f}"] for level, scenes in enumerate(levels, 1)
    ]
    tags = tables.share_table(opened.clouds.tag_frequencies())
    assert tags.columns.tolist() == ["tag", "tag_group", "scenes", "percent"]


def test_the_shares_of_no_scene_are_undefined(opened: xr.Dataset) -> None:
    nothing = opened.clouds.select("difficulty > 5")
    assert set(tables.share_table(nothing.clouds.difficulty())["percent"]) == {"-"}


def test_markdown_has_as_many_cells_in_every_line() -> None:
    frame = pd.DataFrame({"a|b": ["x", "|y|"], "n": [1, 2.5]}, dtype=object)
    assert tables.markdown(frame).splitlines() == [
        r"| a\|b | n |",
        "| --- | --- |",
        "| x | 1 |",
        r"| \|y\| | 2.5 |",
    ]
    for line in _by_hand().evaluation.to_markdown().split("\n\n")[1].splitlines():
        assert line.replace(r"\|", "").count("|") == 11
    assert r"| thin\|thick | cloud |" in _by_hand().evaluation.to_markdown()


def test_a_result_prints_as_both_tables(result: xr.Dataset) -> None:
    text = repr(result.evaluation)
    assert str(result.evaluation) == text
    of_what, first, second, *remarks = text.split("\n\n")
    assert of_what == tables.settings(result)
    assert remarks == tables.remarks(result)
    classes, overall = result.evaluation.class_table(), result.evaluation.overall_table()
    for part, table in ((first, classes), (second, overall)):
        lines = [line.split() for line in part.splitlines()]
        assert lines == [" ".join(row).split() for row in [table.columns.tolist(), *table.to_numpy().tolist()]]
    assert result.evaluation.to_markdown().rstrip("\n").split("\n\n") == [
        tables.settings(result),
        tables.markdown(classes),
        tables.markdown(overall),
        *tables.remarks(result),
    ]


def test_a_notebook_shows_both_tables_as_html() -> None:
    odd = _by_hand().assign_coords(stratum=["all", "nothing", "<b>thin & thick"])
    found = odd.evaluation._repr_html_()
    assert found.count("<table") == 2
    assert "&lt;b&gt;thin &amp; thick" in found
    assert "<b>" not in found
    identifier = "S2A_MSIL1C_20180128T124402_N0206_R097_T26UMF_20180128T163549"
    assert identifier in odd.assign_coords(stratum=["all", "nothing", identifier]).evaluation._repr_html_()


def test_a_comparison_prints_too(opened: xr.Dataset, counts: xr.Dataset) -> None:
    found = opened.clouds.compare(counts, counts, "dataset", resamples=20).evaluation
    assert "0.000 [0.000, 0.000]" in repr(found)
    assert {"scenes", "groups"} <= set(found.class_table())
    assert "human" not in found.overall_table()


def test_strata_without_scenes_are_left_out_of_a_comparison_as_well(opened: xr.Dataset, counts: xr.Dataset) -> None:
    of_one = opened.clouds.evaluate(counts, "latitude_band", resamples=20).evaluation.overall_table()
    found = opened.clouds.compare(counts, counts, "latitude_band", resamples=20).evaluation.overall_table()
    assert found["stratum"].tolist() == of_one["stratum"].tolist()


@pytest.mark.parametrize(
    "of",
    [
        lambda ds, result: ds,
        lambda ds, result: ds.clouds.prevalence(),
        lambda ds, result: result.isel(stratum=0),
        lambda ds, result: result[["f1"]],
    ],
    ids=["the catalogue", "another table", "one stratum without its dim", "without intervals"],
)
def test_what_is_no_result_says_so(of: object, opened: xr.Dataset, result: xr.Dataset) -> None:
    dataset = of(opened, result)
    for ask in (repr, lambda shown: shown._repr_html_(), lambda shown: shown.to_markdown()):
        with pytest.raises(CatalogueError, match=r"no result of ds\.clouds\.evaluate, compare or agreement"):
            ask(dataset.evaluation)
