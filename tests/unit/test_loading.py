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
from typing import Annotated, ClassVar

from pydantic import Field


@dataclass
class Mine:
    name: ClassVar[str] = "mine"
    often: bool = False

    def decide(self, view):
        return ()


@dataclass
class Ranged:
    name: ClassVar[str] = "ranged"
    often: Annotated[int, Field(lt=3)] = 0

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
    with pytest.raises(UsageError, match="often=3 cannot be meant: Input should be less than 3"):
        make_policy("own_policies.py:Ranged,often=3")
    with pytest.raises(UsageError, match="has no class 'Yours'"):
        make_policy("own_policies.py:Yours")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("srft", "Did you mean 'srtf'"),
        ("srtf,stop=3", "Did you mean 'step'"),
        ("srtf,step=many", "srtf: step=many cannot be meant: it is a number from 0.001 to"),
        ("srtf,step=0", "step=0 cannot be meant"),
        ("lpt,quantum_s=inf", "a number of seconds from 0.001 to 31,536,000"),
        ("least_loaded,margin_s=-1", "a number of seconds from 0 to 31,536,000"),
        ("autoscale,target=0", "target=0 cannot be meant: it is a share from 0.01 to 1"),
        ("autoscale,target=nan", "a share from 0.01 to 1"),
        ("autoscale,workers_min=5000", "a whole number from 0 to 4,096"),
        ("fair_share,half_life_s=0", "half_life_s=0"),
        ("fair_share,levels=99999999999999999999", "a whole number from 1 to 1,000"),
        ("high_priority,session=", "a session's name, of 1 to 120 bytes"),
        (f"high_priority,session={'ü' * 61}", "a session's name, of 1 to 120 bytes"),
        ("high_priority,session=a,priority=1.5", "a whole number from -1,000,000 to 1,000,000"),
        ("reassign,ratio=0.5", "ratio=0.5"),
        ("high_priority", "needs session: high_priority,session="),
        ("srtf,_at_s=3", "no parameter"),
        ("nowhere.py:Class", "nowhere.py"),
    ],
)
def test_what_cannot_be_meant_is_told_with_the_way_out(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        make_policy(text)
