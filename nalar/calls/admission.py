"""Which requests are let in while an agent sheds load. Pure.

Asked by clients before they publish, and by workers of what was published all the same.
"""

from nalar.calls.draft import ANYONE
from nalar.directives import Directive, Shed
from nalar.errors import Overloaded
from nalar.ids import AgentName, Ref


class Admission:
    """The agents that refuse requests for now."""

    def __init__(self) -> None:
        self._shedding: dict[AgentName, Shed] = {}

    def obey(self, directive: Directive, withdrawn: bool) -> None:
        """Refuse what a `Shed` says from now on, or no longer; others are not about this."""
        if isinstance(directive, Shed):
            if withdrawn:
                self._shedding.pop(directive.agent, None)
            else:
                self._shedding[directive.agent] = directive

    def refusal(self, agent: AgentName, priority: int, path: str = "") -> Overloaded | None:
        """Return why a request that carries this priority is refused; None when it is let in.

        Directives that set priorities decide what starts first; only what a request carries
        decides whether it is let in, so that clients and workers say the same.
        """
        shed = self._shedding.get(agent)
        if shed is None or priority >= shed.below:
            return None
        return Overloaded(
            f"{agent} takes no requests of priority below {shed.below} for now, and this one has "
            f"{priority}: try again in {shed.retry_after_s:g} s, or with a higher priority",
            path=path,
            retry_after_s=shed.retry_after_s,
        )


def may_refuse(ref: Ref) -> bool:
    """Say whether a worker may refuse the call: a request that was made, or begun, just now.

    Calls that others make are let in: what was begun is finished. So are requests with an
    idempotency key: who repeats one would find the refusal for as long as records are kept.
    """
    return ref.future == ref.root and ref.parent != ANYONE
