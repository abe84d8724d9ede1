"""The checker is worth what it would notice: forged ledgers, each wrong in one way."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.checker import Account, Check, Told, fold
from tests.chaos.orders import Order
from tests.chaos.raw import Entry, Ledger, NoRecord, decode

ROOT = Path(__file__).parents[2]
ALICE, BOB = "account-0", "account-1"
ORDER = Order("c0n0", "run", ALICE, BOB, 30)
#: Refuses to find anything of nalar, then runs the checker without arguments.
APART = """
import runpy, sys
class Nothing:
    def find_spec(self, name, *_):
        if name.split(".")[0] in ("nalar", "nalar_cli"):
            raise ImportError(f"the checker imports {name}")
sys.meta_path.insert(0, Nothing())
runpy.run_module("tests.chaos.checker", run_name="checker")
print("apart", *sorted({name.split(".")[0] for name in sys.modules}))
"""


def test_the_checker_imports_nothing_of_nalar() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", APART], cwd=ROOT, capture_output=True, text=True, check=True
    )
    apart, *modules = ran.stdout.split()
    assert apart == "apart"
    assert "nats" in modules
    assert not {"nalar", "nalar_cli"} & set(modules)


class Forger:
    """Writes what a run of one transfer leaves behind."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.sequence = 0
        self.newest = {ALICE: 0, BOB: 0}
        self.told = Told(ORDER, asked=True, applied=True, accepted=["f0"], answers={"f0": True})
        self.heard: dict[int, str] = {}

    def add(self, key: str, body: dict[str, Any], expected: int | None, fence: str) -> None:
        self.sequence += 1
        headers = {"Nats-Expected-Last-Subject-Sequence-Subject": fence} if fence else {}
        if expected is not None:
            headers["Nats-Expected-Last-Subject-Sequence"] = str(expected)
        body = {"protocol": 1, "status": "succeeded", **body}
        self.ledger.add(Entry(self.sequence, key, headers, json.dumps(body).encode()))
        self.heard[self.sequence] = key

    def enter(
        self, method: str, account: str, future: str, before: Account, **wrong: Any
    ) -> Account:
        """Add one honest debit or credit, or one that is `wrong`; return the account after it."""
        sign, by = {"debit": ("-", -30), "credit": ("+", 30)}[method]
        entry = f"c0n0{sign}"
        balance = wrong.get("balance", before.balance + by)
        chain = hashlib.sha256(f"{before.state.get('chain', '')}|{entry}".encode())
        delta = {
            "balance": [["set", balance]],
            "journal": [["splice", len(before.journal), 0, [entry]]],
            "chain": [["set", chain.hexdigest()]],
        }
        fold(before.state, delta)
        result = {
            "applied": True,
            "balance": balance,
            "entries": len(before.journal),
            "chain": chain.hexdigest(),
        }
        arguments = {"transfer": "c0n0", "amount": 30}
        body = {"method": method, "arguments": arguments, "result": result, "delta": delta}
        self.add(
            f"call.s.Account.{account}.f0.f0.{future}",
            body | wrong.get("body", {}),
            wrong.get("expected", self.newest[account]),
            wrong.get("fence", f"$KV.nalar.call.s.Account.{account}.>"),
        )
        self.newest[account] = self.sequence
        return before

    def end(self, **wrong: Any) -> None:
        key = "call.r.transfer._.f0.me.f0"
        self.add(
            wrong.get("key", key),
            {"method": "run", "arguments": {}, "result": wrong.get("result", True)},
            wrong.get("expected", 0),
            wrong.get("fence", ""),
        )

    def kinds(self) -> set[str]:
        return {one.kind for one in Check(self.ledger, {"c0n0": self.told}, self.heard).findings()}


def alice() -> Account:
    return Account(ALICE, None)


def honest(forger: Forger) -> None:
    forger.enter("debit", ALICE, "f1", alice())
    forger.enter("credit", BOB, "f2", alice())
    forger.end()


def lost(forger: Forger) -> None:
    forger.enter("debit", ALICE, "f1", alice())
    forger.enter("credit", BOB, "f2", alice())


def half(forger: Forger) -> None:
    forger.enter("debit", ALICE, "f1", alice())
    forger.end()


def twice(forger: Forger) -> None:
    account = forger.enter("debit", ALICE, "f1", alice())
    forger.enter("debit", ALICE, "f3", account)
    forger.enter("credit", BOB, "f2", alice())
    forger.end()


def overwritten(forger: Forger) -> None:
    honest(forger)
    forger.heard[99] = "call.r.transfer._.f0.me.f0"


def unfenced(forger: Forger) -> None:
    forger.enter("debit", ALICE, "f1", alice(), expected=None, fence="")
    forger.enter("credit", BOB, "f2", alice())
    forger.end()


