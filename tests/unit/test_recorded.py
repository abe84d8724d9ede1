"""Workloads from a file."""

from pathlib import Path

import pytest

from nalar.errors import UsageError
from nalar.sim.metrics import Figures
from nalar.sim.simulate import simulate
from nalar.sim.strategies import chosen
from nalar.sim.workload import Size
from nalar.sim.workloads import workload_of

DECLARED = '{"name": "search", "workers": 1, "concurrency": 1}'
REQUEST = (
    '{"at": %s, "agent": "report", "steps": [1.0, '
    '[{"agent": "search", "steps": [2.0]}, {"agent": "search", "steps": [2.0]}], 0.5]}'
)


def written(folder: Path, *lines: str) -> str:
    path = folder / "traffic.jsonl"
    path.write_text("\n".join(lines))
    return str(path)


def test_what_was_recorded_takes_its_time_in_its_shape(tmp_path: Path) -> None:
    path = written(tmp_path, DECLARED, "", REQUEST % 10, REQUEST % 0)
    figures = simulate(workload_of(path, Size(1.0, 4)), chosen(["lanes"])[0])
    assert (figures.requests, figures.futures) == (2, 6)
    assert figures.p50_s == pytest.approx(5.5, abs=0.01), "one search after the other"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "line 2 .* is not JSON"),
        ("7", "is not an object"),
        ('{"agent": "a", "steps": []}', "at = None"),
        ('{"at": -1, "agent": "a", "steps": []}', "at = -1"),
        ('{"at": 0, "agent": "a"}', 'without "steps"'),
        ('{"at": 0, "agent": "a", "steps": [-1]}', "the step -1"),
        ('{"at": 0, "agent": "a", "steps": [[3]]}', "3 where a call"),
        ('{"at": 0, "agent": "a", "steps": [[{"agent": "", "steps": []}]]}', "calls ''"),
        ('{"at": 0, "agent": "a", "steps": [[{"agent": null, "steps": []}]]}', "calls None"),
        ('{"at": 0, "agent": "a", "steps": [[{}]]}', 'a branch without "steps"'),
        ('{"at": 0, "agent": "a", "steps": [{"pause": -1}]}', "pause = -1"),
        ('{"at": 0, "agent": "a", "steps": [{"paws": 1}]}', "{'paws': 1}"),
        ('{"name": "a", "worker": 3}', "Did you mean 'workers'"),
        ('{"name": "a", "workers": "3"}', "workers = '3'"),
        ('{"workers": 3}', "without a name"),
        ('{"name": "search"}', "declares search a second time"),
        ('{"name": "a", "workers": 0}', "workers = 0; 1 to 100,000"),
        ('{"name": "a", "concurrency": 99999999999}', "concurrency = 99999999999"),
        ('{"at": 0, "agnet": "a", "steps": [1]}', "has no \"agent\", but 'agnet'"),
        ('{"at": 0, "agent": "a", "steps": [1e300]}', "the step 1e"),
        ('{"at": 1e300, "agent": "a", "steps": [1]}', "at = 1e"),
        ('{"name": "a", "batch": 8}', "line 2 .* has batch = 8; .*linger_s"),
        ('{"name": "a", "batch": {"seize": 8}}', "'seize' of a batch. Did you mean 'size'"),
        ('{"name": "a", "batch": {"size": 0}}', "line 2 .*a count from 1 to 10000, not 0"),
        ('{"name": "a", "batch": {"size": 2.5}}', "not 2.5"),
        ('{"name": "a", "batch": {"size": 2, "linger_s": -1}}', "not -1"),
        ('{"name": "a", "batch": {"size": 2, "linger_s": null}}', "not None"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, line: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        workload_of(written(tmp_path, DECLARED, line), Size(1.0, 4))


def test_a_file_that_is_not_there_or_says_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        workload_of(str(tmp_path / "none.jsonl"), Size(1.0, 4))
    with pytest.raises(UsageError, match="has no request"):
        workload_of(written(tmp_path, DECLARED), Size(1.0, 4))


GATHERS = '{"name": "embed", "workers": 1, "concurrency": 1, "batch": {"size": 4, "linger_s": 0.5}}'


def test_calls_that_gather_start_when_their_batch_is_full_or_due_and_end_together(
    tmp_path: Path,
) -> None:
    def run(*seconds: float) -> Figures:
        lines = [f'{{"at": 0, "agent": "embed", "steps": [{it}]}}' for it in seconds]
        path = written(tmp_path, GATHERS, *lines)
        return simulate(workload_of(path, Size(1.0, 1)), chosen(["lanes"])[0])

    due = run(1.0, 3.0, 2.0)
    assert due.p50_s == pytest.approx(3.5, abs=0.01), "as long as the longest, and it lingered"
    assert due.p99_s == pytest.approx(due.p50_s)
    full = run(*[1.0] * 8)
    assert full.mean_s == pytest.approx(1.5, abs=0.01), "two batches, one after the other"
    assert full.utilisation == pytest.approx(1.0, abs=0.01), "of one slot"


@pytest.mark.parametrize("step", ['{"pause": 1}', '[{"agent": "b", "steps": [1]}]'])
def test_a_call_that_gathers_does_nothing_but_work(tmp_path: Path, step: str) -> None:
    lines = [
        f'{{"at": 0, "agent": "embed", "steps": [{steps}]}}' for steps in ("1", f"1, {step}", "1")
    ]
    with pytest.raises(UsageError, match=r"line 2 .*embed that does more than work"):
        workload_of(written(tmp_path, *lines, GATHERS), Size(1.0, 1))
    with pytest.raises(UsageError, match=r"line 3 .*embed that does more than work"):
        workload_of(written(tmp_path, GATHERS, *lines), Size(1.0, 1))
    workload_of(written(tmp_path, '{"name": "embed", "workers": 1}', *lines), Size(1.0, 1))
