"""Write net.json anew: `python tests/net/write_net.py`, when a mended bug changes what is recorded."""

import json
import tempfile
from pathlib import Path

from net_replays import facts, net_replays, write_net_traces


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_net_traces(folder)
        found = {
            case: facts(replay, folder, folder / "out") for case, replay in net_replays().items()
        }
    lines = [
        f"{json.dumps(f'{case}: {place}')}: {json.dumps(values, sort_keys=True)}"
        for case, places in found.items()
        for place, values in places.items()
    ]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    (Path(__file__).parent / "net.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
