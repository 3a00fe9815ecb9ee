"""The ledger oracle: how many pages were handled as in no correct engine, counted by the pools' ledgers."""

from __future__ import annotations

import dataclasses
from typing import Any

from replay.pair.deployment import Deployment
from replay.watch.base import Observer


class LedgerOracle(Observer):
    """Asks the ledgers of all pools when the replay is over."""

    name = "ledger"

    def __init__(self) -> None:
        self._pair: Deployment

    def begin(self, pair: Deployment) -> None:
        """Know whose ledgers to ask."""
        self._pair = pair

    def found(self) -> dict[str, Any]:
        """Pages of each kind of violation. Waits for the device."""
        return dataclasses.asdict(self._pair.ledger_violations())
