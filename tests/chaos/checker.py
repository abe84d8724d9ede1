"""Whether money was lost or made: the raw ledger against what callers were told.

Imports nothing of nalar. `python -m tests.chaos.checker URL FOLDER` reads the stream of a running
server, the callers' logs and what a witness heard from FOLDER, and prints what is wrong as JSON.
"""

import asyncio
import hashlib
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.chaos import raw
from tests.chaos.orders import ACCOUNTS, Order, orders, said
from tests.chaos.raw import Ledger, Record
from tests.chaos.witness import heard

START: Final = 100
AGENT: Final = "Account"
WORKFLOW: Final = "transfer"
HEARD: Final = "heard.log"
ORDERS: Final = "orders.json"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong."""

    #: lost, left (had not ended in time), twice, fence, chain, money, effect, answer, overwritten,
    #: snapshot, status, copy (differs from what was archived of it), strange
    kind: str
    what: str


@dataclass
class Told:
    """What the callers' logs say of one order."""

    order: Order
    asked: bool = False
    cut: bool = False
    #: Whether money moved, once its caller knew.
    applied: bool | None = None
    #: Futures that the server had stored.
    accepted: list[str] = field(default_factory=list[str])
    #: Results by future.
    answers: dict[str, Any] = field(default_factory=dict[str, Any])


def told(folder: Path) -> dict[str, Told]:
    """Read the orders and the logs of all callers."""
    plan = json.loads((folder / ORDERS).read_text())
    found: dict[str, Told] = {}
    for caller in range(plan["callers"]):
        for order in orders(plan["seed"], caller, plan["count"]):
            found[order.name] = Told(order)
        for line in said(folder / f"caller-{caller}.log"):
            _take(found[line["name"]], line)
    return found


def _take(one: Told, line: Mapping[str, Any]) -> None:
    match line["what"]:
        case "asked":
            one.asked = True
        case "cut":
            one.cut = True
        case "accepted":
            one.accepted.append(line["future"])
        case "answered":
            one.answers[line["future"]] = line["result"]
        case _:
            one.applied = line["applied"]


class Account:
    """One account as its log has it, folded by the protocol and judged by the bank's rules."""

    def __init__(self, name: str, snapshot: Mapping[str, Any] | None) -> None:
        self.name = name
        self.state: dict[str, Any] = {}
        #: Sequence of the newest record.
        self.newest = 0
        self.snapshot = snapshot
        #: What the snapshot must hold, once its place in the log was passed.
        self.right_snapshot = "{}" if snapshot is not None and not snapshot["upto"] else ""

    @property
    def balance(self) -> int:
        return self.state.get("balance", START)

    @property
    def journal(self) -> list[str]:
        return self.state.get("journal", [])

    def take(self, record: Record) -> Iterator[Finding]:
        """Judge and take in the next record of the log."""
        if record.fence != record.right_fence or record.expected is None:
            yield Finding("fence", f"{record.where}: compared over {record.fence}")
        if record.expected != self.newest:
            before = f"stored after {record.expected}, but it follows {self.newest}"
            yield Finding("chain", f"{record.where}: {before}")
        balance, chain, entries = self.balance, self.state.get("chain", ""), len(self.journal)
        try:
            fold(self.state, record.body.get("delta", {}))
        except (LookupError, TypeError, ValueError) as error:
            yield Finding("chain", f"{record.where}: its delta does not fit: {error!r}")
        self.newest = record.sequence
        if self.snapshot is not None and self.snapshot["upto"] == record.sequence:
            self.right_snapshot = canonical(self.state)
        yield from self._judge(record, balance, chain, entries)

    def _judge(self, record: Record, balance: int, chain: str, entries: int) -> Iterator[Finding]:
        """Do what the method should have done, and compare."""
        if record.body["status"] != "succeeded":
            yield Finding("status", f"{record.where}: {record.body['status']}")
            return
        arguments, result = record.body["arguments"], record.body["result"]
        amount = arguments["amount"]
        debit = record.body["method"] == "debit"
        applied = not debit or balance >= amount
        if applied:
            balance += -amount if debit else amount
            entry = arguments["transfer"] + ("-" if debit else "+")
            chain = hashlib.sha256(f"{chain}|{entry}".encode()).hexdigest()
            entries += 1
        want = {"applied": applied, "balance": balance, "entries": entries, "chain": chain}
        if result != want:
            yield Finding("chain", f"{record.where}: says {result}, should say {want}")
        have = {**want, "balance": self.balance, "entries": len(self.journal),
                "chain": self.state.get("chain", "")}  # fmt: skip
        if have != want:
            yield Finding("chain", f"{record.where}: its delta made {have}, not {want}")


def fold(state: dict[str, Any], delta: Mapping[str, list[list[Any]]]) -> None:
    """Change `state` by a delta, as the protocol says; raises where it does not fit."""
    for name, operations in delta.items():
        for operation in operations:
            _apply(state, name, operation)


def _apply(state: dict[str, Any], name: str, operation: list[Any]) -> None:
    match operation:
        case ["splice", at, remove, items]:
            there = state.setdefault(name, [])
            if at + remove > len(there):
                raise ValueError(f"{operation} is beyond the end")
            there[at : at + remove] = items
        case ["put", key, value]:
            state.setdefault(name, {})[key] = value
        case ["drop", key]:
            del state[name][key]
        case ["set", value]:
            state[name] = value
        case ["unset"]:
            del state[name]
        case _:
            raise ValueError(f"{operation} is no operation")


