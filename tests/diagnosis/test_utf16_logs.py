"""Logs as PowerShell and editors on Windows write them: the same verdict, and the same line numbers."""

import codecs
import gzip
import io
import json
import sys
import tracemalloc

import pytest
from composed_logs import decode_line
from test_diagnose_follow import followed, warning

from replay.cli import run_command_line
from replay.diagnosis.diagnose import diagnose
from replay.diagnosis.reading.log_reader import read_records
from replay.diagnosis.reading.sources import open_logs

MARKS = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
}
#: A gap in each of four quiet audits, between other lines, one of them in other letters.
LOG = "".join(
    f"{decode_line(minute=second)}日志 приём 🦊\n{warning(second, 64)}"
    for second in (1, 11, 21, 31)
)


def written(text, encoding):
    """As PowerShell's `>` does it: a mark, and lines that end with CR LF."""
    return MARKS[encoding] + text.replace("\n", "\r\n").encode(encoding)


def diagnosed(capsys, *words):
    capsys.readouterr()
    code = run_command_line(["diagnose", *map(str, words), "--json"])
    document = json.loads(capsys.readouterr().out)
    return code, {key: value for key, value in document.items() if key != "bytes_read"}


@pytest.mark.parametrize("encoding", list(MARKS))
@pytest.mark.parametrize("way", ["file", "gzip", "stdin"])
def test_verdict_and_lines_are_those_of_the_plain_log(tmp_path, capsys, monkeypatch, encoding, way):
    path = tmp_path / "serve.log"
    found = []
    for data in (LOG.encode(), written(LOG, encoding)):
        path.write_bytes(gzip.compress(data) if way == "gzip" else data)
        if way == "stdin":
            stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(data)))
            monkeypatch.setattr(sys, "stdin", stdin)
        found.append(diagnosed(capsys, "-" if way == "stdin" else path))
    assert found[0] == found[1]
    code, document = found[0]
    assert code == 1
    assert "persistent" in json.dumps(document)
    places = [record.place.line for record in read_records(open_logs([str(path)]))]
    assert [line for line in places if line % 3 == 0] == [3, 6, 9, 12]


@pytest.mark.parametrize("encoding", list(MARKS))
def test_rotated_logs_in_utf_16_are_put_in_the_order_of_time(tmp_path, encoding):
    for name, minute in (("s.log", 3), ("s.log.1", 1), ("s.log.2", 2)):
        (tmp_path / name).write_bytes(written(decode_line(minute=minute), encoding))
    sources = open_logs([str(tmp_path / name) for name in ("s.log", "s.log.1", "s.log.2")])
    assert [int(each.place.time[14:16]) for each in read_records(sources)] == [1, 2, 3]


@pytest.mark.parametrize("encoding", list(MARKS))
def test_a_log_is_followed_while_it_is_written_in_pieces(tmp_path, encoding):
    path = tmp_path / "decode.log"
    texts = [
        "starting\n",
        warning(1, 64),
        warning(11, 64),
        "日志\n",
        warning(21, 64),
        warning(31, 64),
    ]
    plain = tmp_path / "plain.log"
    plain.write_text(texts[0])
    path.write_bytes(written(texts[0], encoding))

    def append(text):
        # Cut within a character, as a writer's buffer is.
        data = text.replace("\n", "\r\n").encode(encoding)

        def some(part):
            with path.open("ab") as file:
                file.write(part)

        return [lambda: some(data[:-3]), lambda: some(data[-3:])]

    wanted = followed(plain, texts[1:])
    script = [step for text in texts[1:] for step in append(text)]
    assert followed(path, script) == wanted
    assert wanted[-1] == "4 lines"


def test_a_followed_log_may_be_cut_and_begun_anew_in_another_encoding(tmp_path):
    path = tmp_path / "decode.log"
    path.write_bytes(written(warning(1, 64), "utf-16-le"))
    shown = followed(path, [lambda: path.write_bytes(b""), warning(11, 64), warning(21, 64)])
    assert shown[-1] == "3 lines"


@pytest.mark.parametrize("left", [1, 2, 3, 4, 5, 101])
def test_a_log_that_breaks_off_within_a_character_is_read_up_to_there(tmp_path, capsys, left):
    path = tmp_path / "serve.log"
    data = written(LOG, "utf-16-le")
    path.write_bytes(data[:-left])
    assert diagnosed(capsys, path)[0] in (0, 1, 3)
    path.write_bytes(data[:left])
    assert diagnosed(capsys, path)[0] == 3


@pytest.mark.slow
def test_it_takes_no_more_memory_however_long_the_log_is(tmp_path):
    path = tmp_path / "serve.log"
    with path.open("wb") as file:
        file.write(codecs.BOM_UTF16_LE)
        line = decode_line(minute=1).encode("utf-16-le")
        for _ in range(40):
            file.write(line * (2**20 // len(line)))
    tracemalloc.start()
    diagnose(open_logs([str(path)]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size > 35 * 2**20
    assert peak < 60 * 2**20
