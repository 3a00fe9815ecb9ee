"""What a ledger calls owners: plain numbers, for readers without torch."""

from __future__ import annotations

#: Owner codes that are not requests. Request number n owns pages under the code n + FIRST_OWNER.
FREE = 0
CACHE = 1
FIRST_OWNER = 2
