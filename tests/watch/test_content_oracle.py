"""Wrong bytes that no counter sees: which page, why, and which event did it."""

import pyarrow.parquet as pq
import pytest

from faults.plan_text import plan_text
from faults.rule import FaultPlan, FaultRule
from traces.schema import TraceRequest

#: One rank a side and small pools, so that pages are used again soon.
SMALL = {
    "total_tokens": 4_096,
    "prefill_total_tokens": 4_096,
    "page_size": 64,
    "prefill_tp": 1,
    "decode_tp": 1,
    "decode_dp": 1,
}
EARLY = "it was read before its bytes landed"
RELEASED = "prefill had released its page before the transfer read it"


@pytest.fixture
def contents(write_trace, run_json, tmp_path):
    """Run a few requests with one bug: the summary and the recording's tables as rows."""

    def run(requests, defect, *rules, **fields):
        plan, out = tmp_path / "plan.toml", tmp_path / "recording"
        plan.write_text(plan_text(FaultPlan(rules)))
        words = ["--profile", "hardened", "--plan", plan, "--out", out]
        words += ["--defect", defect] if defect else []
        for field, value in (SMALL | fields).items():
            words += ["--set", f"{field}={value}"]
        code, summary = run_json(write_trace(requests), *words)
        tables = {
            name: pq.read_table(out / f"{name}.parquet").to_pylist()
            for name in ("contents", "events", "requests")
        }
        assert code == (1 if tables["contents"] else 0)
        return Run(summary, **tables)

    return run


class Run:
    """What one replay left, and how to look things up in it."""

    def __init__(self, summary, contents, events, requests):
        self.summary, self.contents, self.events = summary, contents, events
        self.requests = {row["request_id"]: row for row in requests}

    def rows(self, request_id, first_token=False):
        """Wrong reads of one request, in order."""
        return [
            row
            for row in self.contents
            if (row["request_id"], row["wrong_first_token"]) == (request_id, first_token)
        ]

    def event(self, row):
        """The deliveries of the event that a wrong read names."""
        found = [event for event in self.events if event["event"] == row["event"]]
        assert found, f"there is no event {row['event']}"
        return found

    def assert_silent(self):
        """The verdict is persistent, although nothing is missing and nobody is stuck."""
        assert self.summary["verdict"] == "persistent"
        assert self.summary["why"].startswith("decode ")
        assert self.summary["mismatch"] is None
        assert self.summary["episodes"] == 0
        assert self.summary["final_gap"] == {"tokens": 0, "pages": 0, "pools": {}}
        assert self.summary["oracles"]["liveness"] == 0


def explained(row):
    return row["kind"], row["first_page"], row["why"]


def test_without_a_bug_nothing_is_wrong(contents):
    run = contents([TraceRequest("r", 0, 640, 20)], None)
    assert run.contents == []
    assert run.summary["oracles"]["contents"] == 0


def test_a_completion_before_the_bytes_is_named(contents):
    run = contents(
        [TraceRequest("r", 0, 640, 20)], "completion-before-the-bytes", transfer_us=50_000
    )
    run.assert_silent()
    (row,) = run.rows("r")
    assert explained(row) == ("stale-write", 1, EARLY)
    assert (row["pages"], row["wrong_pages"], row["pool"]) == (10, 10, "decode0/dp0")
    (told,) = run.event(row)
    assert (told["request_id"], told["direction"]) == ("r", "decode")
    assert told["delivered_us"] <= row["time_us"] < run.requests["r"]["landed_us"]
    (token,) = run.rows("r", first_token=True)
    assert token["why"] == "its completion came before its metadata"
    assert (token["event"], token["kind"]) == (row["event"], "stale-write")
    assert run.summary["kinds"] == {"stale-write": 11}


def test_of_several_ranks_the_completion_that_came_too_early_is_named(contents):
    """The first of four pairs is done 30 ms before the last, and is taken for all."""
    sizes = {"prefill_tp": 4, "decode_tp": 4, "transfer_skew_us": 10_000}
    run = contents([TraceRequest("r", 0, 640, 20)], "one-rank-counts-as-all", **sizes)
    run.assert_silent()
    (row,) = run.rows("r")
    assert explained(row) == ("stale-write", 1, EARLY)
    (told,) = run.event(row)
    assert (told["decode_tp_rank"], told["direction"]) == (0, "decode")
    assert told["delivered_us"] <= row["time_us"]


def test_a_source_freed_on_submission_has_no_event_to_blame(contents):
    """The pages of `a` go to `b` before the transfer of `a` has read them."""
    two = [TraceRequest("a", 0, 640, 5), TraceRequest("b", 60_000, 640, 5)]
    run = contents(two, "source-freed-before-it-is-read", transfer_us=200_000)
    run.assert_silent()
    first = run.rows("a")[0]
    assert explained(first) == ("premature-free", 1, RELEASED)
    assert first["wrong_pages"] == 10
    assert run.rows("b") == [], "its own pages were not given to anybody else"
    assert {row["event"] for row in run.rows("a")} == {None}
    assert run.summary["kinds"] == {"premature-free": 10}


