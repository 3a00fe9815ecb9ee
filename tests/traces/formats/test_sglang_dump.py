"""SGLang request dumps: made-up ones of both layouts, whole, cut short and malicious."""

import copy
import subprocess

import pytest
from samples_engine_rows import T0, compressed, expected, import_bytes, inputs, kept, reasons
from samples_engines import samples
from samples_sglang import SGLANG_DUMP, GenerateReqInput, dump_row, dumped, new_dump

from traces.errors import TraceError
from traces.formats import sglang_dump
from traces.formats.pipeline import import_logs

DUMP = samples()["sglang-dump"]
ROWS, SKIPPED = expected(SGLANG_DUMP)


@pytest.mark.parametrize("layout", [dumped, new_dump])
@pytest.mark.parametrize("protocol", [4, 5])
def test_every_row_becomes_what_it_was(tmp_path, layout, protocol):
    report, rows = import_bytes(tmp_path, [layout(inputs(SGLANG_DUMP), protocol)])
    assert rows == ROWS
    assert (report.format, report.rows_read) == ("sglang-dump", len(SGLANG_DUMP))
    assert reasons(report.skipped) == SKIPPED
    assert report.skipped["it was still running when the server crashed"].first_at == "request 11"
    assert report.shifted_us == T0 * 10**6
    assert report.changed == {}


def test_a_protocol_2_dump_is_read_as_well(tmp_path):
    assert import_bytes(tmp_path, [dumped(inputs(SGLANG_DUMP), 2)])[1] == ROWS


def test_tuples_of_input_ids_and_batches(tmp_path):
    request, *others = dump_row("t", 0, None, 4)
    request.input_ids = (1, 2, 3)
    request._sub_obj_cache = {0: copy.copy(request)}
    batch, *batch_others = dump_row("b", 0, None, 4)
    batch.input_ids = [[1, 2], [3]]
    report, rows = import_bytes(tmp_path, [dumped([(request, *others), (batch, *batch_others)])])
    assert rows == [kept("t", 0, 3, 4, token_ids=(1, 2, 3))]
    assert reasons(report.skipped) == {"prompt_tokens is missing": 1}


@pytest.mark.parametrize("blob", compressed(DUMP))
def test_compressed(tmp_path, blob):
    assert import_bytes(tmp_path, [blob])[1] == ROWS


def test_two_files_are_one_trace_and_what_both_hold_counts_once(tmp_path):
    requests = [row for row in inputs(SGLANG_DUMP) if row != SGLANG_DUMP[8][0]]
    blobs = [dumped(requests[:20]), new_dump(requests[10:])]
    report, rows = import_bytes(tmp_path, blobs)
    assert rows == [row for row in ROWS if row[0] != "sglang-dump-000008"]
    assert report.skipped["its request id occurred before"].rows == 1
    assert report.skipped["id is longer than 1024 characters"].first_at.endswith("log1 request 14")


@pytest.mark.slow
def test_every_cut_of_a_dump_is_one_sentence(tmp_path):
    blob = dumped(inputs(SGLANG_DUMP)[:2])
    log = tmp_path / "dump.pkl"
    for size in range(1, len(blob)):
        log.write_bytes(blob[:size])
        with pytest.raises(
            TraceError, match=r"dump.pkl: is not a readable pickle .*copy it again$"
        ):
            import_logs([log], tmp_path / "out.parquet", "sglang-dump")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dump.pkl"]


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (b"", "is not a readable pickle .it ends early at byte 0"),
        (dumped([]), "no row that can be imported as sglang-dump .there are no rows"),
        (new_dump([]), "no row that can be imported as sglang-dump .there are no rows"),
        (new_dump(None), "is a pickle but not a request dump"),
        (dumped({"requests": ()}), "is a pickle but not a request dump"),
        (dumped("requests"), "is a pickle but not a request dump"),
        (dumped([1]) + dumped([2]), "is not a readable pickle .17 bytes follow its end"),
        (dumped([None, [1]]), "2 x it is not a tuple of request, output, start and end"),
    ],
)
def test_what_is_no_dump_is_one_sentence(tmp_path, blob, message):
    with pytest.raises(TraceError, match=message):
        import_bytes(tmp_path, [blob], "sglang-dump")


