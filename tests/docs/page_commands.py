"""The commands of README.md and docs/, and what is in the folder in which each page's commands run."""

import contextlib
import gzip
import io
import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from replay.cli import cli, run_command_line

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))))


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def command_lines(page: str) -> list[str]:
    """The lines of a page's code blocks, in order, without what continues or follows a command."""
    text = text_of(page).replace("\\\n", " ")
    lines, fence = [], None
    for line in text.splitlines():
        if line.startswith("```"):
            fence = None if fence is not None else line[3:]
        elif fence in ("sh", "console", "yaml") or (fence is None and line.startswith("    ")):
            lines.append(re.sub(r"^(- )?(run: )?", "", line.strip()))
    return lines


def commands(page: str) -> list[str]:
    """Every `kvreplay` command in the code blocks of a page."""
    starts = re.compile(r"(/usr/bin/time -v |kubectl [^|]*\| )?kvreplay [a-z-]")
    return [line for line in command_lines(page) if starts.match(line)]


def words_of(line: str) -> tuple[list[str], str | None]:
    """The words after `kvreplay`, patterns expanded, and the file that `>` names."""
    words = shlex.split(line.removesuffix(" || true"), comments=True)
    words = words[words.index("kvreplay") + 1 :]
    target = None
    if ">" in words:
        words, target = words[: words.index(">")], words[-1]
    expanded = [
        sorted(str(path) for path in Path().glob(word)) or [word] if "*" in word else [word]
        for word in words
    ]
    return [word for some in expanded for word in some], target


def check_options(words: list[str]) -> None:
    """The verb exists, and so does every option."""
    command = cli
    while words and (found := getattr(command, "get_command", lambda *_: None)(None, words[0])):
        command, words = found, words[1:]
    assert command is not cli or words == ["--help"], f"no such command: {words}"
    known = {name for parameter in command.params for name in parameter.opts}
    for word in words:
        if re.match(r"--?[a-zA-Z]", word):
            assert word.partition("=")[0] in known | {"--help", "-h"}, f"no such option: {word}"


@dataclass(frozen=True)
class Outcome:
    """What came of one command."""

    line: str
    code: int
    out: str
    err: str


def run_page(page: str, folder: Path) -> list[Outcome]:
    """Run the commands of a page, in order, in a folder that has what the page says it has."""
    with contextlib.chdir(folder):
        setup_of(page).prepare()
        return [_run(line) for line in commands(page) if not setup_of(page).skips(line)]


def _run(line: str) -> Outcome:
    words, target = words_of(line)
    with captured() as streams:
        code = run_command_line(words)
    texts = [stream.buffer.getvalue().decode() for stream in streams]
    if target is not None:
        Path(target).write_text(texts[0], encoding="utf-8")
    return Outcome(line, code, *texts)