LATE_WRITE = "a wrote it after decode had released its pages"


def test_a_late_write_after_an_abort_is_traced_to_its_transfer(contents):
    """The client of `a` leaves, `b` gets its pages, and the bytes of `a` land in them."""
    two = [TraceRequest("a", 0, 640, 40, cancel_us=50_000), TraceRequest("b", 60_000, 128, 40)]
    run = contents(two, "abort-frees-under-the-writer", transfer_us_per_page=20_000)
    run.assert_silent()
    (row,) = run.rows("b")
    assert explained(row) == ("stale-write", 1, LATE_WRITE)
    assert row["wrong_pages"] == 2
    (told,) = run.event(row)
    assert (told["request_id"], told["direction"]) == ("a", "decode")
    assert told["sent_us"] == run.requests["a"]["landed_us"] < row["time_us"]
    assert run.rows("a") == [], "nobody reads for a client that is gone"


def test_a_chunk_of_a_prompt_that_is_never_finished_has_no_event_of_another(contents):
    """`a` leaves after its first chunk: none of its completions is ever sent."""
    requests = [
        TraceRequest("a", 0, 1_920, 40, cancel_us=25_000),
        TraceRequest("b", 60_000, 128, 40),
        TraceRequest("c", 400_000, 128, 40),
    ]
    chunks = {"chunked_prefill_tokens": 640, "transfer_us_per_page": 20_000}
    run = contents(requests, "abort-frees-under-the-writer", **chunks)
    run.assert_silent()
    assert {event["request_id"] for event in run.events} == {"b", "c"}
    (row,) = run.rows("b")
    assert explained(row) == ("stale-write", 1, LATE_WRITE)
    assert row["event"] is None, f"event {row['event']} is {run.event(row)[0]['request_id']}'s"


def test_a_page_with_two_owners_is_traced_to_the_second_acknowledgement(contents):
    """`a` is acknowledged twice, so `b` and `c` compute their prompts in the same pages."""
    twice = FaultRule("twice", "duplicate", "prefill", request_ids=frozenset({"a"}))
    requests = [
        TraceRequest("a", 0, 640, 3),
        TraceRequest("b", 200_000, 320, 40),
        TraceRequest("c", 200_000, 640, 40),
    ]
    run = contents(requests, "second-acknowledgement-frees-again", twice)
    assert run.summary["verdict"] == "persistent"
    assert run.summary["kinds"] == {"double-owned": 5, "over-freed": 10, "premature-free": 5}
    row = run.rows("b")[0]
    assert (row["kind"], row["first_page"], row["wrong_pages"]) == ("premature-free", 1, 5)
    assert run.rows("c") == [], "it wrote last"
    told = run.event(row)[-1]
    assert told["sent_us"] < run.requests["b"]["landed_us"], "what did it came before the read"
    assert (told["request_id"], told["copy"], told["fault"]) == ("a", 1, "duplicate")


def test_a_stranger_s_first_token_is_traced_to_the_stranger(contents):
    """`a` gives its buffer back but is still written; `r` takes it, is filled, and then `a` lands.

    `busy` makes decode look every 200 ms only, so that both have landed when it does.
    """
    requests = [
        TraceRequest("busy", 0, 64, 10),
        TraceRequest("a", 30_000, 640, 40, cancel_us=300_000),
        TraceRequest("r", 350_000, 64, 5),
    ]
    slow = {"decode_step_us": 200_000, "transfer_us_per_page": 30_000, "metadata_slots": 1}
    run = contents(requests, "metadata-slot-reused", **slow)
    run.assert_silent()
    landed = {name: row["landed_us"] for name, row in run.requests.items()}
    (row,) = run.contents
    assert (row["request_id"], row["wrong_first_token"], row["kind"]) == ("r", True, "stale-write")
    assert landed["r"] < landed["a"] < row["time_us"] == run.requests["r"]["consumed_us"]
    assert row["why"] == "a wrote its first-token buffer after giving it back"
    assert run.event(row)[0]["request_id"] == "a"


def test_what_a_completion_of_another_user_of_the_room_lets_through_is_named(contents):
    """The completion of `a` comes late and counts for `r`, whose bytes are still on their way."""
    late = FaultRule("late", "delay", request_ids=frozenset({"a"}), delay_us=20_000)
    requests = [
        TraceRequest("a", 0, 64, 5, cancel_us=20_000),
        TraceRequest("r", 60_000, 640, 5),
    ]
    fields = {"bootstrap_rooms": 1, "transfer_us": 200_000, "abort_in_transfer": "release"}
    run = contents(requests, "room-reused-while-open", late, **fields)
    assert run.summary["verdict"] == "persistent"
    row = run.rows("r")[0]
    assert explained(row)[::2] == ("stale-write", EARLY)
    (told,) = run.event(row)
    assert (told["request_id"], told["direction"]) == ("a", "decode")
    assert (told["outcome"], told["detail"]) == ("accepted", "for another request of its room")
    assert told["delivered_us"] <= row["time_us"] < run.requests["r"]["landed_us"]
