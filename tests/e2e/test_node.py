"""`nalar node` and `nalar scale`: workers come and go, nodes die, and nothing is lost."""

import os
import signal
from collections.abc import Iterator

import pytest

import nalar
from nalar.client.client import SyncClient
from nalar.context import CallOptions
from tests.e2e.commands import Nalar, Started, until

#: Nodes and workers that are missed soon.
SHORT = {"NALAR_SET_LEASE_S": "1.5"}

CRASHING = """
import os, sys
import nalar

if {broken} and "worker" in sys.argv:
    os._exit(3)

@nalar.tool
def fragile() -> str:
    return "whole"
"""


def start_node(served: Nalar, name: str, *words: object) -> Started:
    node = served.start("node", "flows.py", "--name", name, *words, **SHORT)
    node.says(f"node {name} on ")
    return node


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[SyncClient]:
    """A connection to this module's server: commands are slow to ask again and again."""
    with nalar.connect(url) as connected:
        yield connected


def workers(client: SyncClient, agent: str) -> dict[str, int]:
    """The live workers of an agent: name and process."""
    return {it["worker"]: it["pid"] for it in client.workers() if agent in it["agents"]}


def ready(client: SyncClient) -> dict[str, int]:
    """The nodes, and how many workers of each serve."""
    return {it.node: sum(of.ready for of in it.groups.values()) for it in client.nodes()}


def test_scaling_killing_and_draining_under_load_lose_nothing(
    served: Nalar, client: SyncClient
) -> None:
    node = start_node(served, "solo")
    until(lambda: len(workers(client, "Counter")) == 1, "a worker of its own")
    options = [CallOptions(session=f"load-{number}") for number in range(8)]
    futures: list[list[nalar.Future[int]]] = []

    def load() -> None:
        futures.append([client.call("Counter.add", 1, options=it) for it in options])

    load()
    [row] = served.json("scale", "Counter=3", "-o", "json")
    assert (row["was"], row["becomes"], row["note"]) == (1, 3, "")
    until(lambda: len(workers(client, "Counter")) == 3, "three workers")
    load()
    grown = workers(client, "Counter")
    killed, drained = sorted(grown)[:2]
    os.kill(grown[killed], signal.SIGKILL)
    served("drain", drained)
    load()
    until(
        lambda: len(it := workers(client, "Counter")) == 3 and not {killed, drained} & set(it),
        "others, of other names, in the place of the killed and the drained",
    )
    load()
    assert "Counter  3    1" in served("scale", "Counter=1").stdout
    until(lambda: len(workers(client, "Counter")) == 1, "one worker")
    load()
    for count, turn in enumerate(futures, 1):
        assert [future.result(60) for future in turn] == [count] * len(options)
    [row] = served.json("scale", "Counter", "--withdraw", "-o", "json")
    assert (row["was"], row["becomes"]) == (1, 1)
    node.signal(signal.SIGTERM)
    assert node.ends() == 0
    assert served.json("nodes", "ls", "-o", "json") == []


def test_a_dead_nodes_share_goes_to_the_other_and_comes_back(
    served: Nalar, client: SyncClient
) -> None:
    start_node(served, "left")
    doomed = start_node(served, "right")
    served("scale", "Counter=2")
    until(lambda: sorted(ready(client).values()) == [1, 2], "three workers on two nodes")
    assert {name.partition("-")[0] for name in workers(client, "Counter")} == {"left", "right"}
    doomed.signal(signal.SIGKILL)
    until(lambda: ready(client) == {"left": 3}, "its share on the other node")
    again = start_node(served, "right")
    until(lambda: sorted(ready(client).values()) == [1, 2], "its share back")
    done = served("node", "flows.py", "--name", "left", code=2)
    assert "a node named left is alive" in done.stderr
    again.signal(signal.SIGINT)
    assert again.ends() == 0
    until(lambda: ready(client) == {"left": 3}, "its share on the other node once it has left")
    served("scale", "Counter", "--withdraw")


def test_a_module_that_crashes_backs_off_is_named_and_is_mended(
    served: Nalar, client: SyncClient
) -> None:
    module = served.folder / "crashing.py"
    module.write_text(CRASHING.format(broken=True))
    node = served.start("node", "crashing.py", "--name", "patient", **SHORT)
    node.says(r"(?s)worker died .*code=3 again_in=0.5s.*worker died .*code=3 again_in=1.0s")
    [group] = next(it for it in client.nodes() if it.node == "patient").groups.values()
    assert (group.ending, group.ready) == ("code=3", 0)
    assert group.failures >= 2
    assert "crashing: code=3, " in served("nodes", "ls").stdout
    found = served.json("doctor", "-o", "json", code=1)
    assert any(
        it["state"] == "wrong" and "cannot keep workers of crashing alive: code=3" in it["what"]
        for it in found
    )
    module.write_text(CRASHING.format(broken=False))
    until(lambda: workers(client, "fragile"), "a worker of the mended code")
    assert served.json("call", "fragile") == "whole"
    node.signal(signal.SIGTERM)
    assert node.ends() == 0


def test_what_cannot_be_obeyed_is_told(served: Nalar, client: SyncClient) -> None:
    start_node(served, "small", "--max-workers", 3)
    until(lambda: workers(client, "shout"), "a worker")
    until(lambda: set(ready(client)) == {"small"}, "the entries of earlier tests' nodes lapse")
    told = {row["agent"]: row for row in served.json("scale", "Counter=9", "hold=0", "-o", "json")}
    assert "there is room for 2 of 9 on small" in told["Counter"]["note"]
    assert told["hold"]["becomes"] == 1
    assert "it shares its workers with" in told["hold"]["note"]
    served("scale", "Counter", "hold", "--withdraw")
    assert "Did you mean 'Counter'?" in served("scale", "Countr=2", code=2).stderr
    assert "AGENT=N" in served("scale", "Counter", code=2).stderr
    assert "no file" in served("node", "nowhere.py", code=2).stderr
    done = served("node", "flows.py", "--resources", "GPU", code=2)
    assert "GPU=2" in done.stderr
