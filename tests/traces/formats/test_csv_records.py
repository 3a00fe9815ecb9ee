"""CSV line by line: a stray quote costs its own row, never those after it."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traces.dataset import open_trace
from traces.errors import TraceError
from traces.formats import csv_records
from traces.formats.csv_records import iter_records
from traces.formats.pipeline import import_logs
from traces.formats.reader import ImportOptions
from traces.formats.source import Line

HEADER = "arrival_s,input_tokens,output_tokens,session_id,prompt\n"


def lines(text):
    for number, data in enumerate(io.BytesIO(text.encode()), start=1):
        yield Line(number, data, data.endswith(b"\n"))


def import_text(folder, text, **settings):
    log = folder / "log.csv"
    log.write_text(text, newline="")
    report = import_logs([log], folder / "out.parquet", options=ImportOptions({}, **settings))
    return report, list(open_trace(folder / "out.parquet").iter_requests())


@pytest.mark.parametrize("bad", ['9,1,1,"s,p', '9,1,1,s,"p', '9,1,1,"s"x,p', '9,1,1,"s\n,p"'])
def test_a_stray_quote_costs_its_own_row(tmp_path, bad):
    rows = [f"{n},1,1,s{n},p\n" for n in range(3000)]
    text = HEADER + "".join(rows[:8]) + bad + "\n" + "".join(rows[8:])
    with pytest.raises(TraceError, match=r"line 10 (is not CSV|has \d cells)"):
        import_text(tmp_path, text)
    report, requests = import_text(tmp_path, text, skip_bad_lines=True)
    assert len(requests) == 3000
    bad_lines = bad.count("\n") + 1
    assert sum(count.rows for count in report.skipped.values()) == bad_lines
    assert report.rows_read == 3000 + bad_lines


def test_a_prompt_may_span_lines(tmp_path):
    text = HEADER + '0,1,2,s,"one,\r\ntwo ""three""\n\n"\r\n5,3,4,t,\n'
    report, requests = import_text(tmp_path, text)
    assert [(r.arrival_us, r.session_id) for r in requests] == [(0, "s"), (5_000_000, "t")]
    assert report.rows_read == 2


def test_an_endless_cell_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_records, "CELL_LINES_MAX", 3)
    text = HEADER + '0,1,2,s,"a\nb\nc\nd\ne"\n' + "1,1,1,s,p\n"
    with pytest.raises(TraceError, match="line 2 is not CSV"):
        import_text(tmp_path, text)


CELLS = st.text(st.sampled_from('ab ,;"\n\r\t1é'), max_size=6)


@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=8))
def test_what_the_csv_module_writes_is_read_back(rows):
    # Without a line end of another kind, which no line of a file can hold.
    rows = [[cell.replace("\r", "") for cell in row] for row in rows]
    text = io.StringIO()
    csv.writer(text).writerows([["a", "b", "c"], *rows])
    records = list(iter_records(lines(text.getvalue()), used_columns=()))
    assert records[0].cells == ["a", "b", "c"]
    assert [record.problem for record in records[1:]] == [""] * len(rows)
    assert [record.cells for record in records[1:]] == rows
