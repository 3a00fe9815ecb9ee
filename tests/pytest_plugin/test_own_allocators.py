"""The fixture `kvreplay` with allocators of a user's own: right ones, and wrong ones in three ways."""

import json

import numpy as np
import pytest
import torch

from replay.errors import AllocatorError, PlanError
from replay.pool.arrays import HostArrays
from replay.pool.device_arrays import DeviceArrays
from replay.pool.pool import KvPool
from replay.recording.reader import Recording

#: An engine whose free list is a stack of pages, and a pool small enough to be used again and again.
ENGINE = {
    "profile": "sglang-0.4.6.post4",
    "topology": "tp1:tp1",
    "settings": {"total_tokens": 16384, "prefill_total_tokens": 65536},
}
LOST = """
[[rule]]
name = "lost"
fault = "drop"
probability = 0.3
"""


class Stack:
    """Pages as a plain list, in the order of the engine's own: what is freed goes in front."""

    def __init__(self, total_pages, page_size):
        self.pages = list(range(1, total_pages + 1))

    @property
    def available_pages(self):
        return len(self.pages)

    def alloc(self, count):
        if count > len(self.pages):
            return None
        taken, self.pages = self.pages[:count], self.pages[count:]
        return taken

    def free(self, pages):
        self.pages[:0] = sorted(pages)


class Leaky(Stack):
    """Loses one page in every twentieth call."""

    calls = 0

    def alloc(self, count):
        self.calls += 1
        if self.calls % 20 == 0:
            self.pages.pop()
        return super().alloc(count)


class Generous(Stack):
    """Gives one page out a second time: leaves it on the list once."""

    calls = 0

    def alloc(self, count):
        taken = super().alloc(count)
        self.calls += 1
        if self.calls == 30 and taken:
            self.pages[0] = taken[0]
        return taken


class Forgetful(Stack):
    """Loses what is freed in pieces of exactly four pages."""

    def free(self, pages):
        if len(pages) != 4:
            super().free(pages)


@pytest.fixture(scope="module")
def trace(kvreplay):
    return kvreplay.synth(requests=80, seed=3, rate_per_s=8, prompt_tokens_median=200)


@pytest.mark.parametrize("form", [list, np.array, torch.tensor], ids=["list", "numpy", "torch"])
def test_a_right_one_is_clean_and_leaves_the_recording_of_the_engines_own(kvreplay, trace, form):
    class Mine(Stack):
        def alloc(self, count):
            taken = super().alloc(count)
            return None if taken is None else form(taken)

    mine = kvreplay.run(trace=trace, allocator=Mine, **ENGINE)
    mine.assert_verdict("clean")
    assert (mine.gap, mine.equation, mine.kinds, mine.misconduct) == (0, None, {}, ())
    assert mine.recording_sha256 == kvreplay.run(trace=trace, **ENGINE).recording_sha256
    run = json.loads((mine.recording / "run.json").read_text())
    assert run["environment"]["allocator"] == "Mine"
    assert "with the allocator Mine" in run["reproduce"]


def test_another_order_of_pages_is_as_right(kvreplay, trace):
    class Queue(Stack):
        def free(self, pages):
            self.pages += pages

    kvreplay.run(trace=trace, allocator=Queue, **ENGINE).assert_verdict("clean")


@pytest.mark.parametrize(
    ("allocator", "kind", "sentence"),
    [
        (Leaky, "counter-drift", "available_pages fell by another number than was given"),
        (Generous, "double-owned", "pages were given out that were out already"),
        (Forgetful, "counter-drift", "available_pages rose by another number than was freed"),
    ],
)
def test_a_wrong_one_is_found_and_its_mistake_named(kvreplay, trace, allocator, kind, sentence):
    found = kvreplay.run(trace=trace, allocator=allocator, **ENGINE)
    assert found.verdict == "persistent"
    assert found.kinds[kind] > 0
    assert (found.gap > 0) == (kind == "counter-drift")
    assert len(found.misconduct) == 1
    assert found.misconduct[0].startswith(f"{allocator.__name__}: {sentence} in ")
    with pytest.raises(AssertionError) as failure:
        found.assert_verdict("clean", "transient")
    text = str(failure.value)
    assert text.startswith("persistent where clean or transient was expected: ")
    assert f"\n  {found.misconduct[0]}\n" in text
    assert "\n  reproduce: pytest 'tests/pytest_plugin/test_own_allocators.py::" in text
    assert f"# with the allocator {allocator.__name__}\n" in text
    assert f"\n  recording: {found.recording}" in text
    if found.gap:
        assert f"\n  {found.equation}\n" in text
        assert f"gap {found.gap} tokens" in found.equation


