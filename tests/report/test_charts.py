"""Charts before they are drawn: what their bars, lines and labels stand for."""

import re

import numpy as np
import xarray as xr

from s2cmc.report import charts
from s2cmc.schema.catalogue import CLASS_COLORS, CLASS_DIM, MaskClass


def test_prevalence_is_stacked_to_100_percent(opened: xr.Dataset) -> None:
    prevalence = opened.clouds.prevalence("annotator").compute()
    (panel,) = charts.prevalence_chart(prevalence).axes
    assert [label.get_text() for label in panel.get_yticklabels()] == prevalence.stratum.values.tolist()
    widths = np.array([[bar.get_width() for bar in bars] for bars in panel.containers])
    np.testing.assert_allclose(widths, prevalence.percent.transpose(CLASS_DIM, "stratum"))
    ends = [bar.get_x() + bar.get_width() for bar in panel.containers[-1]]
    np.testing.assert_allclose(ends, 100)
    for bars, mask_class in zip(panel.containers, MaskClass, strict=True):
        assert bars.get_label() == mask_class.label
        np.testing.assert_allclose(bars[0].get_facecolor()[:3], np.array(CLASS_COLORS[mask_class]) / 255)
    assert panel.yaxis_inverted(), "the first stratum is at the top, as in the table"


def test_shares_are_bars_of_scenes() -> None:
    (panel,) = charts.shares_chart([1, 2], np.array([3, 0])).axes
    assert [bar.get_width() for bar in panel.patches] == [3, 0]
    assert [text.get_text() for text in panel.texts] == ["3", "0"]


def test_tags_that_go_together_are_numbers_on_a_map(opened: xr.Dataset) -> None:
    together = opened.clouds.tag_cooccurrence()
    panel, _ = charts.cooccurrence_chart(together).axes
    numbers = [int(text.get_text()) for text in panel.texts]
    np.testing.assert_array_equal(np.reshape(numbers, together.shape), together)
    assert [label.get_text() for label in panel.get_xticklabels()] == together.tag.values.tolist()


def test_scores_have_their_interval_and_the_human_ceiling(opened: xr.Dataset, counts: xr.Dataset) -> None:
    result = opened.clouds.evaluate(counts, "latitude_band", resamples=20)
    panels = charts.scores_chart(result).axes
    there = result.scenes.sel({CLASS_DIM: "cloud"}).values > 0
    assert 1 < there.sum() < len(there), "strata without a scene are left out"
    for panel, name in zip(panels, result[CLASS_DIM].values, strict=True):
        at = result.sel({CLASS_DIM: name}).isel(stratum=there)
        assert panel.get_title() == name
        drawn = [line.get_xdata() for line in panel.lines]
        for values, score in zip(drawn, ("f1", "doubly_f1", "human_f1"), strict=True):
            np.testing.assert_array_equal(values, at[score])
        np.testing.assert_allclose(panel.lines[0].get_color(), np.array(CLASS_COLORS[MaskClass[name.upper()]]) / 255)
        (intervals,) = panel.collections
        ends = [segment[:, 0] for segment in intervals.get_segments() if np.size(segment)]
        there_too = at.f1_lower.notnull().values
        np.testing.assert_array_equal(
            np.reshape(ends, (-1, 2)), np.stack([at.f1_lower, at.f1_upper], axis=1)[there_too]
        )
    assert [label.get_text() for label in panels[0].get_yticklabels()] == result.stratum.values[there].tolist()


def test_non_cloud_has_the_color_of_clear(opened: xr.Dataset, counts: xr.Dataset) -> None:
    merged = opened.clouds.evaluate(counts, resamples=20).assign_coords({CLASS_DIM: ["non_cloud", "cloud", "x"]})
    panels = charts.scores_chart(merged.isel({CLASS_DIM: [0, 1]})).axes
    for panel, mask_class in zip(panels, (MaskClass.CLEAR, MaskClass.CLOUD), strict=True):
        np.testing.assert_allclose(panel.lines[0].get_color(), np.array(CLASS_COLORS[mask_class]) / 255)


def test_agreement_is_drawn_as_what_it_is(opened: xr.Dataset) -> None:
    """There is no prediction in it."""
    figure = charts.scores_chart(opened.clouds.agreement(resamples=20))
    (legend,) = figure.legends
    assert not any("prediction" in text.get_text() for text in legend.get_texts())


def test_the_curve_has_a_dot_at_the_threshold(opened: xr.Dataset) -> None:
    values = np.where(opened.mask == 1, 0.8, 0.1) + np.random.default_rng(0).uniform(-0.1, 0.2, opened.mask.shape)
    prediction = xr.DataArray(values, coords={"scene": opened.scene}, dims=opened.mask.dims)
    curve = opened.clouds.precision_recall(prediction)
    (panel,) = charts.curve_chart(curve, 0.25).axes
    line, dot = panel.lines
    at = curve.sel(stratum="all").isel(threshold=250)
    assert (dot.get_xdata().item(), dot.get_ydata().item()) == (at.recall.item(), at.precision.item())
    np.testing.assert_array_equal(line.get_xdata(), curve.recall.sel(stratum="all"))
    assert re.fullmatch(r"all \(average precision [01]\.\d{3}\)", line.get_label())
