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
    "nonfinite_pixels": "pixels are NaN or infinite in some band",
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
    oddities : dict of str to dict of str to int
        By quality coordinate: the scenes in which something is odd, with the number of pixels, or false.
        Everything odd is kept in the store.
    """

    store: str
    scenes: int
    seconds: float
    source_nbytes: int
    nbytes: int
    resumed: int
    warnings: tuple[str, ...]
    oddities: dict[str, dict[str, int]]

    def lines(self) -> list[str]:
        """The report as text."""
        found = [
            f"{self.scenes} scenes in {self.seconds:.1f} s: {self.source_nbytes / 1e6:,.1f} MB of arrays are "
            f"{self.nbytes / 1e6:,.1f} MB in {self.store}"
        ]
        if self.resumed:
            found.append(f"resumed: {self.resumed} tasks had been done before")
        found += list(self.warnings)
        for name, scenes in self.oddities.items():
            named = [f"{scene} ({count})" if count else scene for scene, count in scenes.items()]
            shown = ", ".join(named[:3]) + (f" and {len(named) - 3} more" if len(named) > 3 else "")
            text = (_ODDITIES | _CONTRADICTIONS)[name]
            found.append(f"{text}, in {len(scenes)} of {self.scenes} scenes: {shown}")
        return found

    def to_json(self) -> str:
        """The report as JSON."""
        return json.dumps(asdict(self), indent=2)


def make_report(
    plan: Plan, quality: Mapping[str, np.ndarray], *, store: str, nbytes: int, resumed: int, began: float
) -> ConversionReport:
    """Summarise a conversion from its quality coordinates."""
    scenes = plan.release.table["scene"].to_numpy()
    odd = {name: quality[name] > 0 for name in _ODDITIES} | {name: ~quality[name] for name in _CONTRADICTIONS}
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
        oddities={
            name: dict(zip(scenes[where], quality[name][where].tolist(), strict=True))
            for name, where in odd.items()
            if where.any()
        },
    )
