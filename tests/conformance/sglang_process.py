"""The other end of `sglang_driver.py`: a real SGLang allocator that tests can ask."""

import json
import os
import subprocess
import sys
from pathlib import Path

from waiting import HANGS_S
from wheels import unpacked_wheel

#: Interprets 0.4.6's kernels on a CPU. 0.5.23 has code of its own for a CPU and only imports it.
_TRITON = "triton==3.3.1"
#: Compilers and profilers for GPUs: two fifths of the wheel, and no use to the interpreter.
_TRITON_SKIP = (
    "triton/backends/nvidia/bin/",
    "triton/backends/nvidia/lib/cupti/",
    "triton/instrumentation/",
    "triton/_C/libproton.so",
)


class RealSglang:
    """A process that holds one SGLang version."""

    def __init__(self, version: str) -> None:
        wheel = unpacked_wheel(f"sglang=={version}")
        triton = unpacked_wheel(_TRITON, _TRITON_SKIP)
        driver = Path(__file__).with_name("sglang_driver.py")
        self._process = subprocess.Popen(
            [sys.executable, str(driver), version, str(wheel), str(triton)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert self._answer() == {"ready": version}

    def drive(self, config: dict, operations: list) -> list[dict]:
        """What a new allocator returned and listed after each operation."""
        question = json.dumps({"config": config, "operations": operations})
        self._process.stdin.write(question + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        assert "error" not in answer, answer["error"]
        return answer

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=HANGS_S)
        self._process.stdout.close()

    def _answer(self):
        line = self._process.stdout.readline()
        assert line, f"the SGLang process ended with {self._process.wait()}; see its stderr"
        return json.loads(line)
