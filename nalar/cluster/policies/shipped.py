"""The shipped policies by name. Pure."""

from typing import Final

from nalar.cluster.policies.moving import HeadOfLine, HighPriority, LeastLoaded, PrefixAffinity
from nalar.cluster.policies.ordering import EarliestDeadline, FairShare, LeastAttained, Lpt, Srtf
from nalar.cluster.policies.scaling import Admission, Autoscale, Reassign
from nalar.cluster.policy import Policy

#: A new policy is named here.
SHIPPED: Final[dict[str, type[Policy]]] = {
    policy.name: policy
    for policy in (
        LeastLoaded, HeadOfLine, PrefixAffinity, HighPriority,
        Srtf, Lpt, LeastAttained, EarliestDeadline, FairShare,
        Reassign, Autoscale, Admission,
    )
}  # fmt: skip
