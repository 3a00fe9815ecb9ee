"""Recordings as Markdown for a comment on a pull request: short enough for one, and nothing in it runs.

GitHub takes comments of 65,536 characters. What does not fit is left out, and the text says so.
Text from outside stands in code spans and blocks that are fenced wider than any run of backticks in it,
so that it is neither markup nor HTML nor a link nor a mention of somebody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from reports.parts.findings.part import FINDINGS
from reports.parts.tables.part import TABLES
from reports.tables import Table
from reports.words import NOTHING, counted, number, shown
from traces.text import printable, shortened

if TYPE_CHECKING:
    from reports.compare.page import ComparisonPart
    from reports.section import Section

#: Characters of a name in a code span.
NAME_CHARACTERS_MAX = 300

#: Characters of the whole text; GitHub's limit for a comment is 65,536.
CHARACTERS_MAX = 60_000

#: The first line, by which a script finds its own comment again.
MARKER = "<!-- kvreplay.report/1 -->"

#: Rows of a table, characters of one entry, of a sentence, and of the line that reproduces.
_ROWS_MAX = 10
_ENTRY_CHARACTERS_MAX = 100
_SENTENCE_CHARACTERS_MAX = 1_500
_LINE_CHARACTERS_MAX = 8_000
#: Kept for the sentence on what was left out.
_CLOSING_CHARACTERS = 300


def report_markdown(sections: Sequence[Section], comparison: ComparisonPart | None = None) -> str:
    """Recordings as Markdown of at most `CHARACTERS_MAX` characters."""
    text = f"{MARKER}\n"
    blocks = [] if comparison is None else list(_compared(comparison))
    if len(sections) > 2:
        blocks.append(_overview(sections))
    for section in sections:
        blocks += _section_blocks(section)
    for at, block in enumerate(map(printable, blocks)):
        if len(text) + len(block) > CHARACTERS_MAX - _CLOSING_CHARACTERS:
            return text + _left_out(len(blocks) - at)
        text += block
    return text


def _left_out(blocks: int) -> str:
    return (
        f"{counted(blocks, 'more part')} of this report left out: comments have a size limit. "
        "`kvreplay report DIR -o report.html` shows all of it.\n"
    )


def _compared(comparison: ComparisonPart) -> list[str]:
    """What became of the gap, the two verdicts, and what is new."""
    lines = [f"## {comparison.sign} {code(comparison.sentence, _SENTENCE_CHARACTERS_MAX)}", ""]
    lines += [f"> **Compare with care:** {warning}" for warning in comparison.warnings]
    lines += [""] * bool(comparison.warnings)
    lines += [table_row(["", "before", "after"]), table_row(["---", "---", "---"])]
    before, after = comparison.heads
    lines.append(_three("recording", before.name, after.name))
    lines.append(
        _three("verdict", f"{before.sign} {before.verdict}", f"{after.sign} {after.verdict}")
    )
    lines.append(_three("at", before.pool or "no gap", after.pool or "no gap"))
    values = dict(before.lines), dict(after.lines)
    names = dict.fromkeys([*values[0], *values[1]])
    lines += [_three(name, *(each.get(name, NOTHING) for each in values)) for name in names]
    lines += ["", *(f"- {name}: {told}" for name, told in comparison.counts), "", ""]
    blocks = ["\n".join(lines), _failed(comparison.failed_checks, len(comparison.checks))]
    blocks += [_table(table) for table in comparison.tables]
    if comparison.made_of.of:
        blocks.append(_table(comparison.made_of))
    return blocks


def _three(name: str, before: str, after: str) -> str:
    return table_row([name, code_in_table(before), code_in_table(after)])


def _overview(sections: Sequence[Section]) -> str:
    lines = [
        f"## {counted(len(sections), 'recording')}",
        "",
        table_row(["recording", "verdict", "gap, tokens", "faults"]),
        table_row(["---", "---", "---:", "---"]),
    ]
    for section in sections:
        gap = "none" if section.screen.equation is None else section.screen.equation.gap
        lines.append(
            table_row(
                [
                    code_in_table(section.name, _ENTRY_CHARACTERS_MAX),
                    f"{section.screen.sign} {code_in_table(section.screen.verdict)}",
                    gap,
                    section.made["counted"].faults,
                ]
            )
        )
    return "\n".join([*lines, "", ""])


def _section_blocks(section: Section) -> list[str]:
    """One recording: what a reader asks first, then the tables, as far as they fit."""
    blocks = [
        f"## {code(section.screen.sign)} {code(section.screen.verdict.upper())} {code(section.name)}\n\n",
        fenced(_story(section), "text"),
        _failed(section.failed_checks, len(section.checks)),
        _findings(section),
        _again(section.screen.reproduce),
    ]
    blocks += [_table(table) for table in section.of(TABLES) or ()]
    passed = len(section.checks) - section.failed_checks
    blocks.append(
        f"{number(passed)} of {counted(len(section.checks), 'consistency check')} passed.\n\n"
    )
    return blocks


def _findings(section: Section) -> str:
    """The leak summary: every category with something in it, and what is wrong with suppressions."""
    findings = section.of(FINDINGS)
    assert findings is not None
    rows = [row for row in findings.summary if row.records != "0"]
    if not rows and not findings.alarms:
        return ""
    lines = [
        table_row(["finding", "tokens", "pages", "owners", "meaning"]),
        table_row(["---", "---:", "---:", "---:", "---"]),
        *(
            table_row([f"**{row.category}**", row.tokens, row.pages, row.owners, row.meaning])
            for row in rows
        ),
        "",
        *(f"- {code(alarm, _SENTENCE_CHARACTERS_MAX)}" for alarm in findings.alarms[:_ROWS_MAX]),
    ]
    if len(findings.alarms) > _ROWS_MAX:
        lines.append(f"- showing {_ROWS_MAX} of {number(len(findings.alarms))}")
    return "\n".join([*lines, "", ""])


def _story(section: Section) -> str:
    """Verdict, blame and equation as plain text, for names from outside may be in any of them."""
    lines = [f"{section.screen.meaning}. {section.screen.why}"]
    for answer in section.screen.answers:
        lines.append(f"{answer.question}: {answer.words}")
        lines += [f"  {line}" for line in answer.more]
    lines = [shortened(line, _SENTENCE_CHARACTERS_MAX) for line in lines]
    if (equation := section.screen.equation) is not None:
        terms = " + ".join(f"{name} {value}" for name, value in equation.terms)
        lines += [
            "",
            f"{shortened(equation.pool, _ENTRY_CHARACTERS_MAX)} at {equation.when}",
            f"{terms} = {equation.accounted}",
            f"total {equation.total}",
            f"gap {equation.total} \N{MINUS SIGN} {equation.accounted} = {equation.gap} tokens = "
            f"{equation.pages} pages \N{MULTIPLICATION SIGN} {equation.page_size}",
        ]
    facts = (
        f"{name}: {shortened(told, _SENTENCE_CHARACTERS_MAX)}"
        for name, told in section.made["counted"].facts
    )
    return "\n".join([*lines, "", *facts])


def _failed(failed: int, of: int) -> str:
    if not failed:
        return ""
    return (
        f"**{number(failed)} of {counted(of, 'check')} failed**: these numbers are "
        "inconsistent; do not rely on them.\n\n"
    )


def _again(line: str | None) -> str:
    """The line that reproduces: whole or not at all, for it is to be pasted into a shell."""
    if not line:
        return "To reproduce it: not recorded.\n\n"
    if len(line) > _LINE_CHARACTERS_MAX:
        return "To reproduce it: the command is too long to show; see `run.json`.\n\n"
    return f"To reproduce it:\n\n{fenced(line, 'sh')}"


def _table(table: Table) -> str:
    rows = table.rows[:_ROWS_MAX]
    lines = [
        f"<details><summary>{table.caption}: {shown(len(rows), table.of)}</summary>",
        "",
        table_row(column.title for column in table.columns),
        table_row("---:" if column.numeric else "---" for column in table.columns),
    ]
    for row in rows:
        lines.append(
            table_row(
                cell if column.numeric else code_in_table(cell, _ENTRY_CHARACTERS_MAX)
                for cell, column in zip(row, table.columns, strict=True)
            )
        )
    return "\n".join([*lines, "", "</details>", "", ""])


def code(text: str, characters_max: int = NAME_CHARACTERS_MAX) -> str:
    """Text as a code span on one line."""
    line = shortened(text, characters_max) or "none"
    fence = "`" * (longest_run(line) + 1)
    return f"{fence} {line} {fence}" if "`" in line else f"{fence}{line}{fence}"


def code_in_table(text: str, characters_max: int = NAME_CHARACTERS_MAX) -> str:
    """The same for a table, which takes a bare bar for the end of an entry even in code."""
    return code(text, characters_max).replace("|", "\\|")


def fenced(text: str, language: str) -> str:
    """Text as a block of its own."""
    fence = "`" * max(3, longest_run(text) + 1)
    return f"{fence}{language}\n{printable(text)}\n{fence}\n\n"


def table_row(entries: Iterable[str]) -> str:
    """One row of a table."""
    return f"| {' | '.join(entries)} |"


def longest_run(text: str) -> int:
    """How many backticks stand side by side at most."""
    return max((len(run) for run in re.findall("`+", text)), default=0)
