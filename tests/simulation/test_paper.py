"""The paper's evaluation, in small."""

from pathlib import Path

import pytest

from benchmarks.paper.run import main


def test_an_evaluation_that_was_stopped_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--workload", "router", "--futures", "200", "--out", str(tmp_path)]
    main([*small, "--strategy", "pinned"])
    assert "router, pinned: " in capsys.readouterr().err
    main([*small, "--strategy", "pinned", "--strategy", "nalar"])
    told = capsys.readouterr()
    assert "router, nalar: " in told.err
    assert "pinned" not in told.err, "it stands in the file"
    assert "router: 80 requests/s" in told.out


def test_a_strategy_that_is_none_is_refused_with_a_suggestion(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["--strategy", "pined"])
    assert "Did you mean 'pinned'?" in capsys.readouterr().err