def test_a_page_that_comes_twice_in_one_call_has_two_owners_too(kvreplay, trace):
    class Twice(Stack):
        done = False

        def alloc(self, count):
            taken = super().alloc(count)
            if taken and count > 1 and not self.done:
                self.done = True
                self.pages.append(taken[1])
                taken[1] = taken[0]
            return taken

    found = kvreplay.run(trace=trace, allocator=Twice, **ENGINE)
    assert found.verdict == "persistent"
    assert found.kinds["double-owned"] >= 1


def test_pages_of_stuck_requests_that_others_own_too_are_a_verdict_not_an_error(kvreplay, trace):
    class Lavish(Stack):
        """Gives the page that it gave last once more, again and again."""

        calls = 0
        last = 1

        def alloc(self, count):
            taken = super().alloc(count)
            self.calls += 1
            if taken and self.calls % 5 == 0:
                self.pages.append(taken[0])
                taken[0] = self.last
            elif taken:
                self.last = taken[-1]
            return taken

    plan = kvreplay.plan(LOST)
    found = kvreplay.run(trace=trace, plan=plan, allocator=Lavish, **ENGINE)
    assert found.verdict == "persistent"
    assert found.kinds["double-owned"] > 0


def test_a_leak_that_is_made_good_is_transient(kvreplay, trace):
    class Late(Stack):
        """Keeps what is freed back until the next allocation or free."""

        def __init__(self, total_pages, page_size):
            super().__init__(total_pages, page_size)
            self.kept = []
            self.frees = 0

        def free(self, pages):
            self.frees += 1
            if self.frees == 5:
                self.kept = pages
            else:
                super().free(pages + self.kept)
                self.kept = []

    unchecked = {"settings": ENGINE["settings"] | {"check_strictness": "none"}}
    found = kvreplay.run(trace=trace, allocator=Late, **(ENGINE | unchecked))
    found.assert_verdict("transient")
    assert found.summary["episodes_open"] == 0
    assert set(found.kinds) == {"counter-drift"}
    assert Recording.open(found.recording).table("owners")["closed_audit"].null_count == 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "returned None although available_pages is "),
        ([1, 2, 3, 4, 5, 6, 7], "returned 7 pages"),
        (lambda count: [0] * count, "returned page 0; pages are 1 to "),
        (lambda count: [9999] * count, "returned page 9999; pages are 1 to "),
        (lambda count: [1.5] * count, "not one list of page ids"),
        (lambda count: "pages", "returned str, not page ids"),
    ],
)
def test_what_is_no_page_of_the_pool_is_an_error(kvreplay, trace, given, words):
    class Broken(Stack):
        def alloc(self, count):
            return given(count) if callable(given) else given

    with pytest.raises(AllocatorError, match=r"^\w+/dp0: Broken\.alloc\(\d+\) ") as failure:
        kvreplay.run(trace=trace, allocator=Broken, **ENGINE)
    assert words in str(failure.value)


def test_faults_are_told_apart_from_the_allocators_mistakes(kvreplay, trace):
    plan = kvreplay.plan(LOST)
    found = kvreplay.run(trace=trace, plan=plan, allocator=Stack, **ENGINE)
    found.assert_verdict("persistent")
    assert found.kinds.keys() == {"stuck"}
    assert found.misconduct == ()
    own = kvreplay.run(trace=trace, plan=plan, **ENGINE)
    assert own.recording_sha256 == found.recording_sha256


def test_the_line_of_a_replay_without_ones_own_allocator_repeats_it(kvreplay, trace, capsys):
    import shlex

    from replay.cli import run_command_line

    found = kvreplay.run(trace=trace, plan=kvreplay.plan(LOST), seed=7, **ENGINE)
    capsys.readouterr()
    run_command_line([*shlex.split(found.reproduce)[1:], "--json"])
    again = json.loads(capsys.readouterr().out)
    assert again["recording_sha256"] == found.recording_sha256


def test_plans_have_names_and_mistakes_in_them_have_lines(kvreplay, trace):
    name = "builtin:late-completion-after-timeout"
    found = kvreplay.run(trace=trace, plan=name)
    run = json.loads((found.recording / "run.json").read_text())
    assert run["plan"]["source"] == name
    assert run["plan"]["rules"]
    with pytest.raises(PlanError, match=r"the plan of this test:4: .*fault"):
        kvreplay.plan(LOST.replace("drop", "dorp"))
    with pytest.raises(ValueError, match="verdicts are clean, transient, persistent"):
        found.assert_verdict("cleen")
    with pytest.raises(ValueError, match="verdicts are clean, transient, persistent"):
        found.assert_verdict()


