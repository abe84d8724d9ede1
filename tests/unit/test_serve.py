"""A program with no broker: the runtime in its own process, asked for or implied."""

import asyncio
import importlib.util
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType

import pytest

import nalar
from nalar.errors import AgentError, ArgumentError, Unavailable, UsageError
from nalar.settings import Settings

ROOT = Path(__file__).parents[2]


@nalar.tool(name="serve_add")
async def add(a: int, b: int) -> int:
    return a + b


@nalar.tool(name="serve_nap")
async def nap(hours: float) -> float:
    await asyncio.sleep(hours * 3600)
    return hours


@nalar.tool(name="serve_pages")
async def pages(count: int) -> AsyncIterator[str]:
    for number in range(count):
        yield f"page {number}"


@nalar.tool(name="serve_lines")
def lines(count: int) -> Iterator[int]:
    yield from range(count)


@nalar.tool(name="serve_interrupt")
async def interrupt() -> None:
    raise KeyboardInterrupt


@nalar.tool(name="serve_calls_wrongly")
def calls_wrongly() -> float:
    return nap("an hour").result()  # type: ignore[arg-type]


@nalar.tool(name="serve_divide")
def divide(by: int) -> float:
    return 1 / by


@nalar.tool(name="serve_leave")
def leave() -> int:
    raise GeneratorExit


@nalar.tool(name="serve_stop")
def stop() -> int:
    return next(iter(()))


class ServeNotes(nalar.Agent, stateful=True):
    notes: nalar.ManagedList[str]

    @nalar.method
    def add(self, note: str) -> int:
        self.notes.append(note)
        return len(self.notes)


@nalar.workflow(name="serve_flow")
async def flow(count: int) -> int:
    ServeNotes.add("first")
    sums = [add(number, 1) for number in range(count)]
    await ServeNotes.add("second")
    return sum(await nalar.gather(*sums)) * await ServeNotes.add("third")


def module_at(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_a_script_runs_its_agents_in_its_own_process() -> None:
    with nalar.local():
        assert flow(4).result(10) == (1 + 2 + 3 + 4) * 3


async def test_so_does_a_program_with_an_event_loop() -> None:
    async with nalar.local():
        assert await flow(4) == (1 + 2 + 3 + 4) * 3


def test_in_virtual_time_waiting_costs_none() -> None:
    began = time.perf_counter()
    with nalar.local(virtual_time=True):
        assert nalar.gather(nap(2), nap(4)).result(10) == [2, 4]
    assert time.perf_counter() - began < 5


def test_what_a_generator_yields_is_the_list_that_its_call_returns() -> None:
    with nalar.local():
        assert pages(2).result(10) == ["page 0", "page 1"]  # type: ignore[comparison-overlap]
        assert lines(3).result(10) == [0, 1, 2]  # type: ignore[comparison-overlap]


def test_code_that_raises_what_loops_take_for_their_own_fails_its_call_alone() -> None:
    with nalar.local():
        with pytest.raises(AgentError, match="KeyboardInterrupt"):
            interrupt().result(10)
        with pytest.raises(AgentError, match="StopIteration"):
            stop().result(10)
        with pytest.raises(AgentError, match="GeneratorExit"):
            leave().result(10)
        assert add(1, 2).result(10) == 3


def test_an_annotation_that_cannot_be_served_fails_the_call_and_names_it() -> None:
    @nalar.tool(name="serve_thread")
    async def thread(value: int) -> threading.Thread: ...

    with nalar.local(), pytest.raises(UsageError, match=r"serve_thread.*'return'.*Thread"):
        thread(1).result(10)


def test_declaring_an_agent_again_serves_the_new_code() -> None:
    with nalar.local():
        for answer in ("old", "new"):

            @nalar.tool(name="serve_again")
            async def again(answer: str = answer) -> str:
                return answer

            assert again().result(10) == answer


def test_two_agents_of_one_name_are_refused_by_both_places(tmp_path: Path) -> None:
    code = "import nalar\n@nalar.tool(name='serve_torn')\ndef f() -> str: return __name__\n"
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(code)
    one, two = module_at(tmp_path / "one.py"), module_at(tmp_path / "two.py")
    with nalar.local():
        assert one.f().result(10) == "one"
        with pytest.raises(UsageError, match=r"one\.py:2.*two\.py:2"):
            two.f()


def test_with_no_runtime_connected_a_program_is_its_own(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import nalar\n\n@nalar.tool\ndef double(a: int) -> int:\n    return 2 * a\n\n"
        "print(double(double(4)).result(10))\n"
    )
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, timeout=20, check=False,
        env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (done.stdout, done.stderr, done.returncode) == ("16\n", "", 0)


async def test_no_server_is_a_clear_message_in_time() -> None:
    began = time.perf_counter()
    settings = Settings(url="nats://127.0.0.1:1", connect_timeout_s=1)
    with pytest.raises(Unavailable, match=r"no NATS server at nats://127\.0\.0\.1:1, tried for"):
        await nalar.connect(settings=settings)
    assert time.perf_counter() - began < 5


def test_a_client_says_what_cannot_be_called_and_that_its_connection_was_closed() -> None:
    with nalar.local() as client, pytest.raises(UsageError, match=r"ServeNotes.* cannot be called"):
        client.submit(ServeNotes)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="this connection was closed"):
        client.agents()


def test_a_thread_shows_the_frames_of_the_agents_code_alone() -> None:
    with nalar.local():
        with pytest.raises(AgentError) as raised:
            divide(0).result(10)
        with pytest.raises(ArgumentError) as refused:
            calls_wrongly().result(10)
    assert "1 / by" in raised.value.remote_traceback
    assert raised.value.remote_traceback.count("File ") == 1
    told = getattr(refused.value, "remote_traceback", "")
    assert 'nap("an hour")' in told
    assert told.count("File ") == 1


async def test_a_worker_needs_a_name_that_can_stand_in_a_key() -> None:
    async with nalar.local() as client:
        with pytest.raises(UsageError, match=r"a worker's name has letters.*not 'a b'"):
            await client.host.serve([], "a b")
