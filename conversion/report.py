"""What a conversion has done and found."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from .plan import Plan

_ODDITIES = {
    "invalid_mask_pixels": "mask pixels are not one-hot; their bits are kept and they are shown as 255",
    "invalid_alt_mask_pixels": "pixels of the alternative mask are not one-hot; kept and shown in the same way",
    "zero_pixels": "pixels have DN 0 (no data) in some band",
    "saturated_pixels": "pixels have DN 65535 (saturated) in some band",
}
_CONTRADICTIONS = {
    "percentages_agree": "percentages of the table are not those of the mask",
    "tags_consistent": "cloud tags contradict each other or the mask",
    "shadows_consistent": "shadow in the mask though shadows_marked is false",
}


@dataclass(frozen=True)
class ConversionReport:
    """Summary of a conversion.

    Attributes
    ----------
    store : str
    scenes : int
    seconds : float
        Time of this run.
    source_nbytes, nbytes : int
        Bytes of the pixels as they were published, unpacked, and of the store.
    resumed : int
        Tasks that an earlier run had done.
    warnings : tuple of str
        What the release lacks or holds besides.
    oddities : dict of str to list of str
        Scenes by what was found in them; everything in it is kept in the store and in its quality coordinates.
    """

    store: str
    scenes: int
    seconds: float
    source_nbytes: int
    nbytes: int
    resumed: int
    warnings: tuple[str, ...]
    oddities: dict[str, list[str]]

    def lines(self) -> list[str]:
        """The report as text."""
        found = [
            f"{self.scenes} scenes in {self.seconds:.1f} s: {self.source_nbytes / 1e6:,.1f} MB of arrays are "
            f"{self.nbytes / 1e6:,.1f} MB in {self.store}"
        ]
        if self.resumed:
            found.append(f"resumed: {self.resumed} tasks had been done before")
        found += list(self.warnings)
        for oddity, scenes in self.oddities.items():
            shown = ", ".join(scenes[:3]) + (f" and {len(scenes) - 3} more" if len(scenes) > 3 else "")
            found.append(f"{oddity}, in {len(scenes)} of {self.scenes} scenes: {shown}")
        return found

    def to_json(self) -> str:
        """The report as JSON."""
        return json.dumps(asdict(self), indent=2)


def make_report(
    plan: Plan, quality: Mapping[str, np.ndarray], *, store: str, nbytes: int, resumed: int, began: float
) -> ConversionReport:
    """Summarise a conversion from its quality coordinates."""
    scenes = plan.release.table["scene"].to_numpy()
    odd = {text: quality[name] > 0 for name, text in _ODDITIES.items()}
    odd |= {text: ~quality[name] for name, text in _CONTRADICTIONS.items()}
    height, width = plan.size
    count, *_, bands = plan.arrays["reflectance"].shape
    masks = count + int(quality["has_alt_mask"].sum())
    return ConversionReport(
        store=store,
        scenes=count,
        seconds=time.monotonic() - began,
        source_nbytes=height * width * (count * bands * 4 + masks * 3),
        nbytes=nbytes,
        resumed=resumed,
        warnings=plan.release.warnings,
        oddities={text: list(scenes[where]) for text, where in odd.items() if where.any()},
    )
