"""Report of a conversion: what was odd in the release, in numbers and scenes. Everything odd is kept in the store."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from s2cmc.schema import CLASS_NAMES

from ..source import (
    Findings,
    compare_percentages,
    find_identical,
    find_unlike,
    published_dtype,
    quality_coordinates,
)
from .plan import Plan

_ODDITIES = {
    "invalid_mask_pixels": "mask pixels are not one-hot; their bits are kept and they are shown as 255",
    "invalid_alt_mask_pixels": "pixels of the alternative mask are not one-hot; kept and shown in the same way",
    "zero_pixels": "pixels have DN 0 (no data) in some band",
    "saturated_pixels": "pixels have DN 65535 (saturated) in some band",
    "nonfinite_pixels": "pixels are NaN, infinite or negative in some band",
}
_CONTRADICTIONS = {
    "percentages_agree": "percentages of the table are not those of the mask",
    "tags_consistent": "cloud tags contradict each other or the mask",
    "shadows_consistent": "shadow in the mask though shadows_marked is false",
}
_REMARKS = {
    "absent_thumbnail": "the thumbnail is left out",
    "other_dtype": "the mask is of another dtype than most; `restore` writes it in its own",
    "unlike_thumbnail": "WARNING: the subscene matches its thumbnail much better turned, or matches another's",
    "identical_subscene": "WARNING: the true colour is that of another scene",
    "identical_mask": "WARNING: the mask is that of another scene",
    "unrelated_alt_mask": "WARNING: the alternative mask agrees with the mask no better than by chance",
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
        Missing and extra files of the release.
    oddities : dict of str to dict of str to int
        By quality coordinate: the scenes in which something is odd, with the number of pixels, or false.
        Also what the report remarks on a scene, as text: ``absent_thumbnail``, ``other_dtype``, ``unlike_thumbnail``,
        ``identical_subscene``, ``identical_mask``, ``unrelated_alt_mask``.
    counts : dict of str to int
        Totals: ``image_pixels``, of them ``invalid_image_pixels`` (zero, NaN, infinite or negative in some band);
        ``mask_pixels``, of them ``unlabelled_mask_pixels`` (no class) and ``multi_class_mask_pixels``; the last two
        also of ``alt_mask``.
    percentages : str
        How the percentages of the table differ from those of the masks; empty if they are equal to the pixel.
    proof : str
        What of a published record was proved by its MD5, and what by size and CRC-32; empty for another release.
    """

    store: str
    scenes: int
    seconds: float
    source_nbytes: int
    nbytes: int
    resumed: int
    warnings: tuple[str, ...]
    oddities: dict[str, dict[str, int | str]]
    counts: dict[str, int]
    percentages: str
    proof: str = ""

    def lines(self) -> list[str]:
        """Return the report as lines of text."""
        lines = [
            f"{self.scenes} scenes in {self.seconds:.1f} s: {self.source_nbytes / 1e6:,.1f} MB of arrays are "
            f"{self.nbytes / 1e6:,.1f} MB in {self.store}"
        ]
        if self.resumed:
            lines.append(f"resumed: {self.resumed} tasks had been done before")
        lines += [self.proof] if self.proof else []
        lines += list(self.warnings)
        lines.append(
            "invalid pixels: {invalid_image_pixels:,} of {image_pixels:,} in the images; {unlabelled_mask_pixels:,} "
            "unlabelled and {multi_class_mask_pixels:,} of several classes of {mask_pixels:,} in the masks".format(
                **self.counts
            )
        )
        lines += [self.percentages] if self.percentages else []
        for name, scenes in self.oddities.items():
            named = [f"{scene} ({count})" if count else scene for scene, count in scenes.items()]
            shown = ", ".join(named[:3]) + (f" and {len(named) - 3} more" if len(named) > 3 else "")
            text = (_ODDITIES | _CONTRADICTIONS | _REMARKS)[name]
            lines.append(f"{text}, in {len(scenes)} of {self.scenes} scenes: {shown}")
        return lines

    def to_json(self) -> str:
        """Return the report as JSON."""
        return json.dumps(asdict(self), indent=2)


