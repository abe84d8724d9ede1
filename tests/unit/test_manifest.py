"""`nalar.toml`: what it means, and what is told of one that means nothing."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nalar.cluster.deployment import Declared, Deployment
from nalar.cluster.nodes import Group
from nalar.processes.manifest import (
    AgentsTable,
    Manifest,
    ManifestError,
    NodeTable,
    ServerTable,
    deployed,
    parse_manifest,
)

WHOLE = """
policies = ["srtf", { name = "autoscale", step = 2, eager = true, of = "Analyst" }]

[server]
port = 4333
store = "data"
sync = "default"

[node]
name = "box1"
max_workers = 8
resources = { GPU = 1, RAM = 64.5 }

[settings]
grace_s = 30
concurrency = 4

[agents.Analyst]
module = "flows.py"
replicas = 2
concurrency = 8
min = 1
max = 4
resources = { GPU = 0.5 }

[agents.search]
module = "flows.py"
serves = ["find", "fetch"]

[agents.rest]
module = "flows.py"
serves = "all"
"""
DECLARED = [
    Declared("Analyst", function=False, max=2),
    Declared("Clerk", function=False, min=2, resources={"RAM": 1.0}),
    Declared("find", function=True),
    Declared("fetch", function=True),
    Declared("report", function=True),
]
ONE = "[agents.Analyst]\nmodule = 'flows.py'\n"


def flaws(text: str) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        deployed(parse_manifest(text), dict.fromkeys(["flows.py"], DECLARED))
    return str(caught.value).splitlines()


def test_a_file_is_read_whole() -> None:
    assert parse_manifest(WHOLE) == Manifest(
        ServerTable(port=4333, store="data", sync="default"),
        NodeTable("box1", 8, {"GPU": 1.0, "RAM": 64.5}),
        (
            AgentsTable("Analyst", "flows.py", (), 2, 8, 1, 4, {"GPU": 0.5}),
            AgentsTable("search", "flows.py", ("find", "fetch")),
            AgentsTable("rest", "flows.py", None),
        ),
        ("srtf", "autoscale,step=2,eager=true,of=Analyst"),
        {"grace_s": "30", "concurrency": "4"},
    )


def test_what_it_has_run_goes_before_what_the_code_says() -> None:
    assert deployed(parse_manifest(WHOLE), {"flows.py": DECLARED}) == [
        Deployment("flows.py", Group("Analyst", ("Analyst",), 2, 1, 4, {"GPU": 0.5}), 8),
        Deployment("flows.py", Group("search", ("find", "fetch"))),
        Deployment("flows.py", Group("rest", ("Clerk", "report"), 2, 2, None, {"RAM": 1.0})),
    ]
    [alone] = deployed(parse_manifest(ONE), {"flows.py": DECLARED})
    assert alone.group == Group("Analyst", ("Analyst",), 1, 0, 2)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[agent.Analyst]\n" + ONE, "agent is unknown. Did you mean 'agents'?"),
        (ONE + "replica = 2", "agents.Analyst.replica is unknown. Did you mean 'replicas'?"),
        (ONE + "replicas = 'two'", 'replicas is a whole number from 0 to 4096, not "two"'),
        (ONE + "replicas = true", "replicas is a whole number from 0 to 4096, not true"),
        (ONE + "replicas = 5000", "agents.Analyst.replicas is a whole number"),
        (ONE + "max = 0", "agents.Analyst.max is a whole number from 1"),
        (ONE + "serves = 'some'", 'serves is a list of agents, or "all", not "some"'),
        (ONE + "serves = []", "agents.Analyst.serves is a list of agents"),
        (ONE + "resources = { GPU = 'one' }", "agents.Analyst.resources.GPU is an amount"),
        (ONE + "resources = { GPU = nan }", "agents.Analyst.resources.GPU is an amount"),
        (ONE + "resources = 1", "agents.Analyst.resources is a table of amounts"),
        ("[agents.Analyst]\nreplicas = 1", "agents.Analyst needs a module"),
        ("[agents]\nAnalyst = 3", "agents.Analyst is a table: [agents.Analyst], not 3"),
        ("agents = []", "agents is a table: [agents], not []"),
        ("", "nothing to serve: [agents.NAME]"),
        ("[server]\nurl = 'nats://x'\nport = 1\n" + ONE, "server: port is for a server that"),
        ("[server]\nsync = 'never'\n" + ONE, 'server.sync is "always" or "default"'),
        ("[server]\nport = 70000\n" + ONE, "server.port is a whole number from 0 to 65535"),
        ("[node]\nname = 'a.b'\n" + ONE, "node.name is made of letters, digits, - and _"),
        ("[settings]\ngrace = 3\n" + ONE, "settings.grace is no setting. Did you mean 'grace_s'?"),
        ("[settings]\nslots = 1.5\n" + ONE, "settings.slots is a whole number, not 1.5"),
        ("[settings]\nurl = 'x'\n" + ONE, "settings.url is no setting"),
        ("policies = 'srtf'\n" + ONE, "policies is a list of names or tables: [[policies]]"),
        ("policies = [3]\n" + ONE, "policies 1 is a name or a table, not 3"),
        ("[[policies]]\nstep = 3\n" + ONE, "policies 1 needs a name"),
        ("[[policies]]\nname = 'x'\nof = [1]\n" + ONE, "policies 1.of is a text, a number"),
        (ONE.replace("Analyst", "Analist"), "no 'Analist'. Did you mean 'Analyst'? Its name is"),
        (ONE + "[agents.b]\nmodule = 'flows.py'\nserves = ['Analyst']",
         "Analyst is served by agents.Analyst and agents.b"),
        (ONE + "min = 3\nmax = 2", "agents.Analyst: max = 2 is below min = 3"),
        (ONE + "replicas = 3", "agents.Analyst: replicas = 3 is above max = 2"),
        ("[agents.Clerk]\nmodule = 'flows.py'\nreplicas = 1", "replicas = 1 is below min = 2"),
        ("[agents", "is no TOML: "),
        (ONE + ONE, "is no TOML: "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(text: str, told: str) -> None:
    [flaw] = flaws(text)
    assert flaw.startswith("nalar.toml")
    assert told in flaw


def test_all_that_is_wrong_is_told_at_once() -> None:
    told = flaws("polices = []\n[server]\nprot = 1\n" + ONE + "min = -1\nconcurency = 2")
    keys = {flaw.split()[1] for flaw in told}
    assert keys == {"polices", "server.prot", "agents.Analyst.min", "agents.Analyst.concurency"}


def test_what_nobody_else_serves_may_be_nothing() -> None:
    everything = ", ".join(f"'{it.name}'" for it in DECLARED)
    text = f"[agents.a]\nmodule = 'flows.py'\nserves = [{everything}]\n"
    [flaw] = flaws(text + "[agents.rest]\nmodule = 'flows.py'\nserves = 'all'")
    assert "agents.rest: all that flows.py declares is served by other tables" in flaw


@given(st.text() | st.sampled_from(["[agents.x]", WHOLE]).flatmap(
    lambda whole: st.integers(0, len(whole)).map(lambda end: whole[:end])))  # fmt: skip
def test_whatever_the_file_holds_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ManifestError):
        parse_manifest(text)
