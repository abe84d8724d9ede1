"""A person in the loop: a payment that waits for an approval, for days if need be.

nalar dev examples/approval.py       # and in another terminal:
RUN=$(nalar submit pay --json '{"payee": "Ada", "amount": 1200}')
nalar signal $RUN approval --json '{"approved": true, "by": "Grace"}'
nalar result $RUN

Stop the worker meanwhile, or kill it: the payment waits on, and is made once.
"""

import random
from dataclasses import dataclass

import nalar

#: Up to here nobody is asked.
PETTY = 100
#: How long the person has to answer, and when they are reminded, in seconds.
PATIENCE_S, REMINDER_S = 3 * 86_400.0, 86_400.0


@dataclass
class Approval:
    """What the person answers."""

    approved: bool
    by: str = "nobody"


class Account(nalar.Agent, stateful=True):
    """The account that payments are made from."""

    payments: nalar.ManagedList[str]

    @nalar.method
    def pay(self, payee: str, amount: float, number: int) -> str:
        """Make one payment."""
        line = f"payment {number}: {amount:,.2f} to {payee}"
        self.payments.append(line)
        return line


@nalar.tool
def tell(person: str, what: str) -> None:
    """Send a mail, or whatever reaches a person."""
    print(f"to {person}: {what}")


def new_number() -> int:
    """Return a number for the payment; a step, so that it stays the same."""
    return random.Random().randrange(100_000)  # noqa: S311 -- a number, not a secret


@nalar.workflow
async def pay(payee: str, amount: float) -> str:
    """Pay, once somebody has approved."""
    number = await nalar.step(new_number)
    approval = Approval(approved=True)
    if amount > PETTY:
        run = nalar.context().root
        tell("the boss", f"pay {amount:,.2f} to {payee}? nalar signal {run} approval --json ...")
        answer = nalar.wait_for("approval", Approval, timeout_s=PATIENCE_S)
        await nalar.wait([answer, nalar.sleep(REMINDER_S)], return_when="FIRST_COMPLETED")
        if not answer.done():
            tell("the boss", f"{payee} still waits for {amount:,.2f}")
        try:
            approval = await answer
        except TimeoutError:
            return f"payment {number} was never answered"
    if not approval.approved:
        return f"payment {number} was refused by {approval.by}"
    return await Account.options(session="main").pay(payee, amount, number)


if __name__ == "__main__":
    payment = pay("Ada", 1200)
    payment.signal("approval", {"approved": True, "by": "Grace"})
    print(payment.result())
