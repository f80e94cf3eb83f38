"""The catalogue's own tables, gathered, and as records for files."""

import io
import json
import threading

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from s2cmc.errors import QueryError
from s2cmc.report import tables


@pytest.fixture(scope="module")
def found(opened: xr.Dataset) -> dict[str, xr.Dataset]:
    return tables.gather_statistics(opened, ["difficulty", "season"])


def test_all_tables_are_those_of_the_accessor(found: dict[str, xr.Dataset], opened: xr.Dataset) -> None:
    assert list(found) == ["prevalence", "difficulty", "tags", "tag_cooccurrence", "agreement"]
    xr.testing.assert_identical(found["prevalence"], opened.clouds.prevalence(["difficulty", "season"]).compute())
    xr.testing.assert_identical(found["difficulty"], opened.clouds.difficulty())
    xr.testing.assert_identical(found["tags"], opened.clouds.tag_frequencies())
    xr.testing.assert_identical(found["tag_cooccurrence"]["scenes"], opened.clouds.tag_cooccurrence())
    xr.testing.assert_identical(found["agreement"], opened.clouds.agreement())


def test_there_is_no_agreement_where_one_alone_annotated(opened: xr.Dataset) -> None:
    assert "agreement" not in tables.gather_statistics(opened.clouds.select("not has_alt_mask"), None)


def test_masks_are_read_once_for_each_table_that_needs_them(opened: xr.Dataset) -> None:
    read = {"mask": 0, "alt_mask": 0}
    lock = threading.Lock()

    def counting(name: str) -> object:
        def look(block: np.ndarray) -> np.ndarray:
            with lock:
                read[name] += 1
            return block

        meta = np.empty((0, 0, 0), "uint8")
        return ("scene", "y", "x"), opened[name].data.map_blocks(look, dtype="uint8", meta=meta)

    tables.gather_statistics(opened.assign({name: counting(name) for name in read}), "difficulty")
    # A block is a scene: ten for the prevalence, and three with the other annotator's for the agreement.
    assert read == {"mask": 13, "alt_mask": 3}


def test_an_unknown_question_is_refused_before_anything_is_read(catalogue: xr.Dataset, no_compute: None) -> None:
    with pytest.raises(QueryError, match="no question 'seasons' to ask by; did you mean season"):
        tables.gather_statistics(catalogue, "seasons")


def test_json_has_null_for_what_is_undefined() -> None:
    table = xr.Dataset(
        {"percent": (("stratum", "mask_class"), [[0.1 + 0.2, np.nan]]), "scenes": ("stratum", [3])},
        {"stratum": ["<all> \u00e9"], "mask_class": ["clear", "cloud"], "by": ("stratum", ["all"])},
    )
    found = json.loads(tables.to_json({"prevalence": table}))
    of_both = {"stratum": "<all> \u00e9", "scenes": 3, "by": "all"}
    # Whole numbers stay whole, and no digit is lost.
    assert found == {
        "prevalence": [
            of_both | {"mask_class": "clear", "percent": 0.30000000000000004},
            of_both | {"mask_class": "cloud", "percent": None},
        ]
    }


def test_csv_has_a_line_for_each_cell() -> None:
    first = xr.Dataset(
        {"percent": (("stratum", "mask_class"), [[0.1 + 0.2, np.nan]])},
        {"stratum": ["thin, thick"], "mask_class": ["clear", "cloud"]},
    )
    second = xr.Dataset({"percent": ("difficulty", [7.5])}, {"difficulty": [5]})
    found = tables.to_csv({"prevalence": first, "difficulty": second})
    assert found.splitlines() == [
        "table,row,column,value",
        'prevalence,"thin, thick / clear",percent,0.30000000000000004',
        'prevalence,"thin, thick / cloud",percent,',
        "difficulty,5,percent,7.5",
    ]


def test_csv_counts_are_whole_numbers(found: dict[str, xr.Dataset]) -> None:
    lines = pd.read_csv(io.StringIO(tables.to_csv(found)), dtype=str)
    counts = lines.loc[lines["column"].isin(["scenes", "pixels", "tp", "differing_scenes"])]
    assert set(counts["table"]) == set(found)
    assert counts["value"].str.fullmatch(r"\d+").all(), counts[~counts["value"].str.fullmatch(r"\d+")]
