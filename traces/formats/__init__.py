"""Readers of the logs that serving systems write, one module a format, behind one registry.

    registry   names the formats and tells a file's own          source    bytes and lines
    pipeline   reads, sorts and writes: `import_logs`            reader    rows, and their counts
    values, hashes   what fields may hold                        tally     what became of every row

`import_logs` turns logs into a trace; `traces.formats.pipeline` documents it.
"""

from traces.formats.registry import AUTO, FORMATS, PLAIN_FORMATS

__all__ = ["AUTO", "FORMATS", "PLAIN_FORMATS"]
