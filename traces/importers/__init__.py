"""Readers of the logs that serving systems write, one module a format.

`FORMATS` names them; `import_log` turns a log of one of them into a trace.
"""

from traces.importers.base import FORMATS, ImportedLog, ImportReport, ImportTally, import_log

__all__ = ["FORMATS", "ImportReport", "ImportTally", "ImportedLog", "import_log"]
