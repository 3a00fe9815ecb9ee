"""Files, compressed files, rotated files and standard input."""

import gzip
import io
import os
from pathlib import Path

import pytest
from composed_logs import decode_line

from replay.diagnosis.reading.log_reader import ReadingTally, read_records
from replay.diagnosis.reading.sources import open_logs
from replay.errors import LogError


def lines(*minutes):
    return "".join(decode_line(minute=minute) for minute in minutes).encode()


def minutes_of(names, **options):
    return [int(record.place.time[14:16]) for record in read_records(open_logs(names), **options)]


def test_rotated_files_are_read_in_the_order_of_time(tmp_path):
    (tmp_path / "server.log").write_bytes(lines(5, 6))
    (tmp_path / "server.log.1").write_bytes(lines(3, 4))
    (tmp_path / "server.log.2.gz").write_bytes(gzip.compress(lines(1, 2)))
    (tmp_path / "other.log").write_bytes(lines(0))
    names = [
        str(tmp_path / name)
        for name in ("server.log", "other.log", "server.log.2.gz", "server.log.1")
    ]
    sources = open_logs(names)
    assert minutes_of(names) == [1, 2, 3, 4, 5, 6, 0]
    assert len({source.family for source in sources}) == 2
    seen = list(read_records(sources))
    assert [(Path(r.place.source).name, r.place.line) for r in seen[2:4]] == [
        ("server.log.1", 1),
        ("server.log.1", 2),
    ]


def test_rotated_files_without_times_go_by_their_numbers(tmp_path):
    names = []
    for name, token in (("s.log", 1), ("s.log.10", 10), ("s.log.2", 2)):
        (tmp_path / name).write_text(
            f"[TP0] Decode batch. #running-req: 1, #token: {token}, token usage: 0.1\n"
        )
        names.append(str(tmp_path / name))
    assert [record.used_tokens for record in read_records(open_logs(names))] == [10, 2, 1]


def test_servers_are_no_rotation_of_each_other(tmp_path):
    names = [str(tmp_path / name) for name in ("serve.decode0.log", "serve.decode1.log")]
    for name in names:
        Path(name).write_bytes(lines(1))
    assert len({source.family for source in open_logs(names)}) == 2


def test_a_gzip_file_of_several_members_is_read_whole(tmp_path):
    (tmp_path / "a.log").write_bytes(
        gzip.compress(lines(1)) + gzip.compress(lines(2)) + b"\x00" * 512
    )
    tally = ReadingTally()
    assert minutes_of([str(tmp_path / "a.log")], tally=tally) == [1, 2]
    assert tally.problems == []


@pytest.mark.parametrize("damage", ["cut", "flipped", "trailing"])
def test_what_a_damaged_gzip_file_has_is_read_and_told_once(tmp_path, damage):
    noise = os.urandom(200_000).hex().encode() + b"\n"
    data = bytearray(gzip.compress(lines(1) + noise + lines(2)))
    if damage == "cut":
        del data[len(data) // 2 :]
    elif damage == "flipped":
        data[len(data) // 2] ^= 0xFF
        data[len(data) // 2 + 1] ^= 0xFF
    else:
        data += b"not gzip"
    (tmp_path / "a.gz").write_bytes(data)
    tally = ReadingTally()
    assert minutes_of([str(tmp_path / "a.gz")], tally=tally)[0] == 1
    assert len(tally.problems) == 1
    assert "a.gz" in tally.problems[0]


def test_progress_and_tally_count_bytes(tmp_path):
    (tmp_path / "a.log").write_bytes(lines(1, 2) + b"nothing known\n")
    tally, seen = ReadingTally(), []
    minutes_of([str(tmp_path / "a.log")], tally=tally, progress=seen.append)
    size = (tmp_path / "a.log").stat().st_size
    assert (sum(seen), tally.bytes_read, tally.lines, tally.known["sglang load"]) == (
        size,
        size,
        3,
        2,
    )


def test_an_empty_file_has_no_records(tmp_path):
    (tmp_path / "a.log").touch()
    assert minutes_of([str(tmp_path / "a.log")]) == []


def test_standard_input_is_a_log(monkeypatch):
    class Stdin:
        buffer = io.BytesIO(gzip.compress(lines(4)))

    monkeypatch.setattr("sys.stdin", Stdin)
    assert minutes_of(["-"]) == [4]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "is a directory"),
        (lambda path: path.write_bytes(b"\x28\xb5\x2f\xfdxxxx"), "zstd"),
    ],
)
def test_what_is_no_log_gets_one_sentence(tmp_path, make, words):
    path = tmp_path / "x.log"
    make(path)
    with pytest.raises(LogError, match=words) as error:
        minutes_of([str(path)])
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_standard_input_can_be_named_once():
    with pytest.raises(LogError, match="only once"):
        open_logs(["-", "-"])
    with pytest.raises(LogError, match="no log was given"):
        open_logs([])


def test_times_say_more_than_the_numbers_of_a_rotation(tmp_path):
    names = [str(tmp_path / name) for name in ("s.log.2", "s.log.1", "s.log")]
    for minute, name in zip((9, 5, 1), names, strict=True):
        Path(name).write_bytes(lines(minute))
    assert minutes_of(names) == [1, 5, 9]
