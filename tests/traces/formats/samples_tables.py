"""Good but untidy logs of the formats that are tables of columns, at least 20 rows each."""

import io
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq


def mooncake():
    """Rows with ties, a shared prefix, a row that came late, one that failed, CRLF in places."""
    numbers = random.Random(3)
    rows = []
    for row in range(24):
        blocks = numbers.randint(1, 6)
        fields = {
            "timestamp": 3000 * (row // 3),
            "input_length": 512 * blocks - numbers.randint(0, 511),
            "output_length": numbers.randint(1, 400),
            "hash_ids": [0, *range(100 * row, 100 * row + blocks - 1)],
        }
        rows.append(fields)
    rows[5]["timestamp"] = 0
    rows[7]["output_length"] = 0
    del rows[9]["hash_ids"]
    rows[11]["input_length"] = None
    lines = [json.dumps(fields) for fields in rows]
    return ("\n".join(lines[:12]) + "\r\n" + "\r\n".join(lines[12:]) + "\n").encode()


def azure():
    """Seven digits, six with an offset, no fraction, a row out of order, no final line end."""
    numbers = random.Random(4)
    lines = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    for row in range(22):
        tokens = f"{numbers.randint(1, 5000)},{numbers.randint(1, 700)}"
        lines.append(f"2023-11-16 18:15:{20 + row}.{numbers.randint(0, 9999999):07},{tokens}")
    lines[4] = "2024-05-10 00:00:00.009930+00:00,2162,5"
    lines[5] = "2023-11-16 18:15:01,80,9"
    lines[6] = "2023-11-16 18:15:25.1,80,0"
    lines[7] = "2023-11-16 18:15:26.1,,9"
    lines[8] = "yesterday,80,9"
    return "\r\n".join(lines).encode()


def plain_rows():
    """Rows in the plain formats' own fields, with nulls, unicode and a repeated id."""
    numbers = random.Random(5)
    rows = []
    for row in range(24):
        blocks = numbers.randint(1, 4)
        rows.append(
            {
                "request_id": f"r\N{LATIN SMALL LETTER E WITH ACUTE}quest/{row}",
                "arrival_ms": 1000.5 * row,
                "input_tokens": 16 * blocks,
                "output_tokens": numbers.randint(1, 90),
                "session_id": f"s{row % 4}" if row % 3 else None,
                "cancel_ms": 1000.5 * row + 250 if row % 5 == 0 else None,
                "priority": row % 3 - 1 if row % 2 else None,
                "block_hashes": [1, *range(50 * row, 50 * row + blocks - 1)] if row % 4 else None,
            }
        )
    rows[3]["request_id"] = rows[2]["request_id"]
    rows[6]["arrival_ms"] = 1.0
    rows[8]["output_tokens"] = 0
    rows[10]["cancel_ms"] = 5.0
    rows[12]["request_id"] = None
    return rows


def plain_csv():
    """The plain rows as CSV: null is an empty cell, hashes are separated by spaces."""
    rows = plain_rows()
    lines = [";".join(rows[0])]
    for row in rows:
        row["block_hashes"] = " ".join(map(str, row["block_hashes"] or []))
        lines.append(";".join('"' + str("" if v is None else v) + '"' for v in row.values()))
    return ("\n".join(lines) + "\n").encode()


def plain_jsonl():
    """The plain rows as JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in plain_rows()).encode()


def plain_parquet():
    """The plain rows as Parquet."""
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(plain_rows()), sink)
    return sink.getvalue()


def samples():
    """Format name -> bytes of a log that can be imported."""
    return {
        "mooncake": mooncake(),
        "azure": azure(),
        "csv": plain_csv(),
        "jsonl": plain_jsonl(),
        "parquet": plain_parquet(),
    }
