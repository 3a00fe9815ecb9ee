"""The block table keeps every row as it grows in both directions."""

from hypothesis import given
from hypothesis import strategies as st
from pool_helpers import ids, on_both_backends

from replay.pool.block_table import BlockTable


@on_both_backends
@given(
    writes=st.lists(
        st.tuples(st.integers(0, 99), st.integers(0, 700), st.integers(0, 60)), max_size=30
    )
)
def test_rows_keep_their_contents_as_the_table_grows(arrays, writes):
    table = BlockTable(arrays)
    expected: dict[int, dict[int, int]] = {}
    rows: list[int] = []
    page = 0
    for which, start, count in writes:
        while which >= len(rows):
            rows.append(table.open_row())
        pages = list(range(page, page + count))
        page += count
        table.write(rows[which], start, ids(arrays, pages))
        expected.setdefault(which, {}).update(zip(range(start, start + count), pages, strict=True))
    assert len(set(rows)) == len(rows)
    for which, cells in expected.items():
        for at, wanted in cells.items():
            assert table.read(rows[which], at, at + 1).tolist() == [wanted]


@on_both_backends
def test_rows_are_handed_out_lowest_first_and_reused(arrays):
    table = BlockTable(arrays)
    assert [table.open_row() for _ in range(100)] == list(range(100))
    table.close_row(7)
    assert table.open_row() == 7
    assert table.open_row() == 100


@on_both_backends
def test_scattered_cells_land_where_they_belong(arrays):
    table = BlockTable(arrays)
    rows = [table.open_row() for _ in range(3)]
    table.fit_columns(1_000)
    table.scatter(ids(arrays, [rows[0], rows[2]]), ids(arrays, [999, 0]), ids(arrays, [5, 6]))
    assert table.read(rows[0], 998, 1_000).tolist() == [0, 5]
    assert table.read(rows[2], 0, 2).tolist() == [6, 0]
    assert table.read(rows[1], 0, 1_000).tolist() == [0] * 1_000
