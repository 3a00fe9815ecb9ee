"""The completions that the TP ranks of one decode DP rank have received for one transfer.

Every decode TP rank waits for a completion from each of its senders, and the scheduler takes the
minimum over the ranks: the transfer is done when the last rank is done. The mistakes of real
engines are fields of the profile.
"""

from __future__ import annotations

from replay.profiles.parties import TransferParties
from replay.profiles.profile import EngineProfile


class ReceiptRules:
    """The rules for counting completions under one profile, shared by all receipts."""

    __slots__ = ("_receivers", "any_rank", "by_number", "expected")

    def __init__(self, profile: EngineProfile, parties: TransferParties) -> None:
        expected = set(parties.completions)
        self._receivers = sorted({receiver for _, receiver in expected})
        if profile.expected_senders == "all":
            # Dummies only take part in the handshake and never send a completion.
            expected |= {(sender, self._receivers[0]) for sender in parties.dummy_senders}
        self.expected = frozenset(expected)
        self.by_number = profile.counts_completions == "by-number"
        self.any_rank = profile.done_when == "any-rank"

    def ranks_done(self, missing: set[tuple[int, int]]) -> int:
        """Number of TP ranks that have all their completions."""
        return len(self._receivers) - len({receiver for _, receiver in missing})

    @property
    def ranks(self) -> int:
        """Number of TP ranks that must have their completions."""
        return len(self._receivers)


class Receipt:
    """The completions that one transfer still needs."""

    __slots__ = ("_left", "_missing", "_rules", "failed_ranks")

    def __init__(self, rules: ReceiptRules) -> None:
        self._rules = rules
        self._missing = set(rules.expected)
        self._left = len(rules.expected)
        #: Decode TP ranks that received a failure.
        self.failed_ranks: set[int] = set()

    def take(self, sender: int, receiver: int) -> bool:
        """Count one completion; return False if it changes nothing."""
        if self._rules.by_number:
            counts = self._left > 0
        else:
            counts = (sender, receiver) in self._missing
        if counts:
            self._missing.discard((sender, receiver))
            self._left -= 1
        return counts

    def lacks(self, sender: int, receiver: int) -> bool:
        """Whether a completion of these TP ranks would change anything."""
        if self._rules.by_number:
            return self._left > 0
        return (sender, receiver) in self._missing

    def has_success(self, receiver: int) -> bool:
        """Whether a completion of this decode TP rank has counted."""
        expected = {pair for pair in self._rules.expected if pair[1] == receiver}
        return bool(expected - self._missing)

    @property
    def is_done(self) -> bool:
        """Whether the scheduler considers the transfer done."""
        rules = self._rules
        return self._left <= 0 or (rules.any_rank and rules.ranks_done(self._missing) > 0)

    @property
    def is_split(self) -> bool:
        """Whether some TP ranks are done and others are not."""
        return 0 < self._rules.ranks_done(self._missing) < self._rules.ranks
