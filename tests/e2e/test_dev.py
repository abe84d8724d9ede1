"""`nalar dev` and `nalar server`: a server in the foreground, with or without workers."""

import signal

from tests.e2e.commands import Nalar, until

VERSIONS = """
import nalar

@nalar.tool
def version() -> int:
    return {number}
"""


def test_dev_serves_reloads_and_ends_clean(nalar: Nalar) -> None:
    module = nalar.folder / "versions.py"
    module.write_text(VERSIONS.format(number=1))
    dev = nalar.start("dev", "versions.py", "--reload", "--port", 0, "--store", "dev-store")
    url = dev.says(r"Serving on (nats://\S+)").group(1)
    dev.says(rf"nalar call version --server {url}")
    call = ("call", "version", "-s", url)
    assert nalar.json(*call) == 1
    module.write_text("def (:")
    dev.says("no worker could start")
    module.write_text(VERSIONS.format(number=2))
    until(lambda: dev.said.count("reloading changed=versions.py") == 2, "the second reload")
    until(lambda: nalar.json(*call) == 2, "the new code")
    dev.signal(signal.SIGINT)
    assert dev.ends() == 0
    assert (nalar.folder / "dev-store" / ".gitignore").read_text() == "*\n"
    assert nalar.family() == []


def test_a_port_that_is_taken_is_told(nalar: Nalar, url: str) -> None:
    port = url.rpartition(":")[2]
    done = nalar("dev", "flows.py", "--port", port, "--store", "other", code=1)
    assert f"port {port} of 127.0.0.1 is taken" in done.stderr
    assert "--port" in done.stderr


def test_server_ends_with_sigterm(nalar: Nalar) -> None:
    server = nalar.start("server", "--port", 0, "--store", "alone")
    server.says("nats-server on nats://")
    server.signal(signal.SIGTERM)
    assert server.ends() == 0
