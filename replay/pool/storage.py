"""The KV bytes themselves: what a transfer copies and what decode reads back.

A page is a row of int64 words, `[ payload ... payload | tag ]`:
  - payload says whose content it is: the identity of the prompt block and the position in it, the
    same for every request that shares the prefix. Prefill writes it; a transfer copies it.
  - tag says who wrote it last: (request, epoch). The writer of a transfer sets it on arrival.

So a page that holds the right content of the wrong request, or the right request's older attempt,
is told apart from a good one although every counter balances.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

#: Fewest words of a page: one of payload and the tag.
MIN_WORDS_PER_PAGE = 2

_TAG_EPOCH_BITS = 8
_POSITION_MIXER = np.uint64(0x9E3779B97F4A7C15)


def write_tag(ordinal: int, epoch: int) -> int:
    """The tag of one request's attempt; epochs wrap after 256 attempts."""
    return (ordinal << _TAG_EPOCH_BITS) | (epoch & ((1 << _TAG_EPOCH_BITS) - 1))


def payload_at(
    identity: npt.NDArray[np.uint64], positions: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Payload word of pages of some content identity at some positions of a request, int64 [n]."""
    return (identity ^ (positions.astype(np.uint64) * _POSITION_MIXER)).view(np.int64)


def request_payload(
    block_hashes: npt.NDArray[np.uint64] | None,
    block_size: int,
    page_size: int,
    prompt_pages: int,
    total_pages: int,
    ordinal: int,
) -> npt.NDArray[np.int64]:
    """Payload word of every page a request will ever have, int64 [total_pages].

    A prompt page that ends inside a block of known identity carries that identity, the same for all
    requests that share the prefix. Generated pages, and prompts without hashes, carry the request's
    own number: nothing is shared.
    """
    identity = np.full(total_pages, ordinal, dtype=np.uint64)
    if block_hashes is not None and len(block_hashes) > 0:
        last_token = np.arange(1, prompt_pages + 1, dtype=np.int64) * page_size - 1
        block = np.minimum(last_token // block_size, len(block_hashes) - 1)
        identity[:prompt_pages] = block_hashes[block]
    return payload_at(identity, np.arange(total_pages, dtype=np.int64))


class KvStorage:
    """Page contents, int64 [total_pages + 1, words_per_page] on the pool's device.

    The memory is not touched before a page is written, so a pool far larger than what a trace uses
    costs nothing on a CPU; on CUDA it is allocated whole.
    """

    def __init__(self, total_pages: int, words_per_page: int, device: torch.device) -> None:
        self._words = torch.empty(
            (total_pages + 1, words_per_page), dtype=torch.int64, device=device
        )

    def write(self, pages: torch.Tensor, payload: torch.Tensor, tag: int | torch.Tensor) -> None:
        """Write payload (int64 [n]) into pages (int64 [n]) as the request and epoch of `tag`.

        The tag is one number for all pages, or int64 [n].
        """
        rows = payload.unsqueeze(1).repeat(1, self._words.shape[1])
        rows[:, -1] = tag
        self._words[pages] = rows

    def receive(
        self, pages: torch.Tensor, source: KvStorage, source_pages: torch.Tensor, tag: int
    ) -> None:
        """Copy page contents from another pool, device to device, and tag them as arrived."""
        rows = source._words[source_pages]
        rows[:, -1] = tag
        self._words[pages] = rows

    def count_mismatches(
        self, pages: torch.Tensor, payload: torch.Tensor, tag: int
    ) -> torch.Tensor:
        """How many pages do not hold this payload under this tag: a scalar left on the device."""
        rows = self._words[pages]
        wrong = (rows[:, 0] != payload) | (rows[:, -1] != tag)
        return torch.count_nonzero(wrong)
