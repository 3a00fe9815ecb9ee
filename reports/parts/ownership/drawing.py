"""Draws the map of a pool: a grid of cells in the order of page numbers, as inline SVG.

Every category has a colour of the page's style sheet and a pattern of its own, so that neither a
dark screen nor a printer without colours makes two of them look alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from reports.parts.ownership.page_map import CATEGORIES, Category, PageMap
from reports.words import number

#: Cells of a map at most.
CELLS_MAX = 1_500

#: What is drawn over the colour of a category, in a square of 8 x 8; nothing over the first.
_STROKES = {
    "free": "",
    "cached": "M0 4h8",
    "protected": "M0 2h8M0 6h8",
    "running": "M4 0v8",
    "in transfer": "M2 0v8M6 0v8",
    "held": "M0 8L8 0",
    "cache-held": "M0 4h8M0 8L8 0",
    "stuck": "M0 0L8 8M0 8L8 0",
    "orphaned": "M0 0L8 8",
    "over-freed": "M0 4h8M4 0v8",
    "double-owned": "M1 1h6v6h-6z",
}
_CODES = {category.word: code for code, category in enumerate(CATEGORIES)}
_IN_GAP = np.array([category.in_gap for category in CATEGORIES])


@dataclass(frozen=True, slots=True)
class _Grid:
    """How a map is laid out, in the units of its view box."""

    columns: int
    side: int
    margin: int


_WIDE = _Grid(columns=60, side=14, margin=88)
_NARROW = _Grid(columns=25, side=11, margin=62)


def pages_per_cell(pages: int) -> int:
    """So many pages that the map has at most `CELLS_MAX` cells."""
    return max(1, -(-pages // CELLS_MAX))


def draw(page_map: PageMap, anchor: str, *, narrow: bool) -> Markup:
    """The map as an `svg` element; what it says stands beside it, so it is hidden from readers."""
    grid = _NARROW if narrow else _WIDE
    cells = cell_codes(page_map)
    rows = -(-len(cells) // grid.columns)
    width, height = grid.margin + grid.columns * grid.side, rows * grid.side
    used = [code for code in range(len(CATEGORIES)) if bool((cells == code).any())]
    ids = f"{anchor}-{'narrow' if narrow else 'wide'}"
    parts = [
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'aria-hidden="true" focusable="false">',
        "<defs>",
        *(_pattern(CATEGORIES[code], ids) for code in used),
        "</defs>",
        *_labels(page_map.pages, grid, rows),
        *(_cells_of(cells, code, grid, ids) for code in used),
        _lines(len(cells), grid, rows),
        "</svg>",
    ]
    return Markup("".join(parts))


def swatch(category: Category, anchor: str) -> Markup:
    """A cell of one category, for the legend."""
    ids = f"{anchor}-legend"
    return Markup(
        '<svg class="own-swatch" viewBox="0 0 24 16" width="24" height="16" aria-hidden="true" '
        f'focusable="false"><defs>{_pattern(category, ids)}</defs>'
        f'<rect width="24" height="16" fill="url(#{ids}-{_slug(category)})"/></svg>'
    )


def cell_codes(page_map: PageMap) -> npt.NDArray[np.int64]:
    """The category of each cell: the worst of the gap in it, else the one that most pages are of."""
    size, total = pages_per_cell(page_map.pages), page_map.pages
    stretches = page_map.stretches
    starts = np.array([each.first_page - 1 for each in stretches], np.int64)
    codes = np.array([_CODES[each.word] for each in stretches], np.int64)
    cuts = np.union1d(starts, np.arange(0, total, size))
    lengths = np.diff(np.append(cuts, total))
    of_cut = codes[np.searchsorted(starts, cuts, side="right") - 1]
    counts = np.zeros((-(-total // size), len(CATEGORIES)), np.int64)
    np.add.at(counts, (cuts // size, of_cut), lengths)
    in_gap = (counts > 0) & _IN_GAP
    worst = len(CATEGORIES) - 1 - np.argmax(in_gap[:, ::-1], axis=1)
    found: npt.NDArray[np.int64] = np.where(in_gap.any(axis=1), worst, counts.argmax(axis=1))
    return found


def _slug(category: Category) -> str:
    return category.word.replace(" ", "-")


def _pattern(category: Category, ids: str) -> str:
    slug, strokes = _slug(category), _STROKES[category.word]
    lines = f'<path d="{strokes}" class="own-line"/>' if strokes else ""
    return (
        f'<pattern id="{ids}-{slug}" width="8" height="8" patternUnits="userSpaceOnUse">'
        f'<rect width="8" height="8" class="own-{slug}"/>{lines}</pattern>'
    )


def _cells_of(cells: npt.NDArray[np.int64], code: int, grid: _Grid, ids: str) -> str:
    """All cells of one category as one path, cells side by side as one piece."""
    pieces, at, side = [], np.flatnonzero(cells == code), grid.side
    # A piece ends where the next cell is not the next one, or begins another row.
    breaks = np.flatnonzero((np.diff(at) != 1) | (at[1:] % grid.columns == 0)) + 1
    for piece in np.split(at, breaks):
        row, column = divmod(int(piece[0]), grid.columns)
        width = len(piece) * side
        pieces.append(f"M{grid.margin + column * side} {row * side}h{width}v{side}h-{width}z")
    return f'<path d="{"".join(pieces)}" fill="url(#{ids}-{_slug(CATEGORIES[code])})"/>'


def _lines(cells: int, grid: _Grid, rows: int) -> str:
    """What separates the cells."""
    width, height = min(cells, grid.columns) * grid.side, rows * grid.side
    across = "".join(f"M{grid.margin} {row * grid.side}h{width}" for row in range(rows + 1))
    down = "".join(
        f"M{grid.margin + column * grid.side} 0v{height}"
        for column in range(width // grid.side + 1)
    )
    return f'<path d="{across}{down}" class="own-grid"/>'


def _labels(pages: int, grid: _Grid, rows: int) -> list[str]:
    """The number of the first page of some rows."""
    per_row = pages_per_cell(pages) * grid.columns
    return [
        f'<text x="{grid.margin - 6}" y="{row * grid.side + grid.side - 2}" '
        f'class="own-page">{number(row * per_row + 1)}</text>'
        for row in range(0, rows, 5)
    ]
