"""Runs the allocators of a real SGLang wheel; a process of its own, spoken to in JSON lines.

    python sglang_driver.py VERSION WHEEL_FOLDER TRITON_FOLDER

The allocators, their base class and their Triton kernels are the wheel's own files, executed as
they are. There is no GPU: 0.4.6's kernels are run by Triton's interpreter, and 0.5.23 is told that
its platform has no Triton, so it takes its own paths for a CPU. Replaced are modules that the
allocators import and do not use (`_STUBS`), that answer about the platform, and `sglang.srt.utils`,
into which the functions that the allocators call are put from the wheel's source.
"""

import ast
import importlib
import json
import os
import sys
import traceback
import types
import typing
from functools import lru_cache
from pathlib import Path

import torch
from index_runs import from_runs, to_runs

_PACKAGES = (
    "sglang",
    "sglang.kernels",
    "sglang.kernels.ops",
    "sglang.kernels.ops.memory",
    "sglang.srt",
    "sglang.srt.mem_cache",
)
_STUBS = {
    "psutil": (),
    "sglang.srt.layers.radix_attention": ("RadixAttention",),
    "sglang.srt.torch_memory_saver_adapter": ("TorchMemorySaverAdapter",),
}
_UTILS = ("get_num_new_pages", "next_power_of_2")


def import_allocators(version: str, wheel: Path) -> tuple[type, type]:
    """The token and the paged allocator class of the wheel."""
    for name in _PACKAGES:
        # A package without its `__init__`, which would import the whole engine.
        package = types.ModuleType(name)
        package.__path__ = [str(wheel.joinpath(*name.split(".")))]
        sys.modules[name] = package
    for name, contents in _STUBS.items():
        stub = types.ModuleType(name)
        for attribute in contents:
            setattr(stub, attribute, object)
        sys.modules[name] = stub
    sys.modules["sglang.srt.utils"] = utils_of(wheel)
    platforms = types.ModuleType("sglang.srt.platforms")
    platforms.current_platform = types.SimpleNamespace(
        capabilities=types.SimpleNamespace(supports_triton=False)
    )
    sys.modules["sglang.srt.platforms"] = platforms
    mem_cache = "sglang.srt.mem_cache"
    if version.startswith("0.4"):
        token = importlib.import_module(f"{mem_cache}.memory_pool")
        paged = importlib.import_module(f"{mem_cache}.paged_allocator")
    else:
        token = paged = importlib.import_module(f"{mem_cache}.allocator")
    return token.TokenToKVPoolAllocator, paged.PagedTokenToKVPoolAllocator


def utils_of(wheel: Path) -> types.ModuleType:
    """`sglang.srt.utils` with the wheel's own functions; what only a GPU needs does nothing."""
    file = wheel / "sglang" / "srt" / "utils.py"
    file = file if file.is_file() else wheel / "sglang" / "srt" / "utils" / "common.py"
    wanted = [
        node
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name in _UTILS
    ]
    utils = types.ModuleType("sglang.srt.utils")
    vars(utils).update(vars(typing), torch=torch, lru_cache=lru_cache)
    exec(compile(ast.Module(wanted, []), str(file), "exec"), vars(utils))
    utils.is_hip = lambda: False
    utils.get_bool_env_var = lambda name: False
    utils.debug_timing = lambda function: function
    utils.get_compiler_backend = lambda: "eager"
    return utils


class Allocator:
    """One real allocator, driven by operations in JSON."""

    def __init__(self, version: str, classes: tuple[type, type], config: dict) -> None:
        token_class, paged_class = classes
        self._is_old = version.startswith("0.4")
        sizes = {"size": config["tokens"], "dtype": torch.float16, "device": "cpu", "kvcache": None}
        if not self._is_old:
            sizes["need_sort"] = config["need_sort"]
        if config["page_size"] == 1:
            self._real = token_class(**sizes)
        else:
            self._real = paged_class(page_size=config["page_size"], **sizes)

    def apply(self, operation: list):
        """Run one operation and say what it returned and what both lists are now."""
        name, *arguments = operation
        returned = getattr(self, name)(*arguments)
        return {
            "returned": None if returned is None else to_runs(returned),
            "free": to_runs(self._listed()),
            "staged": to_runs(self._staged()),
            "available": self._real.available_size(),
        }

    def alloc(self, tokens):
        return self._real.alloc(tokens)

    def alloc_extend(self, prefix_lens, seq_lens, last_loc):
        prefix, seq, last = tensor(prefix_lens), tensor(seq_lens), tensor(last_loc)
        tokens = int((seq - prefix).sum())
        if not self._is_old:
            return self._real.alloc_extend(prefix, prefix, seq, seq, last, tokens)
        return self._padded(prefix, seq, lambda: self._real.alloc_extend(prefix, seq, last, tokens))

    def alloc_decode(self, seq_lens, last_loc):
        seq, last = tensor(seq_lens), tensor(last_loc)
        if not self._is_old:
            return self._real.alloc_decode(seq, seq, last)
        return self._padded(seq - 1, seq, lambda: self._real.alloc_decode(seq, last))

    def free(self, runs):
        self._real.free(tensor(from_runs(runs)))

    def free_group_begin(self):
        self._real.free_group_begin()

    def free_group_end(self):
        self._real.free_group_end()

    def _padded(self, prefix, seq, call):
        """Call with memory behind the free list: 0.4.6's kernels read on past its end.

        They notice afterwards that it was too short. An empty list they read through a null
        pointer, so that case is answered here and not by the wheel.
        """
        pages, size = self._real.free_pages, self._real.page_size
        needed = int(((seq + size - 1) // size - (prefix + size - 1) // size).sum())
        if needed and not len(pages):
            return None
        padding = torch.zeros(needed, dtype=pages.dtype)
        self._real.free_pages = torch.cat((pages, padding))[: len(pages)]
        return call()

    def _listed(self):
        is_old_token = self._is_old and hasattr(self._real, "free_slots")
        return self._real.free_slots if is_old_token else self._real.free_pages

    def _staged(self):
        if hasattr(self._real, "staged_pages"):
            return [page for piece in self._real.staged_pages for page in piece.tolist()]
        staged = getattr(self._real, "release_pages", None)
        return [] if staged is None else staged


def tensor(values):
    return torch.tensor(values, dtype=torch.int64)


def main(version: str, wheel: str, triton: str) -> None:
    sys.path.insert(0, triton)
    os.environ["TRITON_INTERPRET"] = "1"
    classes = import_allocators(version, Path(wheel))
    # Whatever the wheel prints must not mix with the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    print(json.dumps({"ready": version}), file=answers, flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        try:
            allocator = Allocator(version, classes, question["config"])
            answer = [allocator.apply(operation) for operation in question["operations"]]
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
