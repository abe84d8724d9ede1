# pyright: reportUnknownMemberType=false
# -- nats-py's methods with `**params` are partially unknown.
"""What a strange hand has put into our buckets ends neither listings nor housekeeping."""

import asyncio
from dataclasses import asdict

import nats
import pytest

import nalar
from nalar.bus.embedded import EmbeddedServer
from nalar.calls.letters import details
from nalar.client.housekeeping import Housekeeper
from nalar.errors import MalformedMessage, Rejected, UnknownTarget
from nalar.processes.host import Host
from nalar.settings import Settings

JUNK = (b"", b"x", b"\xff", b"[]", b"7", b"null", b"{}", b"[" * 5000, b'{"at":1e300,"kind":7}')


class StrangersNotes(nalar.Agent, stateful=True):
    notes: nalar.ManagedList[str]

    @nalar.method
    def add(self, note: str) -> int:
        self.notes.append(note)
        return len(self.notes)


async def put(url: str, *keys: str, junk: tuple[bytes, ...] = JUNK) -> None:
    """Put junk under each of `keys`, with nothing of ours in between."""
    strange = await nats.connect(url)
    queue = strange.jetstream()
    try:
        for key in keys:
            for value in junk:
                await queue.publish(f"$KV.{key}", value)
    finally:
        await strange.close()


async def served(host: Host) -> None:
    await host.serve([nalar.agents.loader.spec_of(StrangersNotes)])


async def test_listings_and_housekeeping_pass_over_what_is_not_ours(server: EmbeddedServer) -> None:
    settings = Settings(url=server.url, lease_s=1.0)
    async with nalar.connect(settings=settings) as client:
        await served(client.host)
        assert await StrangersNotes.options(session="mine").add("a") == 1
        await put(
            server.url,
            "nalar_control.agent.odd", "nalar_control.agent.a.b", "nalar_control.worker.odd",
            "nalar_control.run.odd", "nalar_control.dead.odd", "nalar_control.lease.odd.x.y",
            "nalar.state", "nalar.state.odd", "nalar.state.a.b.c",
            "nalar.call.s.StrangersNotes.===.a.b.c",
        )  # fmt: skip
        assert [told["name"] for told in await client.agents()] == ["StrangersNotes"]
        assert all(told["worker"] != "odd" for told in await client.workers())
        assert await client.sessions() == [("StrangersNotes", "mine")]
        with pytest.raises(UnknownTarget, match="none of our notes"):
            await client.future("odd")
        with pytest.raises(MalformedMessage, match=r"the registry holds of 'odd'.*anew"):
            await client.method("odd")
        (letter,) = await client.dead_letters()
        assert (letter.at, details(letter)["kind"]) == (0.0, 7)
        await put(
            server.url, "nalar_control.worker.list", "nalar_control.decision.list",
            "nalar_control.controller", junk=(b"[]",),
        )  # fmt: skip
        (scaled,) = await client.scaling.scale({"StrangersNotes": None})
        assert scaled.serving == 1
        assert await client.decisions(5) == []
        assert await client.policies.leader() == {"name": "?", "host": "?"}
        swept = await Housekeeper(client.host.backend, settings).sweep()
        assert swept is not None, asdict(settings)


async def test_what_was_archived_by_a_strange_hand_is_passed_over(server: EmbeddedServer) -> None:
    async with nalar.connect(settings=Settings(url=server.url, lease_s=1.0)) as client:
        await served(client.host)
        assert await StrangersNotes.options(session="kept").add("a") == 1
        pattern = "call.s.StrangersNotes.kept.*.*.*"
        (record,) = await client.host.backend.ledger.find(pattern)
        strange = await nats.connect(server.url)
        for number, revision in enumerate(["", "x", "-1", "1e3", "9" * 21, "9" * 5000]):
            key = f"$KV.nalar.archive.s.StrangersNotes.kept.r.p.f{number}"
            await strange.jetstream().publish(
                key, record.body, headers={"Nalar-Revision": revision}
            )
        await strange.close()
        await put(server.url, "nalar.archive", "nalar.archive.s.StrangersNotes.kept.r.p.f")
        assert await client.host.backend.ledger.find(pattern) == [record]
        assert await StrangersNotes.options(session="kept").add("b") == 2
        assert await Housekeeper(client.host.backend, client.host.settings).sweep() is not None


async def test_a_worker_starts_where_junk_stands_for_its_description(
    server: EmbeddedServer,
) -> None:
    async with nalar.connect(settings=Settings(url=server.url, lease_s=1.0)) as client:
        await put(server.url, "nalar_control.agent.StrangersNotes")
        await served(client.host)
        async with asyncio.timeout(20):
            assert await StrangersNotes.options(session="after").add("a") == 1
        assert (await client.agent("StrangersNotes"))["name"] == "StrangersNotes"


async def test_a_session_that_cannot_be_read_is_told_to_its_callers_and_no_other_suffers(
    server: EmbeddedServer,
) -> None:
    async with nalar.connect(settings=Settings(url=server.url, lease_s=1.0)) as client:
        await served(client.host)
        assert await StrangersNotes.options(session="spoilt").add("a") == 1
        agent = "StrangersNotes"
        await put(
            server.url,
            f"nalar.call.s.{agent}.log.r.me.f", f"nalar.call.s.{agent}.spoilt.r.me.f",
            f"nalar.call.s.{agent}.key.x", f"nalar.state.{agent}.snapshot",
        )  # fmt: skip
        for sessions in (("log", "spoilt", "snapshot", "key"), ("log", "spoilt", "snapshot")):
            for session in sessions:
                with pytest.raises(Rejected, match=f"session '{session}' of {agent} cannot be"):
                    async with asyncio.timeout(20):
                        await StrangersNotes.options(session=session).add("b")
        for session in ("sound", "key"):  # What was told to the caller stands above a strange key.
            assert await StrangersNotes.options(session=session).add("a") == 1
        assert client.host.worker is not None
        assert client.host.worker.describe()["queued"] == 0
        letters = await client.dead_letters(agent)
        assert [letter.reason.partition(":")[0] for letter in letters] == ["SessionUnreadable"] * 7
