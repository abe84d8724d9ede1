"""A cafe in one file: a tool, an agent that remembers, and a workflow. No model, no server needed.

python examples/quickstart.py
nalar run examples/quickstart.py:breakfast --json '{"guests": ["Ada", "Grace", "Ada"]}'
nalar dev examples/quickstart.py     # and in another terminal, as often as you like:
nalar call Barista.serve --json '["Ada", "mocha"]' --session corner
"""

import nalar

MENU = ["flat white", "mocha", "chai", "cortado", "ristretto"]


@nalar.tool
def recommend(guest: str) -> str:
    """Read the guest's mind."""
    return MENU[sum(map(ord, guest)) % len(MENU)]


class Barista(nalar.Agent, stateful=True):
    """Knows every guest of its session by name, whichever process it runs in."""

    visits: nalar.ManagedDict[str, int]

    @nalar.method
    def serve(self, guest: str, drink: str) -> str:
        """Serve one drink."""
        visit = self.visits[guest] = self.visits.get(guest, 0) + 1
        welcome = "pleased to meet you" if visit == 1 else f"visit {visit}, good to see you again"
        return f"One {drink} for {guest}: {welcome}!"


@nalar.workflow
async def breakfast(guests: list[str]) -> list[str]:
    """Serve everybody what they like best."""
    cups: list[nalar.Future[str]] = []
    for guest in guests:
        drink = recommend(guest)  # A future, at once: all guests are asked at the same time.
        cups.append(Barista.serve(guest, drink))  # It may be passed on before its value is known.
    return await nalar.gather(*cups)


if __name__ == "__main__":
    for line in breakfast(["Ada", "Grace", "Ada"]).result():
        print(line)
