"""Print counts of a conversion report beside those that others published: ``python -m helpers.record_counts REPORT``.

Run by `make record`. One team counted the labelled pixels of 64 scenes of the catalogue, and the valid ones of 185.
"""

import json
import sys
from pathlib import Path

SCENE = 1022 * 1022
UNLABELLED = 64, 66_846_971
"""Scenes, and labelled pixels counted in them."""

VALID = 185, 193_229_001
"""Scenes, and valid pixels counted in them."""


def lines(report: dict[str, object]) -> list[str]:
    """Return a line for each count."""
    counts: dict[str, int] = report["counts"]  # type: ignore[assignment]
    scenes = report["scenes"]
    return [
        f"unlabelled mask pixels: {counts['unlabelled_mask_pixels']:,} in {scenes} scenes; published: "
        f"{UNLABELLED[0] * SCENE - UNLABELLED[1]:,} in {UNLABELLED[0]} of them",
        f"mask pixels of several classes: {counts['multi_class_mask_pixels']:,} in {scenes} scenes",
        f"invalid image pixels: {counts['invalid_image_pixels']:,} in {scenes} scenes; published: "
        f"{VALID[0] * SCENE - VALID[1]:,} in {VALID[0]} of them",
    ]


if __name__ == "__main__":
    sys.stdout.write("\n".join(lines(json.loads(Path(sys.argv[1]).read_text()))) + "\n")