def test_a_large_dump_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sglang_dump, "DUMP_BYTES_MAX", len(DUMP))
    assert import_bytes(tmp_path, [DUMP])[1] == ROWS
    monkeypatch.setattr(sglang_dump, "DUMP_BYTES_MAX", len(DUMP) - 1)
    for blob in (DUMP, *compressed(DUMP)):
        with pytest.raises(TraceError, match=r"is larger than .*write smaller dumps"):
            import_bytes(tmp_path, [blob])


class Malicious:
    """Runs a program when Python unpickles it."""

    def __init__(self, canary):
        self._canary = canary

    def __reduce__(self):
        return subprocess.Popen, (["touch", str(self._canary)],)


@pytest.mark.parametrize("place", ["request", "output", "config", "end"])
def test_a_malicious_object_in_a_good_dump_is_refused_by_name(tmp_path, place):
    canary = tmp_path / "canary"
    evil = Malicious(canary)
    request, output, start, end = dump_row("r", 0, 5, 4)
    blob = {
        "request": lambda: dumped([(GenerateReqInput(rid="r", x=evil), output, start, end)]),
        "output": lambda: dumped([(request, {**output, "x": [{"y": evil}]}, start, end)]),
        "config": lambda: dumped({"server_args": evil, "requests": [dump_row("r", 0, 5, 4)]}),
        "end": lambda: dumped([dump_row("r", 0, 5, 4), evil]),
    }[place]()
    with pytest.raises(TraceError, match=r"log0: refused to build subprocess\.Popen \(at byte \d+"):
        import_bytes(tmp_path, [blob])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log0"]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("sglang.srt.utils", "os.system"),
        ("sglangevil", "Thing"),
        ("transformersx.models", "Thing"),
        ("sglang.srt", ""),
        ("torch", "load"),
        ("torch._utils", "_rebuild_tensor_v2"),
        ("torch.storage", "_load_from_bytes"),
        ("http", "HTTPStatus.__class__"),
        ("collections", "namedtuple"),
        ("pathlib", "PosixPath.unlink"),
        ("copyreg", "_reconstructor"),
        ("builtins", "getattr"),
        ("", "sglang"),
    ],
)
def test_names_beside_the_allowed_ones_are_refused(tmp_path, module, name):
    words = b"".join(b"\x8c" + bytes([len(word)]) + word.encode() for word in (module, name))
    with pytest.raises(TraceError, match=f"refused to build {module}.{name} "):
        import_bytes(tmp_path, [b"\x80\x04" + words + b"\x93."])


def test_the_engine_is_never_imported(tmp_path):
    import sys

    import_bytes(tmp_path, [DUMP])
    assert not {"sglang", "transformers"} & set(sys.modules)


def test_a_cache_key_of_any_other_shape_means_no_hashes(tmp_path):
    shared = ["a"]
    for _ in range(60):
        shared = [shared, shared]
    rows = []
    for place, salt in enumerate([shared, {"a": 1}, b"x", "x" * 2000, "x"]):
        row = dump_row(f"r{place}", place, 5, 4, fields={"extra_key": salt})
        rows.append(row)
    _, requests = import_bytes(tmp_path, [dumped(rows)])
    assert [request[4] is None for request in requests] == [True] * 4 + [False]


@pytest.mark.slow
def test_tokens_that_are_shared_by_too_many_requests_are_refused(tmp_path):
    tokens = list(range(20_000))
    rows = []
    for place in range(2_000):
        row = dump_row(f"r{place}", place, 20_000, 4)
        row[0].input_ids = tokens
        rows.append(row)
    with pytest.raises(TraceError, match=r"request \d+ is one of too many that share their tokens"):
        import_bytes(tmp_path, [dumped(rows)])
