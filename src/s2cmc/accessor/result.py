"""``result.evaluation``: a result of `evaluate`, `compare` or `agreement` as a table to read."""

import pandas as pd
import xarray as xr

from s2cmc.errors import CatalogueError
from s2cmc.report import class_table, markdown, overall_table, remarks, result_page, settings
from s2cmc.schema import CLASS_DIM


@xr.register_dataset_accessor("evaluation")
class ResultAccessor:
    """Shows a result as a table; the Dataset itself has every number.

    ``print(result.evaluation)``, a notebook's display of it, or `to_markdown`; ``result.to_dataframe()`` has it all.

    Examples
    --------
    >>> result = ds.clouds.evaluate(ds.reflectance.sel(band="B01") > 0.3, by="snow_ice")
    >>> result.evaluation.overall_table().shape
    (3, 8)
    """

    def __init__(self, dataset: xr.Dataset) -> None:
        self._obj = dataset

    def class_table(self) -> pd.DataFrame:
        """Return scores of each stratum and class, rounded, as text: F1 with its interval, beside the human ceiling.

        Examples
        --------
        >>> result = ds.clouds.evaluate(ds.reflectance.sel(band="B01") > 0.3, by="snow_ice")
        >>> result.evaluation.class_table().columns[:3].tolist()
        ['stratum', 'class', 'scenes']
        """
        return class_table(self._result())

    def overall_table(self) -> pd.DataFrame:
        """Return accuracy and kappa of each stratum with their intervals, rounded, as text.

        Examples
        --------
        >>> result = ds.clouds.evaluate(ds.reflectance.sel(band="B01") > 0.3, by="snow_ice")
        >>> result.evaluation.overall_table().columns[:3].tolist()
        ['stratum', 'scenes', 'groups']
        """
        return overall_table(self._result())

    def to_markdown(self) -> str:
        """Return both tables in Markdown, with the options and remarks.

        Examples
        --------
        >>> result = ds.clouds.evaluate(ds.reflectance.sel(band="B01") > 0.3)
        >>> result.evaluation.to_markdown().startswith("SYNTHETIC data")
        True
        """
        result = self._result()
        tables = [markdown(self.class_table()), markdown(self.overall_table())]
        return "\n\n".join([settings(result), *tables, *remarks(result)]) + "\n"

    def to_html(self) -> str:
        """Make one self-contained page of both tables and a chart of F1; needs ``s2cmc[plot]``.

        `CloudsAccessor.evaluation_page` adds the worst scenes and the precision-recall curve.

        Examples
        --------
        >>> result = ds.clouds.evaluate(ds.reflectance.sel(band="B01") > 0.3)
        >>> result.evaluation.to_html().splitlines()[0]
        '<!DOCTYPE html>'
        """
        return result_page(self._result())

    def __repr__(self) -> str:
        result = self._result()
        frames = [frame.to_string(index=False) for frame in (self.class_table(), self.overall_table())]
        return "\n\n".join([settings(result), *frames, *remarks(result)])

    def _repr_html_(self) -> str:
        return "".join(frame.to_html(index=False, border=0) for frame in (self.class_table(), self.overall_table()))

    def _result(self) -> xr.Dataset:
        if not {"stratum", CLASS_DIM} <= set(self._obj.dims) or "f1_lower" not in self._obj:
            raise CatalogueError(
                "this Dataset is no result of ds.clouds.evaluate, compare or agreement, which alone have .evaluation"
            )
        return self._obj
