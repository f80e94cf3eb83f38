"""Statistics of the catalogue: masks counted, histograms and statistics of bands, spectral indices."""

from s2cmc.statistics.bands import Within, band_statistics
from s2cmc.statistics.histograms import band_histograms, cached_histograms
from s2cmc.statistics.indices import spectral_index
from s2cmc.statistics.masks import (
    PUBLISHED,
    class_counts,
    class_fractions,
    difficulty_counts,
    one_hot,
    prevalence,
    tag_cooccurrence,
    tag_frequencies,
)

__all__ = [
    "PUBLISHED",
    "Within",
    "band_histograms",
    "band_statistics",
    "cached_histograms",
    "class_counts",
    "class_fractions",
    "difficulty_counts",
    "one_hot",
    "prevalence",
    "spectral_index",
    "tag_cooccurrence",
    "tag_frequencies",
]
