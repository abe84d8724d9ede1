"""Policies are made from what they are called."""

import sys
from pathlib import Path

import pytest

from nalar.cluster.loading import make_policy, parameters_of
from nalar.cluster.policies.ordering import Srtf
from nalar.cluster.policies.scaling import Reassign
from nalar.errors import UsageError

OWN = """
from dataclasses import dataclass
from typing import ClassVar


@dataclass
class Mine:
    name: ClassVar[str] = "mine"
    often: bool = False

    def decide(self, view):
        return ()


class Plain:
    def decide(self, view):
        return ()
"""


def test_parameters_have_the_types_of_their_fields() -> None:
    assert make_policy("srtf,step=5") == Srtf(step=5)
    assert make_policy("reassign,agents=A,B,ratio=1.5") == Reassign(agents="A,B", ratio=1.5)
    assert parameters_of(Srtf) == {"step": "2.0"}


def test_a_policy_of_ones_own_comes_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # Loading adds to it.
    (tmp_path / "own_policies.py").write_text(OWN)
    assert getattr(make_policy("own_policies.py:Mine,often=true"), "often", None) is True
    with pytest.raises(UsageError, match="no policy: a dataclass"):
        make_policy("own_policies.py:Plain")
    with pytest.raises(UsageError, match="has no class 'Yours'"):
        make_policy("own_policies.py:Yours")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("srft", "Did you mean 'srtf'"),
        ("srtf,stop=3", "Did you mean 'step'"),
        ("srtf,step=many", "step=many cannot be meant"),
        ("high_priority", "needs session: high_priority,session="),
        ("srtf,_at_s=3", "no parameter"),
        ("nowhere.py:Class", "nowhere.py"),
    ],
)
def test_what_cannot_be_meant_is_told_with_the_way_out(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        make_policy(text)
