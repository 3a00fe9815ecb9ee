"""Oracles that say what they saw as numbers of run.json; each has its reader in `replay.verdict`."""

from __future__ import annotations

import dataclasses
from typing import Any

from replay.pair.deployment import Deployment
from replay.watch.base import Observer


class LedgerOracle(Observer):
    """Pages handled as no correct engine would, counted by the ledgers of all pools."""

    name = "ledger"

    def __init__(self) -> None:
        self._pair: Deployment

    def begin(self, pair: Deployment) -> None:
        """Know whose ledgers to ask."""
        self._pair = pair

    def found(self) -> dict[str, Any]:
        """Pages of each kind of violation. Waits for the device."""
        return dataclasses.asdict(self._pair.ledger_violations())


def counting_oracles() -> tuple[Observer, ...]:
    """All of them, new ones of each replay."""
    return (LedgerOracle(),)
