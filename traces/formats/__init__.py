"""Readers for the logs of serving systems, one module for each format, behind one registry.

    registry   the formats, and the detection of a file's format     source    bytes and lines
    pipeline   reads, sorts and writes: `import_logs`                reader    rows and their counts
    values, hashes   checked fields and block hashes

`import_logs` converts logs to a trace; see `traces.formats.pipeline`.
"""

from traces.formats.registry import AUTO, FORMATS, PLAIN_FORMATS

__all__ = ["AUTO", "FORMATS", "PLAIN_FORMATS"]