def misspelt(forger: Forger) -> None:
    forger.enter("debit", ALICE, "f1", alice(), fence="$KV.nalar.call.s.Account.account-0.*.*.*")
    forger.enter("credit", BOB, "f2", alice())
    forger.end()


def out_of_line(forger: Forger) -> None:
    forger.enter("debit", ALICE, "f1", alice(), expected=7)
    forger.enter("credit", BOB, "f2", alice())
    forger.end()


def from_nothing(forger: Forger) -> None:
    forger.enter("debit", ALICE, "f1", alice())
    forger.enter("credit", BOB, "f2", alice(), balance=1000)
    forger.end()


def failed(forger: Forger) -> None:
    forger.enter("debit", ALICE, "f1", alice(), body={"status": "failed"})
    forger.enter("credit", BOB, "f2", alice())
    forger.end()


def answered_otherwise(forger: Forger) -> None:
    honest(forger)
    forger.told.answers["f0"] = False


def wrongly_kept(forger: Forger) -> None:
    body = json.dumps({"v": 1, "upto": 1, "ids": {}, "state": {"balance": 70}}).encode()
    forger.ledger.add(Entry(50, f"state.Account.{ALICE}", {}, body))
    honest(forger)


def of_nobody(forger: Forger) -> None:
    honest(forger)
    forger.ledger.add(Entry(50, "call.s.Account.account-0.f0", {}, b"{}"))


def archived(forger: Forger, **wrong: Any) -> None:
    """The one entry of Alice's log has left it."""
    honest(forger)
    [record] = [one for one in forger.ledger.records if one.future == "f1"]
    body = {**record.body, **wrong.get("body", {})}
    headers = {"Nalar-Revision": str(record.sequence), "Nalar-Follows": wrong.get("follows", "0")}
    if not wrong.get("both"):
        forger.ledger.records.remove(record)
    key = record.own_key.removeprefix("$KV.nalar.").replace("call", "archive", 1)
    forger.ledger.add(Entry(60, key, headers, json.dumps(body).encode()))


def archived_and_there(forger: Forger) -> None:
    archived(forger, both=True)


def archived_otherwise(forger: Forger) -> None:
    archived(forger, both=True, body={"worker": "another"})


def archived_out_of_line(forger: Forger) -> None:
    archived(forger, follows="7")


WRONG: list[tuple[Callable[[Forger], None], set[str]]] = [
    (honest, set()),
    (lost, {"lost", "answer"}),
    (half, {"effect", "money"}),
    (twice, {"twice", "effect", "money"}),
    (overwritten, {"overwritten"}),
    (unfenced, {"fence", "chain"}),
    (misspelt, {"fence"}),
    (out_of_line, {"chain"}),
    (from_nothing, {"chain", "money"}),
    (failed, {"status"}),
    (answered_otherwise, {"answer"}),
    (wrongly_kept, {"snapshot"}),
    (of_nobody, {"strange"}),
    (archived, set()),
    (archived_and_there, set()),
    (archived_otherwise, {"copy"}),
    (archived_out_of_line, {"chain"}),
]


@pytest.mark.parametrize(("forge", "kinds"), WRONG, ids=[forge.__name__ for forge, _ in WRONG])
def test_each_wrong_is_called_by_its_name(forge: Callable[[Forger], None], kinds: set[str]) -> None:
    forger = Forger()
    forge(forger)
    assert forger.kinds() == kinds


def test_a_credit_without_its_debit_is_wrong_even_where_the_caller_died() -> None:
    forger = Forger()
    forger.told = Told(ORDER, asked=True, cut=True)
    forger.enter("credit", BOB, "f2", alice())
    assert forger.kinds() == {"effect", "money"}


def test_money_under_way_counts_only_where_the_caller_of_plain_calls_died() -> None:
    forger = Forger()
    plain = Order("c0n0", "plain", ALICE, BOB, 30)
    forger.told = Told(plain, asked=True, cut=True)
    forger.enter("debit", ALICE, "f1", alice())
    assert forger.kinds() == set()


@pytest.mark.parametrize(
    ("key", "body"),
    [
        ("call.r.transfer._.f0.me", b'{"protocol":1,"status":"succeeded"}'),
        ("call.r.transfer.s.f0.me.f0", b'{"protocol":1,"status":"succeeded"}'),
        ("call.r.transfer._.f0.me.f0", b'{"protocol":2,"status":"succeeded"}'),
        ("call.r.transfer._.f0.me.f0", b"[]"),
        ("call.r.transfer._.f0.me.f0", b"{"),
    ],
)
def test_what_is_no_record_is_refused(key: str, body: bytes) -> None:
    with pytest.raises((NoRecord, json.JSONDecodeError)):
        decode(Entry(1, key, {}, body))
