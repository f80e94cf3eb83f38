"""Methods of ``ds.clouds`` on evaluation; each forwards to a package."""

from collections.abc import Mapping

import xarray as xr

from s2cmc import evaluation, query, report
from s2cmc.accessor._base import COUNTED, AccessorBase
from s2cmc.evaluation import Prediction, Resampling
from s2cmc.query import Annotator, By
from s2cmc.schema import TAG_NAMES


class EvaluationAccessor(AccessorBase):
    """Predictions against the masks, and the annotators against each other."""

    def masks(self, annotator: Annotator = "primary") -> xr.DataArray:
        """Return the masks by one annotator, of the scenes that have one; lazy.

        Parameters
        ----------
        annotator : {"primary", "other", "A", "B"}
            ``primary`` made `mask`, ``other`` made `alt_mask`. A and B are two persons: either may have made either.

        Returns
        -------
        DataArray (scene, y, x), uint8
            0 clear, 1 cloud, 2 cloud_shadow, 255 no label; coordinate ``annotator`` says who made it.

        Examples
        --------
        >>> ds.clouds.masks("B").sizes["scene"]
        4
        """
        part = self._part("scene", "mask", "y", "x", "has_alt_mask", "annotator")
        return self._as_given(query.masks(part, annotator), chosen=True)

    def confusion(
        self,
        prediction: Prediction,
        *,
        class_map: str | Mapping[int, int | None] | None = None,
        threshold: float | None = None,
        boundary_buffer: int = 0,
        merge_shadow: bool = False,
        truth: Annotator = "primary",
    ) -> xr.Dataset:
        """Count the pixels of each pair of truth and prediction in each scene; lazy. All scores follow from the counts.

        Parameters
        ----------
        prediction : DataArray, str or path
            DataArray (scene, y, x) with product IDs as coordinate ``scene``, in any order and chunks; further scenes
            are left out. Or a folder, zip or Zarr store of predictions named by scene: npy, npz or GeoTIFF. Whole
            numbers are labels, booleans cloud or not, floats probabilities of cloud (NaN for none). Chunks that were
            never written in a Zarr store are its fill value.
        class_map : str or mapping of int to int or None, optional
            Meaning of the labels: ``"catalogue"`` (0 clear, 1 cloud, 2 cloud_shadow; the default), ``"binary"`` or
            ``"s2cloudless"`` (0, 1), ``"sen2cor"`` (SCL), ``"fmask"``, ``"python-fmask"``, ``"cloudsen12"``,
            ``"omnicloudmask"``, or one of your own. 255 is no label.
        threshold : float, optional
            For probabilities: cloud from this value on.
        boundary_buffer : int
            Leave out this number of pixels on each side of a class boundary of the truth. Boundaries of shadow to clear
            count too, also for cloud: merge shadow to compare with a mask that has none.
        merge_shadow : bool
            Count shadow as clear on both sides, for cloud against non-cloud; always so if a prediction has no shadow.
        truth : {"primary", "other", "A", "B"}
            Annotator whose masks are the truth; scenes without one are left out.

        Returns
        -------
        Dataset
            confusion : (scene, truth, predicted), int64
            ignored : (scene, reason), int64
                Pixels in no table: without label in the truth, else in the prediction, else near a boundary.
            cloud_probability : (scene, cloud, probability), int64
                For probabilities only: their histogram, in steps of 0.001.

            human : (scene, truth, predicted), int64
                The other annotator in place of the prediction, in the pixels of `confusion`; 0 where there is none.

            Counts of parts add up: ``a + b`` for parts of the pixels (without `boundary_buffer`, which sees no boundary
            beyond an edge), ``xr.concat(parts, "scene", combine_attrs="no_conflicts")`` for parts of the scenes.

        Raises
        ------
        PredictionError
            If scenes are missing, shapes or dtypes do not fit, or labels are unknown: before any pixel of the catalogue
            is read, except for labels of a lazy array, which are known when it is computed.
        QueryError
            If an option does not exist.

        Examples
        --------
        >>> counts = ds.clouds.confusion(ds.reflectance.sel(band="B01") > 0.3)
        >>> counts.confusion.sum("scene").values.tolist()
        [[73198, 8590], [19277, 30007]]
        """
        counts = evaluation.count_prediction(
            self._part(*COUNTED),
            self._along_scenes(prediction),
            class_map=class_map,
            threshold=threshold,
            boundary_buffer=boundary_buffer,
            merge_shadow=merge_shadow,
            truth=truth,
        )
        return self._as_given(counts, chosen=True)

    def evaluate(
        self,
        prediction: Prediction | xr.Dataset,
        by: By = None,
        *,
        class_map: str | Mapping[int, int | None] | None = None,
        threshold: float | None = None,
        boundary_buffer: int = 0,
        merge_shadow: bool = False,
        truth: Annotator = "primary",
        resamples: int = 10_000,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> xr.Dataset:
        """Score a prediction by stratum, with intervals, beside the human ceiling on the same scenes and strata.

        Scores are pooled over the pixels of a stratum. ``by="scene"`` scores each scene; do not average these scores:
        319 of the 513 scenes hold a single class, so that most scores of most scenes are undefined.

        Parameters
        ----------
        prediction : DataArray, str, path, or Dataset
            See `confusion`. Or the Dataset that `confusion` returned, computed or not, for other strata without another
            pass over the pixels; the options of counting are then fixed, and are not given again.
        by : str, DataArray or sequence of these, optional
            See `prevalence`.
        class_map, threshold, boundary_buffer, merge_shadow, truth
            See `confusion`.
        resamples, confidence, seed
            Intervals: percentiles of a bootstrap that draws dependence groups of each stratum with replacement. NaN
            where there are fewer than 5 groups, or a class is in so few that over 5 % of the resamples lack it; below
            about 30 groups they are somewhat too narrow.

        Returns
        -------
        Dataset (stratum, mask_class)
            scenes, groups : int64
                Scenes and groups that a class is scored on: cloud (and non_cloud) on all scenes, clear and cloud_shadow
                where shadows are marked, because elsewhere the masks do not tell the two apart.
            tp, fp, fn, tn : int64
                Pixels of the class against the others.
            precision, recall, f1, iou, balanced_accuracy : float64
                0 to 1; NaN where the truth does not hold the class.
            cloud_accuracy, cloud_kappa : (stratum,), float64
                Cloud against non-cloud, all scenes.
            three_class_accuracy, three_class_kappa : (stratum,), float64
                Three classes, scenes with marked shadows; only where the prediction has shadow.
            ..._lower, ..._upper
                Ends of the interval of each of them.
            ignored_truth, ignored_prediction, ignored_boundary, ignored_shadow : (stratum,), int64
                Pixels left out: see `confusion`; the last those left out of three classes for unmarked shadows.
            doubly_annotated : int64
                Scenes with masks of both annotators, among those that a class is scored on.
            human_..., doubly_...
                On these scenes alone: each score of the other annotator against the same truth, and of the prediction,
                both in the pixels that the prediction gives a class.
                (`agreement` has A in the place of the truth, so that precision, recall and kappa differ a little.)

            ``ds.clouds.evaluate(...).evaluation`` shows it as a table.

        Raises
        ------
        PredictionError, QueryError
            See `confusion`.

        Examples
        --------
        >>> result = ds.clouds.evaluate(ds.reflectance.sel(band="B01") > 0.3, by="snow_ice")
        >>> result.f1.sel(mask_class="cloud").values.round(2).tolist()
        [0.68, 0.53, 0.72]
        """
        part = self._part(*COUNTED)
        options = {
            "class_map": class_map,
            "threshold": threshold,
            "boundary_buffer": boundary_buffer,
            "merge_shadow": merge_shadow,
            "truth": truth,
        }
        counts = evaluation.prediction_counts(part, self._along_scenes(prediction), options)
        return evaluation.evaluate(part, counts, self._along_scenes(by), Resampling(resamples, confidence, seed))

    def compare(
        self,
        first: Prediction | xr.Dataset,
        second: Prediction | xr.Dataset,
        by: By = None,
        *,
        resamples: int = 10_000,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> xr.Dataset:
        """Subtract the scores of one prediction from those of another, with intervals of the difference.

        Both are scored on the same resamples of dependence groups, so that scenes that are hard for both cancel out:
        an interval that does not hold 0 speaks for a difference.

        Parameters
        ----------
        first, second : Dataset, DataArray, str or path
            Result of `confusion` for each, with the same options; or predictions that need none of its options.
        by, resamples, confidence, seed
            See `evaluate`.

        Returns
        -------
        Dataset (stratum, mask_class)
            The scores of `evaluate` and the ends of their intervals, each as a difference, -1 to 1; `scenes` and
            `groups`; and as ``ignored_prediction_first``, ``_second`` what each leaves out: where these differ, the two
            are scored on different pixels.

        Raises
        ------
        PredictionError
            If the two were not counted for the same scenes, classes, truth and boundary_buffer.

        Examples
        --------
        >>> low, high = (ds.reflectance.sel(band="B01") > threshold for threshold in (0.2, 0.3))
        >>> difference = ds.clouds.compare(low, high)
        >>> bool(difference.recall.sel(stratum="all", mask_class="cloud") > 0)
        True
        """
        part = self._part(*COUNTED)
        first_counts, second_counts = (
            evaluation.prediction_counts(part, self._along_scenes(one), {}) for one in (first, second)
        )
        return evaluation.compare(
            part, first_counts, second_counts, self._along_scenes(by), Resampling(resamples, confidence, seed)
        )

    def precision_recall(
        self,
        prediction: Prediction | xr.Dataset,
        by: By = None,
        *,
        boundary_buffer: int = 0,
        truth: Annotator = "primary",
    ) -> xr.Dataset:
        """Compute precision, recall and F1 of cloud at every threshold, from histograms of a predicted probability.

        Parameters
        ----------
        prediction : DataArray, str, path, or Dataset
            Probabilities of cloud; see `confusion`. Or its result for them.
        by : str, DataArray or sequence of these, optional
            See `prevalence`.
        boundary_buffer, truth
            See `confusion`.

        Returns
        -------
        Dataset (stratum, threshold)
            precision, recall, f1 : float64
                At thresholds 0, 0.001, ... 0.999, as `evaluate` gives them for each.
            average_precision : (stratum,), float64
                Sum over the thresholds of the gain in recall times the precision.

        Examples
        --------
        >>> curve = ds.clouds.precision_recall(ds.reflectance.sel(band="B01").clip(0, 1))
        >>> curve.average_precision.values.round(2).tolist()
        [0.68]
        """
        part = self._part(*COUNTED)
        threshold = prediction.attrs.get("threshold") if isinstance(prediction, xr.Dataset) else 0.5
        options = {"threshold": threshold, "boundary_buffer": boundary_buffer, "truth": truth}
        counts = evaluation.prediction_counts(part, self._along_scenes(prediction), options)
        return evaluation.precision_recall(part, counts, self._along_scenes(by))

    def agreement(
        self,
        by: By = "dataset",
        *,
        boundary_buffer: int = 0,
        merge_shadow: bool = False,
        resamples: int = 10_000,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> xr.Dataset:
        """Score annotator B against annotator A over the doubly annotated scenes: the human ceiling.

        F1, IoU, accuracy and kappa do not change if A and B change places; precision and recall do.

        Parameters
        ----------
        by : str, DataArray or sequence of these, optional
            See `prevalence`; by default CALIBRATION and VALIDATION apart.
        boundary_buffer, merge_shadow, resamples, confidence, seed
            See `evaluate`; boundaries are those of A.

        Returns
        -------
        Dataset (stratum, mask_class)
            Scores as in `evaluate`, with A in the place of the truth; NaN where neither has the class. And

            pixel_agreement : (stratum,), float64
                Share of the pixels of all these scenes that got the same class, shadows marked or not.

        Raises
        ------
        CatalogueError
            If no scene has masks of both.

        Examples
        --------
        >>> ds.clouds.agreement(by=None).pixel_agreement.values.round(2).tolist()
        [0.98]
        """
        part = self._part(*COUNTED, "alt_mask")
        resampling = Resampling(resamples, confidence, seed)
        return evaluation.agreement(part, self._along_scenes(by), boundary_buffer, merge_shadow, resampling)

    def evaluation_page(
        self,
        prediction: Prediction | xr.Dataset,
        by: By = None,
        *,
        worst: int = 12,
        resamples: int = 10_000,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> str:
        """Make one self-contained HTML page of `evaluate`.

        Scores by stratum with intervals and the human ceiling, as charts and tables; the precision-recall curve of
        probabilities; the worst scenes with their thumbnails. Needs ``s2cmc[plot]``.

        Parameters
        ----------
        prediction : Dataset, DataArray, str or path
            Result of `confusion`, or a prediction that needs none of its options.
        by, resamples, confidence, seed
            See `evaluate`.
        worst : int
            Number of scenes to show, lowest accuracy of cloud against non-cloud first.

        Returns
        -------
        str
            For ``Path("report.html").write_text(...)``.

        Examples
        --------
        >>> page = ds.clouds.evaluation_page(ds.reflectance.sel(band="B01") > 0.3)
        >>> page.splitlines()[0]
        '<!DOCTYPE html>'
        """
        part = self._part(*COUNTED, *TAG_NAMES, "difficulty")
        (counts,) = evaluation.compute_together(evaluation.prediction_counts(part, self._along_scenes(prediction), {}))
        result = evaluation.evaluate(part, counts, self._along_scenes(by), Resampling(resamples, confidence, seed))
        return report.evaluation_page(part, counts, result, worst)