def canonical(state: object) -> str:
    """Return what is equal for equal states only."""
    return json.dumps(state, sort_keys=True)


class Check:
    """All checks over one ledger."""

    def __init__(
        self, ledger: Ledger, callers: Mapping[str, Told], announced: Mapping[int, str]
    ) -> None:
        self._ledger = ledger
        self._told = callers
        self._announced = announced
        self._accounts = {
            name: Account(name, ledger.snapshots.get((AGENT, name))) for name in ACCOUNTS
        }
        self._records, self._differing = ledger.in_order()
        self._by_future: dict[str, list[Record]] = defaultdict(list)
        for record in self._records:
            self._by_future[record.future].append(record)

    def findings(self) -> Iterator[Finding]:
        """Return everything that is wrong."""
        yield from (Finding("strange", what) for what in self._ledger.strange)
        yield from (Finding("copy", record.where) for record in self._differing)
        yield from self._logs()
        yield from self._twice()
        yield from self._answers()
        yield from self._effects()
        yield from self._money()
        yield from self._overwritten()
        yield from self._snapshots()

    def _logs(self) -> Iterator[Finding]:
        for record in self._records:
            if record.effect == "s":
                if record.agent == AGENT and record.session in self._accounts:
                    yield from self._accounts[record.session].take(record)
                else:
                    yield Finding("strange", f"{record.where}: no such account")
                continue
            if record.fence != record.right_fence or record.expected != 0:
                yield Finding("fence", f"{record.where}: {record.fence} at {record.expected}")
            if record.body["status"] != "succeeded":
                yield Finding("status", f"{record.where}: {record.body['status']}")

    def _twice(self) -> Iterator[Finding]:
        for future, records in self._by_future.items():
            if len(records) > 1:
                yield Finding("twice", f"{future} has {len(records)} records")
        children = Counter(
            (record.parent, record.body["method"])
            for record in self._records
            if record.agent == AGENT and record.parent in self._by_future
        )
        for (parent, method), times in children.items():
            if times > 1:
                yield Finding("twice", f"{parent} made {method} {times} times")

    def _answers(self) -> Iterator[Finding]:
        for one in self._told.values():
            for future in one.accepted:
                if future not in self._by_future:
                    yield Finding("lost", f"{one.order.name}: {future} was accepted")
            for future, result in one.answers.items():
                kept = [record.body.get("result") for record in self._by_future.get(future, [])]
                if kept != [result]:
                    said = f"{future} was answered {result}, on record is {kept}"
                    yield Finding("answer", f"{one.order.name}: {said}")

    def _effects(self) -> Iterator[Finding]:
        """Each transfer took effect as often as it was to: once, or not at all."""
        entered = Counter(
            (account.name, entry)
            for account in self._accounts.values()
            for entry in account.journal
        )
        for one in self._told.values():
            out = entered.pop((one.order.source, f"{one.order.name}-"), 0)
            into = entered.pop((one.order.target, f"{one.order.name}+"), 0)
            if not one.asked:
                right = out == into == 0
            elif one.cut:
                right = into <= out <= 1 and (one.order.way == "plain" or into == out)
            else:
                right = one.applied is not None and out == into == int(one.applied)
            if not right:
                told = {True: "applied", False: "refused", None: "not ended"}[one.applied]
                yield Finding("effect", f"{one.order}: taken {out}, given {into} times; {told}")
        for (account, entry), times in entered.items():
            yield Finding("effect", f"{account}: nobody ordered {entry} ({times} times)")

    def _money(self) -> Iterator[Finding]:
        total = sum(account.balance for account in self._accounts.values())
        journals = {name: set(account.journal) for name, account in self._accounts.items()}
        between = sum(
            one.order.amount
            for one in self._told.values()
            if one.cut
            and f"{one.order.name}-" in journals[one.order.source]
            and f"{one.order.name}+" not in journals[one.order.target]
        )
        if total + between != START * len(self._accounts):
            yield Finding("money", f"{total} in accounts and {between} under way where cut")
        for account in self._accounts.values():
            if account.balance < 0:
                yield Finding("money", f"{account.name} holds {account.balance}")

    def _overwritten(self) -> Iterator[Finding]:
        keys = {record.sequence: record.own_key for record in self._records}
        for sequence, key in self._announced.items():
            if not keys.get(sequence, "").endswith(key):
                yield Finding("overwritten", f"{key} was stored at {sequence} and is gone")

    def _snapshots(self) -> Iterator[Finding]:
        for agent, name in self._ledger.snapshots:
            if agent != AGENT or name not in self._accounts:
                yield Finding("strange", f"a snapshot of {agent} {name}")
        for account in self._accounts.values():
            kept = account.snapshot
            if kept is not None and account.right_snapshot != canonical(kept["state"]):
                at = kept["upto"]
                yield Finding("snapshot", f"{account.name} is not what its log says at {at}")


async def check(url: str, folder: Path) -> list[Finding]:
    """Return what is wrong with the ledger of a running server."""
    client = await raw.connected(url)
    try:
        ledger = await raw.read(client)
    finally:
        await client.close()
    return list(Check(ledger, told(folder), heard(folder / HEARD)).findings())


def main() -> None:
    """Print what is wrong, and fail if anything is."""
    found = asyncio.run(check(sys.argv[1], Path(sys.argv[2])))
    print(json.dumps([[one.kind, one.what] for one in found]))  # noqa: T201
    raise SystemExit(1 if found else 0)


if __name__ == "__main__":
    main()
