"""How fast the command line answers, and what it must not load for that."""

import statistics
import subprocess
import sys
import time

from tests.e2e.commands import Nalar

#: The bar is 0.3 s; the rest is for machines that run tests beside other work.
HELP_S = 0.9
HEAVY = ("asyncio", "nalar", "nats", "pydantic", "rich", "uvloop")


def test_help_answers_at_once(nalar: Nalar) -> None:
    took_s: list[float] = []
    for _ in range(5):
        began = time.perf_counter()
        assert "run" in nalar("--help").stdout
        took_s.append(time.perf_counter() - began)
    assert statistics.median(took_s) < HELP_S


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