def quality_of(plan: Plan, findings: Sequence[Findings]) -> dict[str, np.ndarray]:
    """Return the quality coordinates of all scenes."""
    return quality_coordinates(
        plan.release.table,
        findings,
        pixels=plan.size[0] * plan.size[1],
        has_thumbnail=[bool(scene.get("thumbnail", {}).get("kept")) for scene in findings],
    )


def make_report(
    plan: Plan, findings: Sequence[Findings], *, store: str, nbytes: int, resumed: int, began: float
) -> ConversionReport:
    """Summarise a conversion from the findings of its tasks."""
    quality = quality_of(plan, findings)
    scenes = plan.release.table["scene"].to_numpy()
    odd = {name: quality[name] > 0 for name in _ODDITIES} | {name: ~quality[name] for name in _CONTRADICTIONS}
    height, width = plan.size
    count, *_, bands = plan.arrays["reflectance"].shape
    masks = count + int(quality["has_alt_mask"].sum())
    oddities: dict[str, dict[str, int | str]] = {
        name: dict(zip(scenes[where], quality[name][where].tolist(), strict=True))
        for name, where in odd.items()
        if where.any()
    }
    return ConversionReport(
        store=store,
        scenes=count,
        seconds=time.monotonic() - began,
        source_nbytes=height * width * (count * bands * 4 + masks * 3),
        nbytes=nbytes,
        resumed=resumed,
        warnings=plan.release.warnings,
        oddities=oddities | _remarks(plan, dict(zip(scenes.tolist(), findings, strict=True))),
        counts=_totals(findings, height * width),
        percentages=compare_percentages(plan.release.table, findings, height * width).text,
        proof=plan.release.record.proof() if plan.release.record else "",
    )


def _totals(findings: Sequence[Findings], pixels: int) -> dict[str, int]:
    totals = {
        "image_pixels": pixels * len(findings),
        "invalid_image_pixels": sum(scene["reflectance"]["invalid_pixels"] for scene in findings),
        "mask_pixels": pixels * len(findings),
    }
    for name in ("mask", "alt_mask"):
        for kind in ("unlabelled", "multi_class"):
            totals[f"{kind}_{name}_pixels"] = sum(scene.get(name, {}).get(kind, 0) for scene in findings)
    return totals


def _remarks(plan: Plan, findings: Mapping[str, Findings]) -> dict[str, dict[str, int | str]]:
    """Return what is to be said of scenes beside their quality coordinates, by remark and scene."""
    absent = {scene: facts.get("thumbnail", {}).get("absent", "") for scene, facts in findings.items()}
    attributes = plan.arrays["mask"].attributes
    looks = {scene: tuple(look) for scene, facts in findings.items() if _varies(look := facts["reflectance"]["look"])}
    masks = {scene: facts["mask"]["crc"] for scene, facts in findings.items() if _classes(facts["mask"]) > 1}
    remarks: dict[str, dict[str, Any]] = {
        "absent_thumbnail": {scene: reason for scene, reason in absent.items() if reason},
        "other_dtype": {
            scene: dtype
            for scene in findings
            if (dtype := published_dtype(attributes, scene)) != attributes["source_dtype"]
        },
        "unlike_thumbnail": find_unlike(list(findings), list(findings.values())),
        "identical_subscene": find_identical(looks),
        "identical_mask": find_identical(masks),
        "unrelated_alt_mask": {
            scene: text for scene, facts in findings.items() if (text := _unrelated(facts, plan.size[0] * plan.size[1]))
        },
    }
    return {name: scenes for name, scenes in remarks.items() if scenes}


def _varies(look: Sequence[int]) -> bool:
    return len(set(look)) > 1


def _classes(counts: Mapping[str, Any]) -> int:
    """Return the number of classes of a mask."""
    return sum(counts[name] > 0 for name in CLASS_NAMES)


def _unrelated(facts: Findings, pixels: int) -> str:
    """Describe the agreement of the masks of two annotators if chance explains it: Cohen's kappa of 0 or less."""
    mask, alt_mask = facts["mask"], facts.get("alt_mask", {})
    if not alt_mask or min(_classes(mask), _classes(alt_mask)) < 2:
        return ""
    by_chance = sum(mask[name] * alt_mask[name] for name in CLASS_NAMES) / pixels**2
    agreeing = alt_mask["agreeing"] / pixels
    return f"{agreeing:.1%} of pixels agree, {by_chance:.1%} would by chance" if agreeing <= by_chance else ""
