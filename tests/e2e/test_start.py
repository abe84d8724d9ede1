"""How fast the command line answers, and what it must not load for that."""

import resource
import subprocess
import sys
import time

from tests.e2e.commands import Nalar

#: The bar is 0.3 s; the rest is for processors that run tests beside other work.
HELP_S = 0.5
#: It waits for nothing either: so long at the most by the clock, whatever else runs.
HELP_BY_THE_CLOCK_S = 2.0
HEAVY = ("asyncio", "nalar", "nats", "pydantic", "rich", "uvloop")


def test_help_answers_at_once(nalar: Nalar) -> None:
    took_s: list[float] = []
    by_the_clock_s: list[float] = []
    for _ in range(5):
        began_s, began_by_the_clock_s = processor_time_of_children_s(), time.perf_counter()
        assert "run" in nalar("--help").stdout
        took_s.append(processor_time_of_children_s() - began_s)
        by_the_clock_s.append(time.perf_counter() - began_by_the_clock_s)
    assert min(took_s) < HELP_S
    assert min(by_the_clock_s) < HELP_BY_THE_CLOCK_S


def processor_time_of_children_s() -> float:
    """Return what the processes that have ended computed: what others do at the time is not in."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_help_loads_neither_the_library_nor_what_it_stands_on(nalar: Nalar) -> None:
    look = (
        "import sys\n"
        "sys.argv = ['nalar', '--help']\n"
        "from nalar_cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print(*(name for name in {HEAVY} if name in sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", look], env=nalar.environ, capture_output=True, text=True, check=True
    )
    assert done.stderr.split() == []


def test_ctrl_c_while_the_command_line_is_loaded_ends_it_without_a_traceback(nalar: Nalar) -> None:
    (nalar.folder / "typer.py").write_text("raise KeyboardInterrupt\n")
    assert nalar("--help", code=130).stderr == ""
