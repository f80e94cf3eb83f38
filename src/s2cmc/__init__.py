"""The Sentinel-2 Cloud Mask Catalogue as one lazy xarray Dataset.

``s2cmc.open_catalogue(path_or_url)`` opens a store; ``ds.clouds`` asks it.
"""

from importlib.metadata import version as _version

from s2cmc.accessor import (
    CloudsAccessor,  # importing it registers ds.clouds
    ResultAccessor,  # and this one result.evaluation
)
from s2cmc.errors import (
    ArgumentError,
    CatalogueError,
    DamagedError,
    DeniedError,
    MissingObjectError,
    MissingPredictionError,
    MissingProductError,
    MissingReleaseError,
    MissingStoreError,
    PredictionError,
    QueryError,
    ReleaseError,
    SceneError,
    StoreError,
    TimeLimitError,
    UnfinishedStoreError,
)
from s2cmc.storage import Access
from s2cmc.store import open_catalogue

__version__ = _version("s2cmc")

__all__ = [
    "Access",
    "ArgumentError",
    "CatalogueError",
    "CloudsAccessor",
    "DamagedError",
    "DeniedError",
    "MissingObjectError",
    "MissingPredictionError",
    "MissingProductError",
    "MissingReleaseError",
    "MissingStoreError",
    "PredictionError",
    "QueryError",
    "ReleaseError",
    "ResultAccessor",
    "SceneError",
    "StoreError",
    "TimeLimitError",
    "UnfinishedStoreError",
    "open_catalogue",
]
