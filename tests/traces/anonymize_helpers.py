"""A secret, and traces written and read back."""

from traces.dataset import TraceWriter, open_trace
from traces.pseudonyms.anonymize import derive_keys

SECRET = "0123456789abcdef0123456789abcdef"
KEYS = derive_keys(SECRET.encode())


def write(path, requests, source="test"):
    with TraceWriter(path, source=source, block_size=16) as writer:
        for request in requests:
            writer.write(request)
    return path


def read(path):
    return list(open_trace(path).iter_requests())
