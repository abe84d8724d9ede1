"""What the fault tests serve: one workload whose every effect can be counted.

Each piece of code that starts writes its name into a log, so that a test knows what was run how
often; the session keeps what took effect.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nalar


def note(log: str, name: str, amount: int = 0) -> None:
    """Say that `name` is run, whichever process it is in and whatever becomes of that."""
    with Path(log).open("a", encoding="utf-8") as file:
        file.write(f"{name} {amount} {os.getpid()}\n")


def _fee(log: str) -> int:
    note(log, "vet")
    return 1


@dataclass(frozen=True)
class Desk:
    """The workload under names of its own, so that several cases run beside each other."""

    #: A workflow: vets an amount, then adds it to an account.
    deposit: Any
    #: A tool.
    vet: Any
    #: A stateful agent that remembers every amount.
    account: Any
    #: A workflow that takes a step, sleeps, waits for a signal, then adds to an account.
    patient: Any
    #: A workflow that vets many amounts, one after the other.
    audit: Any
    #: Of the workflow, the tool and the agent, then of the other workflows.
    names: tuple[str, ...]

    def fault(self, place: str) -> str:
        """Return the fault that `place` is here: `{deposit}`, `{vet}` or `{account}` have names."""
        deposit, vet, account, *_ = self.names
        return place.format(deposit=deposit, vet=vet, account=account)


def _desk(number: int) -> Desk:
    names = (
        f"faults_deposit_{number}",
        f"faults_vet_{number}",
        f"FaultsAccount{number}",
        f"faults_patient_{number}",
        f"faults_audit_{number}",
    )

    @nalar.tool(name=names[1])
    async def vet(log: str, amount: int) -> int:
        note(log, "vet", amount)
        return amount

    class Account(nalar.Agent, stateful=True, name=names[2]):
        entries: nalar.ManagedList[int]

        @nalar.method
        async def add(self, log: str, amount: int) -> list[int]:
            note(log, "add", amount)
            self.entries.append(amount)
            return list(self.entries)

        @nalar.method(read_only=True)
        async def look(self) -> list[int]:
            return list(self.entries)

    @nalar.workflow(name=names[0])
    async def deposit(log: str, account: str, amount: int) -> list[int]:
        note(log, "deposit", amount)
        vetted = await vet(log, amount)
        return await Account.options(session=account).add(log, vetted)

    @nalar.workflow(name=names[3])
    async def patient(log: str, account: str) -> list[int]:
        note(log, "deposit")
        fee = await nalar.step(_fee, log)
        await nalar.sleep(0.2)
        amount = await nalar.wait_for("amount", int)
        return await Account.options(session=account).add(log, amount - fee)

    @nalar.workflow(name=names[4])
    async def audit(log: str, count: int) -> list[int]:
        note(log, "deposit")
        return [await vet(log, number) for number in range(count)]

    return Desk(deposit, vet, Account, patient, audit, names)


#: As many cases run at a time.
DESKS = [_desk(number) for number in range(6)]
