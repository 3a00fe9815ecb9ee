"""The list of cells that went other than expected: the worst first, cut in the open."""

from matrix_results import HOSTILE, row, table

from reports.outputs.matrix.cells import read_cells, read_matrix
from reports.outputs.matrix.page import DIFFERING_MAX, make_differing

MATRIX = read_matrix({"name": "nightly"})


def differing(rows):
    return make_differing(read_cells(table(rows)), MATRIX, lambda cell: None)


def test_nothing_is_listed_where_all_went_as_expected():
    assert differing([row(0), row(1, verdict="persistent")]) is None


def test_what_has_no_verdict_comes_first_and_passed_cells_not_at_all():
    found = differing(
        [
            row(0),
            row(1, outcome="inconclusive", verdict="inconclusive"),
            row(2, outcome="failed", verdict="persistent", because="expected clean"),
            row(3, outcome="crashed", verdict=None, error="signal 11"),
        ]
    )
    assert [cell.outcome for cell in found.cells] == ["crashed", "failed", "inconclusive"]
    assert [cell.happened for cell in found.cells][:2] == ["signal 11", "expected clean"]
    assert found.shown == "all 3"


def test_a_long_list_says_how_much_of_it_is_shown():
    found = differing([row(n, outcome="failed", verdict="persistent") for n in range(200)])
    assert len(found.cells) == DIFFERING_MAX
    assert found.shown == f"showing {DIFFERING_MAX} of 200"


def test_a_long_name_says_how_much_of_it_is_left_out():
    [cell] = differing([row(0, outcome="failed", cell=HOSTILE + "x" * 10_000)]).cells
    assert len(cell.name) < 250
    assert "more characters)" in cell.name
