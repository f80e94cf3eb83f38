"""The Sentinel-2 Cloud Mask Catalogue as one lazy xarray Dataset.

``s2cmc.open_catalogue(path_or_url)`` opens a store; ``ds.clouds`` asks it.
"""

from importlib.metadata import version

from s2cmc.accessor import (
    CloudsAccessor,  # importing it registers ds.clouds
    ResultAccessor,  # and this one result.evaluation
)
from s2cmc.errors import (
    CatalogueError,
    PredictionError,
    QueryError,
    ReleaseError,
    SceneError,
    StoreError,
    UnfinishedStoreError,
)
from s2cmc.store import open_catalogue

__version__ = version("s2cmc")

__all__ = [
    "CatalogueError",
    "CloudsAccessor",
    "PredictionError",
    "QueryError",
    "ReleaseError",
    "ResultAccessor",
    "SceneError",
    "StoreError",
    "UnfinishedStoreError",
    "open_catalogue",
]
