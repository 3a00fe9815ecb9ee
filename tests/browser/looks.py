"""Does a part of a page look as it did? Compared so that a pixel may differ and a broken layout may not.

Both pictures are made small before they are compared: a few pixels of text move with every version of
a browser, while something that is missing, beside its place, or dark on dark changes whole areas.
"""

import io
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageFilter, ImageStat

#: Pictures are compared at this width.
WIDTH = 160
#: How much the height may differ, as a part of it, and the mean of a colour in any tile, of 255.
HEIGHT_TOLERANCE = 0.05
TILE_TOLERANCE = 5
TILE = 16


@dataclass(frozen=True, slots=True)
class Difference:
    """How much two pictures differ: in height, as a part, and in their most different tile."""

    height: float
    tile: float

    @property
    def is_too_large(self):
        return self.height > HEIGHT_TOLERANCE or self.tile > TILE_TOLERANCE


def difference(found: bytes, expected: bytes) -> Difference:
    """Compare two PNG pictures that `small` has made."""
    mine, theirs = (Image.open(io.BytesIO(each)).convert("RGB") for each in (found, expected))
    shapes = [each.height / each.width for each in (mine, theirs)]
    height = abs(shapes[0] / shapes[1] - 1)
    size = (WIDTH, max(round(WIDTH * shapes[1]), TILE))
    small = [each.resize(size).filter(ImageFilter.GaussianBlur(3)) for each in (mine, theirs)]
    changed = ImageChops.difference(*small)
    tiles = [
        max(ImageStat.Stat(changed.crop((left, top, left + TILE, top + TILE))).mean)
        for left in range(0, size[0] - TILE + 1, TILE)
        for top in range(0, size[1] - TILE + 1, TILE)
    ]
    return Difference(height, max(tiles))


def small(picture: bytes) -> bytes:
    """A picture as it is kept: a third of its width, but not less than a phone shows, in 256 colours."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    width = max(image.width // 3, 200)
    reduced = image.resize((width, max(round(image.height * width / image.width), 1)))
    out = io.BytesIO()
    reduced.quantize(256, dither=Image.Dither.NONE).save(out, "png", optimize=True)
    return out.getvalue()
