"""What the ledger test serves: accounts, each a session, and the workflow that moves money.

Also an ordinary module for `nalar worker`. The checker knows these names and rules by heart and
imports nothing from here.
"""

import asyncio
import hashlib
import os

from pydantic import BaseModel

import nalar
from tests.chaos import counted

#: What every account holds at first.
START = 100
#: How long an entry takes, in seconds: money is read before and written after.
WORK_S = float(os.environ.get("CHAOS_WORK_S", "0.05"))

counted.install()


class Receipt(BaseModel):
    """What a debit or credit did: the account after it, or that there was too little money."""

    applied: bool
    balance: int
    entries: int
    chain: str


class Account(nalar.Agent, stateful=True):
    """An account: its money, what was entered, and a hash over all of it in its order."""

    balance: nalar.ManagedValue[int]
    journal: nalar.ManagedList[str]
    chain: nalar.ManagedValue[str]

    @nalar.method
    async def debit(self, transfer: str, amount: int) -> Receipt:
        """Take money out, if there is enough."""
        balance = self._balance()
        await asyncio.sleep(WORK_S)
        if balance < amount:
            return self._receipt(balance, applied=False)
        return self._enter(f"{transfer}-", balance - amount)

    @nalar.method
    async def credit(self, transfer: str, amount: int) -> Receipt:
        """Put money in."""
        balance = self._balance()
        await asyncio.sleep(WORK_S)
        return self._enter(f"{transfer}+", balance + amount)

    def _balance(self) -> int:
        return self.balance.value if self.balance.is_set else START

    def _enter(self, entry: str, balance: int) -> Receipt:
        self.balance.set(balance)
        self.journal.append(entry)
        before = self.chain.value if self.chain.is_set else ""
        self.chain.set(hashlib.sha256(f"{before}|{entry}".encode()).hexdigest())
        return self._receipt(balance, applied=True)

    def _receipt(self, balance: int, *, applied: bool) -> Receipt:
        chain = self.chain.value if self.chain.is_set else ""
        return Receipt(applied=applied, balance=balance, entries=len(self.journal), chain=chain)


@nalar.workflow
async def transfer(name: str, source: str, target: str, amount: int) -> bool:
    """Move money; False when there is too little."""
    paid = await Account.options(session=source).debit(name, amount)
    if paid.applied:
        await Account.options(session=target).credit(name, amount)
    return paid.applied