@contextlib.contextmanager
def captured() -> Iterator[list[io.TextIOWrapper]]:
    """What is printed; a command that reads its standard input gets the log of a server."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    stdin, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(DIED.encode()), "utf-8")
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield [out, err]
    finally:
        sys.stdin = stdin


# --- what is in the folders -------------------------------------------------------------------


def published_trace(requests: int = 1600, seconds: int = 1600) -> None:
    """A small `conversation_trace.jsonl`, as Mooncake has published one."""
    with Path("conversation_trace.jsonl").open("w", encoding="utf-8") as file:
        for number in range(requests):
            row = {
                "timestamp": number * seconds * 1000 // requests,
                "input_length": 600 + number * 37 % 900,
                "output_length": 5 + number % 40,
                "hash_ids": [0, 3 * number + 1, 3 * number + 2][: 2 + number % 2],
            }
            row["hash_ids"] = row["hash_ids"][: -(-row["input_length"] // 512)]
            file.write(json.dumps(row) + "\n")


DIED = (
    "[2025-05-13 10:00:00 DP3 TP3] Scheduler hit an exception: Traceback (most recent call last):\n"
    "ValueError: token_to_kv_pool_allocator memory leak detected! available_size=13824256, "
    "protected_size=0, self.max_total_num_tokens=13858304\n"
    "self.token_to_kv_pool_allocator.available_size()=13824256\n"
    "self.tree_cache.evictable_size()=0\n"
)

KNOWN = """
[[suppression]]
name = "lost completions are never timed out"
reason = "known"
expires = 2999-12-31
category = "stuck"
"""


def imported(name: str = "conv.parquet", **sizes: int) -> None:
    published_trace(**sizes)
    assert run_command_line(["trace", "import", "conversation_trace.jsonl", "-o", name]) == 0


def recorded(name: str, *words: str) -> None:
    assert run_command_line(["run", *words, "--out", name]) in (0, 1)


def logs() -> None:
    early = b"[2025-05-13 09:59:59 DP3 TP3] The server is fired up and ready to roll!\n"
    Path("decode.log").write_text(DIED, encoding="utf-8")
    Path("decode.log.1").write_bytes(early)
    for name in ("decode.log.1.gz", "decode.log.2.gz"):
        Path(name).write_bytes(gzip.compress(early))
    Path("prefill.log").write_bytes(early)
    Path("scrapes.txt").write_text(
        'sglang:token_usage{model_name="m"} 0.0\nsglang:num_running_reqs{model_name="m"} 0.0\n'
    )


def small_matrix() -> None:
    """The example matrix at its place, with fewer cells."""
    text = (ROOT / "examples" / "fault-matrix.kvmatrix.toml").read_text(encoding="utf-8")
    for axis, fewer in (
        ('topology = ["tp4:tp4dp4", "2xtp2:tp4dp2"]', 'topology = ["tp4:tp4dp4"]'),
        ("seed = [0, 1]", "seed = [0]"),
        ("swarm = 12", "swarm = 1"),
        ('"hardened", "sglang-0.4.6.post4", ', '"hardened", '),
    ):
        assert axis in text
        text = text.replace(axis, fewer)
    Path("examples").mkdir()
    Path("examples/fault-matrix.kvmatrix.toml").write_text(text, encoding="utf-8")


def readme() -> None:
    imported("t.parquet", requests=60, seconds=6)
    recorded("before", "t.parquet", "--profile", "sglang-0.4.6.post4", "--drop", "0.1")
    recorded("after", "t.parquet", "--profile", "hardened", "--drop", "0.1")
    published_trace()
    logs()
    small_matrix()
    Path("secret.key").write_text("5a" * 32)
    Path("known.toml").write_text(KNOWN, encoding="utf-8")


def tutorial() -> None:
    published_trace(seconds=160)
    logs()
    small_matrix()
    (plan,) = re.findall(r"^    comment = .*?(?=^\S)", text_of("docs/tutorial.md"), re.M | re.S)
    Path("burst.toml").write_text(re.sub("^    ", "", plan, flags=re.M), encoding="utf-8")


def findings() -> None:
    (known,) = re.findall(r"^```toml\n(.*?)^```$", text_of("docs/findings.md"), re.M | re.S)
    Path("accepted.toml").write_text(known, encoding="utf-8")
    imported("trace.parquet", requests=60, seconds=6)
    Path("recordings").mkdir()
    recorded("recordings/a", "trace.parquet", "--profile", "sglang-0.4.6.post4", "--drop", "0.1")
    recorded("recordings/b", "trace.parquet", "--profile", "hardened", "--drop", "0.1")


def faults() -> None:
    plan = re.search(r"^```toml\n(.*?)^```$", text_of("docs/faults.md"), re.M | re.S)
    Path("plan.toml").write_text(plan[1], encoding="utf-8")
    rows = [f"r-{number},{number * 50},900,20\n" for number in range(200)]
    Path("log.csv").write_text(
        "".join(["request_id,arrival_ms,input_tokens,output_tokens\n", *rows])
    )
    assert run_command_line(["trace", "import", "log.csv", "-o", "trace.parquet"]) == 0


def matrix() -> None:
    (text,) = re.findall(r"^```toml\n(.*?)^```$", text_of("docs/matrix.md"), re.M | re.S)
    Path("nightly.kvmatrix.toml").write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class Setup:
    """A page's folder, and what of the page is not run in it: patterns, each with the reason."""

    prepare: Callable[[], None] = lambda: None
    not_run: dict[str, str] = field(default_factory=dict)

    def skips(self, line: str) -> bool:
        return any(re.search(pattern, line) for pattern in self.not_run)


FOLLOWS = {"--follow": "watches a log until Ctrl-C"}
MATRIX_OF_README = {"matrix run examples/": "README.md runs the same matrix"}

SETUPS = {
    "README.md": Setup(readme, FOLLOWS),
    "docs/tutorial.md": Setup(tutorial, MATRIX_OF_README),
    "docs/benchmarks.md": Setup(not_run={"": "takes hours, whole public traces, or gigabytes"}),
    "docs/ci.md": Setup(
        small_matrix, {**MATRIX_OF_README, "matrix merge": "needs the shards of other jobs"}
    ),
    "docs/diagnose.md": Setup(logs, FOLLOWS),
    "docs/engine-log.md": Setup(lambda: imported(requests=300, seconds=30)),
    "docs/faults.md": Setup(faults),
    "docs/findings.md": Setup(findings),
    "docs/matrix.md": Setup(matrix, {"matrix run": "runs for minutes; a test lists its cells"}),
    "docs/traces.md": Setup(not_run={"": "test_traces_page.py runs its blocks in a shell"}),
}


def setup_of(page: str) -> Setup:
    return SETUPS.get(page, Setup())