def test_the_same_options_give_the_same_trace(kvreplay):
    first = kvreplay.synth(requests=5, seed=1)
    assert first == kvreplay.synth(requests=5, seed=1)
    assert first != kvreplay.synth(requests=5, seed=2)
    with pytest.raises(TypeError, match="request"):
        kvreplay.synth(request=5)


MATRIX = f"""
[axes]
profile = ["sglang-0.4.6.post4"]
total_tokens = [16384]
topology = ["tp1:tp1"]
plan = ["none", "lost"]

[trace.tiny]
requests = 20
rate_per_s = 8
prompt_tokens_median = 128
output_tokens_median = 16

[plan.lost]
{LOST.replace("[[rule]]", "[[plan.lost.rule]]")}
[[expect]]
verdict = "clean"
[[expect]]
cells = {{ plan = "lost" }}
verdict = "persistent"
"""


def test_a_matrix_holds_for_ones_own_allocator_or_says_which_cells_do_not(kvreplay, tmp_path):
    path = tmp_path / "mine.kvmatrix.toml"
    path.write_text(MATRIX)
    right = kvreplay.matrix(path, allocator=Stack)
    right.assert_expected()
    assert [cell.replayed.verdict for cell in right.cells] == ["clean", "persistent"]

    wrong = kvreplay.matrix(path, allocator=Leaky)
    (bad,) = wrong.unexpected
    assert bad.outcome == "failed"
    with pytest.raises(AssertionError) as failure:
        wrong.assert_expected()
    text = str(failure.value)
    line = 1 + MATRIX[: MATRIX.index("[[expect]]")].count("\n")
    assert text.startswith(f"1 of 2 cells are not as expected\nfailed: {bad.name}\n")
    assert f"\n  expected: clean ({path}:{line})\n" in text
    assert "\n  Leaky: available_pages fell by another number" in text
    assert "reproduce: pytest" in text


class SglangTokens:
    """What an allocator of SGLang looks like: token indices in torch tensors."""

    def __init__(self, size, page_size):
        self.page_size = page_size
        self.pages = torch.arange(1, size // page_size + 1)

    def available_size(self):
        return len(self.pages) * self.page_size

    def alloc(self, need_size):
        count = need_size // self.page_size
        if count > len(self.pages):
            return None
        taken, self.pages = self.pages[:count], self.pages[count:]
        return (taken[:, None] * self.page_size + torch.arange(self.page_size)).reshape(-1)

    def free(self, free_index):
        self.pages = torch.cat((torch.unique(free_index // self.page_size), self.pages))


def test_an_allocator_of_sglangs_interface_fits_as_well(kvreplay, trace):
    mine = kvreplay.run(trace=trace, allocator=kvreplay.token_allocator(SglangTokens), **ENGINE)
    mine.assert_verdict("clean")
    assert mine.recording_sha256 == kvreplay.run(trace=trace, **ENGINE).recording_sha256


def test_token_indices_that_are_no_pages_are_an_error(kvreplay, trace):
    class Shifted(SglangTokens):
        def alloc(self, need_size):
            return super().alloc(need_size) + 1

    with pytest.raises(AllocatorError, match="not whole pages of 64"):
        kvreplay.run(trace=trace, allocator=kvreplay.token_allocator(Shifted), **ENGINE)


@pytest.mark.parametrize(
    "arrays", [HostArrays(), DeviceArrays(torch.device("cpu"))], ids=["host", "device"]
)
def test_a_pool_of_any_kind_of_arrays_takes_one(arrays):
    class Twice(Stack):
        def alloc(self, count):
            return [7] * count

    def pool(make):
        return KvPool("pool", 64 * 16, 16, 1, arrays, make_allocator=make)

    right = pool(Stack)
    first, second = right.acquire(0, 3), right.acquire(1, 2)
    assert (first.tolist(), second.tolist()) == ([1, 2, 3], [4, 5])
    right.release_group([(0, first), (1, second)])
    assert right.available_pages == 64
    assert right.acquire(2, 0).tolist() == []
    assert right.acquire(2, 65) is None
    assert right.ledger.violations().total == 0

    wrong = pool(Twice)
    wrong.acquire(0, 3)
    wrong.acquire(1, 1)
    assert wrong.ledger.violations().acquired_while_owned == 3
