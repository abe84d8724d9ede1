"""`nalar up`: a file says what runs; changed, the difference is applied; bad, it is told why."""

import signal
from pathlib import Path

import pytest

from nalar import connect
from nalar_cli import nodes
from nalar_cli.arguments import InputError
from tests.e2e.commands import Nalar, until

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "cafe" / "nalar.toml"

FIRST = """
policies = ["srtf"]

[server]
port = 0
store = "up-store"
sync = "default"

[node]
name = "box"

[agents.Counter]
module = "flows.py"

[agents.loud]
module = "flows.py"
serves = ["shout"]
"""


def test_the_example_is_what_it_says(nalar: Nalar) -> None:
    rows = nalar.json("up", "-f", EXAMPLE, "--check", "-o", "json")
    assert [(row["name"], row["replicas"], row["min"], row["max"]) for row in rows] == [
        ("Barista", 2, 1, 4),
        ("kitchen", 1, 0, None),
    ]
    assert rows[1]["agents"] == ["breakfast", "recommend"]


def test_a_module_that_never_ends_to_load_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "loops.py").write_text("while True:\n    pass\n")
    monkeypatch.setattr(nodes, "_LOAD_MAX_S", 1.0)
    monkeypatch.setattr(nodes, "_LOAD_TOLD_S", 0.5)
    with pytest.raises(InputError, match=r"loading loops.py takes longer than 1 s"):
        nodes.declared_in(["loops.py"], tmp_path)
    assert "loops.py: still loading" in capsys.readouterr().err


def test_what_is_wrong_with_a_file_is_told(nalar: Nalar) -> None:
    bad = nalar.folder / "bad.toml"
    bad.write_text("[agents.Countr]\nmodule = 'flows.py'\n")
    assert "no 'Countr'. Did you mean 'Counter'?" in nalar("up", "-f", bad, code=2).stderr
    bad.write_text("[agents.Counter]\nmodule = 'flows.py'\nreplicas = 'two'\nconcurency = 3\n")
    told = nalar("up", "-f", bad, "--check", code=2).stderr
    assert 'agents.Counter.replicas is a whole number from 0 to 4096, not "two"' in told
    assert "agents.Counter.concurency is unknown. Did you mean 'concurrency'?" in told
    bad.write_text("policies = ['autoscal']\n[agents.Counter]\nmodule = 'nowhere.py'\n")
    told = nalar("up", "-f", bad, "--check", code=2).stderr
    assert "there is no file nowhere.py" in told
    assert "no policy is named 'autoscal'. Did you mean 'autoscale'?" in told
    assert "No such file" in nalar("up", "-f", "missing.toml", code=2).stderr
    bad.write_text("[agents.Counter]\nmodule = 'flows.py'\n")
    assert "nothing runs" in nalar("up", "-f", bad, "--renew", code=2).stderr


def running(nalar: Nalar, url: str) -> list[str]:
    """The policies that run, with their parameters."""
    return [
        row["runs"] for row in nalar.json("policy", "ls", "-o", "json", "-s", url) if row["runs"]
    ]


def test_a_file_is_run_changed_while_it_runs_and_drained(nalar: Nalar) -> None:
    file = nalar.folder / "box.toml"
    file.write_text(FIRST)
    up = nalar.start("up", "-f", "box.toml")
    url = up.says(r"box.toml runs on (nats://\S+) as node box").group(1)
    with connect(url) as client:

        def names() -> list[str]:
            """The workers, without their process ids."""
            return sorted(it["worker"].rpartition("-")[0] for it in client.workers())

        until(lambda: names() == ["box-Counter", "box-loud"], "a worker of each")
        assert client.call("Counter.add", 2).result(20) == 2
        up.says("controller ready")
        assert running(nalar, url) == ["srtf"]

        file.write_text(FIRST.replace("port = 0", "port = 1").replace("loud", "voice")
                        .replace('"srtf"', '{ name = "autoscale", target = 0.5 }')
                        + "replicas = 2\nconcurrency = 3\n")  # fmt: skip
        assert f"process {up.pid}: told it to apply" in nalar("up", "-f", "box.toml").stderr
        up.says("box.toml is applied")
        assert "[server] of box.toml: takes effect at the next start" in up.said
        until(lambda: names() == ["box-Counter", "box-voice", "box-voice"], "what is different")
        assert {it["concurrency"] for it in client.workers()} == {3, 16}

        until(lambda: running(nalar, url) == ["autoscale,target=0.5"], "another policy")

        before = {it["worker"] for it in client.workers()}
        nalar("up", "-f", "box.toml", "--renew")
        until(lambda: len(now := {it["worker"] for it in client.workers()}) == 3
              and not now & before, "fresh workers")  # fmt: skip

        file.write_text("[agents")
        up.signal(signal.SIGHUP)
        up.says(r"box.toml is not applied, what runs goes on: box.toml is no TOML")
        assert client.call("shout", "hi").result(20) == "HI!"
    assert len(nalar.family()) == 6, "server, node, controller and three workers"
    up.signal(signal.SIGINT)
    assert up.ends() == 0
    assert nalar.family() == []
