"""``result.evaluation``: a result of `evaluate`, `compare` or `agreement` as a table to read."""

import pandas as pd
import xarray as xr

from s2cmc.errors import CatalogueError
from s2cmc.report import class_table, markdown, overall_table, remarks, result_page, settings
from s2cmc.schema import CLASS_DIM


@xr.register_dataset_accessor("evaluation")
class ResultAccessor:
    """Shows a result as a table; the Dataset itself holds every number.

    ``print(result.evaluation)``, a notebook's display of it, or `to_markdown`; ``result.to_dataframe()`` has it all.
    """

    def __init__(self, dataset: xr.Dataset) -> None:
        self._obj = dataset

    def class_table(self) -> pd.DataFrame:
        """Scores of each stratum and class, rounded, as text: F1 with its interval, beside the human ceiling."""
        return class_table(self._result())

    def overall_table(self) -> pd.DataFrame:
        """Accuracy and kappa of each stratum with their intervals, rounded, as text."""
        return overall_table(self._result())

    def to_markdown(self) -> str:
        """Both tables in Markdown, with what they are of."""
        result = self._result()
        tables = [markdown(self.class_table()), markdown(self.overall_table())]
        return "\n\n".join([settings(result), *tables, *remarks(result)]) + "\n"

    def to_html(self) -> str:
        """Both tables and a chart of F1 as one self-contained page; needs ``s2cmc[plot]``.

        `CloudsAccessor.evaluation_page` adds the worst scenes and the precision-recall curve.
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
