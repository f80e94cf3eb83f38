"""Attributes of a store's root and of its arrays of pixels, after CF and ACDD."""

from typing import Any

from s2cmc.schema import CLASS_NAMES, FORMAT_VERSION, MaskClass

CREATORS = "Alistair Francis, John Mrziglod, Panagiotis Sidiropoulos, Jan-Peter Muller"
DOI = "10.5281/zenodo.4172871"

GLOBAL_ATTRIBUTES = {
    "Conventions": "CF-1.11, ACDD-1.3",
    "title": "Sentinel-2 Cloud Mask Catalogue",
    "summary": "Sub-scenes of Sentinel-2 Level-1C products of 2018, drawn at random from the whole archive, each with "
    "all 13 bands at 20 m, a hand-made mask (clear, cloud, cloud shadow) and 24 tags.",
    "license": "CC-BY-4.0",
    "doi": DOI,
    "id": DOI,
    "naming_authority": "org.doi",
    "creator_name": CREATORS,
    "citation": f"Francis, A., Mrziglod, J., Sidiropoulos, P., & Muller, J.-P. (2020). Sentinel-2 Cloud Mask Catalogue "
    f"[Data set]. Zenodo. https://doi.org/{DOI}",
    "source": "Copernicus Sentinel-2 Level-1C data of 2018, European Space Agency",
    "keywords": "Sentinel-2, cloud mask, cloud shadow, segmentation, optical remote sensing",
    "format": "s2cmc",
    "format_version": FORMAT_VERSION,
}
"""Attributes of a store's root group (CF, ACDD). The converter adds checksums, versions and history."""

MASK_ATTRIBUTES = {
    "units": "1",
    "flag_values": [int(c) for c in MaskClass],
    "flag_meanings": " ".join(CLASS_NAMES),
    "comment": "A pixel that is not one-hot in the source is stored as 240 + its bits (clear 1, cloud 2, cloud_shadow "
    "4). 255 is no label.",
}

SYNTHETIC_ATTRIBUTES = {
    "title": f"Synthetic sample of the {GLOBAL_ATTRIBUTES['title']}",
    "summary": "Made-up pixels in the layout of the catalogue, for tests and demonstrations; nothing was measured.",
    "source": "synthetic",
    "creator_name": "s2cmc sample",
    "synthetic": "true",
}
"""Attributes that replace the global ones where the pixels are made up."""

VARIABLE_ATTRIBUTES: dict[str, dict[str, Any]] = {
    "reflectance": {
        "long_name": "top-of-atmosphere reflectance, all bands resampled to 20 m",
        "standard_name": "toa_bidirectional_reflectance",
        "units": "1",
        "comment": "DN 0 is Level-1C no-data and DN 65535 saturated; both are kept.",
    },
    "mask": {"long_name": "mask by the main annotator", **MASK_ATTRIBUTES},
    "alt_mask": {"long_name": "mask by the other annotator", **MASK_ATTRIBUTES},
    "thumbnail": {"long_name": "published thumbnail, for a quick look", "units": "1"},
}
