"""A strict reader of trace event files: what Perfetto would drop, ignore or mix up is an error here.

The rules are those of Google's "Trace Event Format" and of Perfetto's own importer: every event has
what its phase needs, a thread is named once and belongs to one process, slices of a thread nest and
never overlap by halves, and both ends of an arrow lie in a slice that is open at their time.
"""

from collections import Counter, defaultdict

_FIELDS = {
    "X": {"name", "cat", "pid", "tid", "ts", "dur"},
    "i": {"name", "cat", "pid", "tid", "ts", "s", "args"},
    "C": {"name", "pid", "tid", "ts", "args"},
    "s": {"name", "cat", "id", "pid", "tid", "ts"},
    "f": {"name", "cat", "id", "pid", "tid", "ts", "bp"},
    "M": {"name", "pid", "tid", "args"},
}


class Checked:
    """What a file holds, once it has been found sound."""

    def __init__(self, document):
        assert document.keys() == {"displayTimeUnit", "otherData", "traceEvents"}
        self.events = document["traceEvents"]
        self.processes, self.threads = {}, {}
        self.slices = defaultdict(list)
        self.counts = Counter()
        self._arrows = defaultdict(dict)
        for event in self.events:
            self._take(event)
        self._check_nesting()
        self._check_arrows()

    def of(self, kind):
        """Every event of a category."""
        return [event for event in self.events if event.get("cat") == kind]

    def _take(self, event):
        phase = event["ph"]
        needed = _FIELDS[phase]
        assert needed <= event.keys() <= needed | {"ph", "args"}, event
        assert isinstance(event["name"], str)
        assert isinstance(event["pid"], int) and isinstance(event["tid"], int)
        if phase == "M":
            self._name(event)
            return
        assert event["pid"] in self.processes, "a process is named before it is used"
        assert event["tid"] in (event["pid"], *self.threads)
        assert isinstance(event["ts"], int) and event["ts"] >= 0
        if phase == "C":
            assert all(isinstance(value, int) for value in event["args"].values())
            self.counts["counter"] += 1
            return
        assert self.threads[event["tid"]][0] == event["pid"], "a thread has one process"
        self.counts[event["cat"]] += phase != "s"
        if phase == "X":
            assert isinstance(event["dur"], int) and event["dur"] > 0
            self.slices[event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
        elif phase == "i":
            assert event["s"] in ("t", "p", "g")
        elif phase in "sf":
            assert phase not in self._arrows[event["id"]], "an id has one beginning and one end"
            assert phase == "s" or event["bp"] == "e"
            self._arrows[event["id"]][phase] = event

    def _name(self, event):
        what, _, field = event["name"].partition("_")
        known = self.processes if what == "process" else self.threads
        if field == "name":
            key = event["pid"] if what == "process" else event["tid"]
            assert key not in self.processes and key not in self.threads, "an id is given once"
            name = event["args"]["name"]
            known[key] = name if what == "process" else (event["pid"], name)
        else:
            assert field == "sort_index" and isinstance(event["args"]["sort_index"], int)

    def _check_nesting(self):
        for spans in self.slices.values():
            open_until = []
            for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
                while open_until and open_until[-1] <= start:
                    open_until.pop()
                assert not open_until or end <= open_until[-1], "slices overlap by halves"
                open_until.append(end)

    def _check_arrows(self):
        for ends in self._arrows.values():
            assert ends.keys() == {"s", "f"}
            start, end = ends["s"], ends["f"]
            assert (start["name"], start["cat"]) == (end["name"], end["cat"])
            assert start["ts"] <= end["ts"]
            for event in (start, end):
                spans = self.slices[event["tid"]]
                assert any(first <= event["ts"] < last for first, last in spans)
