"""Bad input: one clear sentence, exit code 2, no traceback, nothing half-written."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest


def rewritten(trace, tmp_path, **columns):
    """The trace with some columns replaced, as another tool might have written it."""
    table = pq.read_table(trace)
    for name, values in columns.items():
        position = table.schema.get_field_index(name)
        field = table.schema.field(name)
        table = table.set_column(position, field, pa.array(values, field.type))
    path = tmp_path / "broken.parquet"
    pq.write_table(table, path)
    return path


@pytest.fixture
def refused(kvreplay, tmp_path):
    """Run `kvreplay run` and insist on a refusal that says all of these words."""

    def run(*words, says):
        out = tmp_path / "out"
        code, text, err = kvreplay("run", *words, "--out", out)
        assert code == 2, (text, err)
        assert text == ""
        assert "Traceback" not in err
        for word in says:
            assert str(word) in err
        sentence = [line for line in err.splitlines() if line.startswith(("kvreplay:", "Error:"))]
        assert len(sentence) == 1
        assert not out.exists()
        assert not list(tmp_path.glob(".kvreplay-*")), "a working directory was left behind"

    return run


HARDENED = ("--profile", "hardened")


def test_missing_trace(refused, tmp_path):
    refused(tmp_path / "none.parquet", *HARDENED, says=["none.parquet"])


def test_text_file_as_trace(refused, tmp_path):
    path = tmp_path / "text.parquet"
    path.write_text("request_id,arrival_us\na,0\n")
    refused(path, *HARDENED, says=["text.parquet", "Parquet"])


def test_unsorted_arrivals(refused, make_trace, tmp_path):
    trace = make_trace(requests=3)
    path = rewritten(trace, tmp_path, arrival_us=[5, 9, 8])
    refused(path, *HARDENED, says=["broken.parquet", "arrival_us", "row 2"])


def test_negative_tokens(refused, make_trace, tmp_path):
    path = rewritten(make_trace(requests=3), tmp_path, output_tokens=[5, -9, 8])
    refused(path, *HARDENED, says=["broken.parquet", "output_tokens", "row 1"])


def test_unknown_profile(refused, make_trace):
    says = ["sglang-0.4.6.pst4", "did you mean sglang-0.4.6.post4"]
    refused(make_trace(requests=3), "--profile", "sglang-0.4.6.pst4", says=says)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--drop", "2"), ["--drop", "2", "0 and 1"]),
        (("--drop", "-0.1"), ["--drop", "0 and 1"]),
        (("--delay", "0.1"), ["--delay", "0.01:500"]),
        (("--delay", "0.1:-5"), ["--delay", "-5"]),
        (("--delay", "nan:5"), ["--delay", "nan"]),
        (("--set", "page_sise=16"), ["page_sise", "page_size"]),
        (("--set", "page_size"), ["--set", "FIELD=VALUE"]),
        (("--set", "page_size=many"), ["page_size", "many", "whole number"]),
        (("--set", "page_size=0"), ["page_size", "at least 1"]),
        (("--set", "page_size=48"), ["total_tokens", "48"]),
        (("--set", "decode_dp=3"), ["decode_tp=8", "decode_dp=3"]),
        (("--set", "check_strictness=maybe"), ["check_strictness", "maybe", "warn"]),
        (("--plan", "none.toml"), ["none.toml"]),
        (("--seed", "-1"), ["--seed"]),
    ],
)
def test_bad_options(refused, make_trace, words, says):
    refused(make_trace(requests=3), *HARDENED, *words, says=says)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[[rule]]\nfault = "drop"\nprobabilty = 1\n', ["rule[1]", "probabilty", "probability"]),
        ('[[rules]]\nfault = "drop"\n', ["rules", "rule", ":1: "]),
        ('[[rule]]\nfault = "explode"\n', ["rule[1]", "fault", "explode"]),
        ('[[rule]]\nfault = "delay"\n', ["rule[1]", "delay_us"]),
        ('[[rule]]\nprobability = 0.5\n', ["rule[1]", "fault", "missing"]),
        ("this is not toml", ["TOML"]),
        ('[[rule]]\nfault = "drop"\n[[rule]]\nfault = "drop"\n', ["two rules", "'drop'"]),
    ],
)  # fmt: skip
def test_bad_plans(refused, make_trace, tmp_path, text, says):
    plan = tmp_path / "plan.toml"
    plan.write_text(text)
    refused(make_trace(requests=3), *HARDENED, "--plan", plan, says=["plan.toml", *says])


def test_output_that_is_not_a_recording_is_left_alone(make_trace, kvreplay, tmp_path):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    code, _, err = kvreplay("run", make_trace(requests=3), *HARDENED, "--out", out)
    assert code == 2
    assert "mine" in err
    assert (out / "thesis.txt").read_text() == "years of work"


def test_unwritable_output(make_trace, kvreplay, tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    code, _, err = kvreplay("run", make_trace(requests=3), *HARDENED, "--out", blocker / "r")
    assert code == 2
    assert "cannot be written" in err
    assert "Traceback" not in err


def test_cuda_that_is_not_there(make_trace, kvreplay):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    code, _, err = kvreplay("run", make_trace(requests=3), *HARDENED, "--device", "cuda")
    assert code == 2
    assert "--device cpu" in err


def test_a_recording_is_replaced_whole_and_a_failed_run_leaves_the_old_one(
    make_trace, kvreplay, tmp_path
):
    out = tmp_path / "r"
    trace = make_trace(requests=5)
    kvreplay("run", trace, *HARDENED, "--out", out)
    before = (out / "audits.parquet").read_bytes()
    broken = rewritten(trace, tmp_path, arrival_us=[0, 9, 8, 10, 11])
    code, _, _ = kvreplay("run", broken, *HARDENED, "--out", out)
    assert code == 2
    assert (out / "audits.parquet").read_bytes() == before
    other = make_trace("other.parquet", requests=9)
    code, _, err = kvreplay("run", other, *HARDENED, "--out", out)
    assert code == 2
    assert "holds the recording of another run" in err
    assert (out / "audits.parquet").read_bytes() == before
    code, _, _ = kvreplay("run", other, *HARDENED, "--out", out, "--force")
    assert code == 0
    assert (out / "audits.parquet").read_bytes() != before
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["broken.parquet", "other.parquet", "r", "trace.parquet"]
