"""The nodes that live and the workers that are wanted: what a node knows of the others. Pure.

Kept up to date from the notices that the control bucket gives, and put right by a listing.
"""

from typing import Final

from nalar.cluster.nodes import NODES, NodeEntry, decode_node
from nalar.directives import DIRECTIVE, Provision, decode_directive
from nalar.errors import MalformedMessage
from nalar.statestore.heard import Mirror
from nalar.statestore.port import KeyValueEntry

#: Where it is said how many workers of an agent there are to be, in the control bucket.
PROVISIONS: Final = f"{DIRECTIVE}.{Provision.kind}"


class Fleet(Mirror):
    """Nodes by name, and workers wanted by agent. What cannot be read counts as absent."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes: dict[str, NodeEntry] = {}
        self.provisioned: dict[str, int] = {}

    @property
    def agents(self) -> set[str]:
        """The agents that any node can run."""
        states = (it for node in self.nodes.values() for it in node.groups.values())
        return {agent for state in states for agent in state.group.agents}

    def _apply(self, entry: KeyValueEntry) -> bool:
        """Return whether anything is different now."""
        if entry.key.startswith(f"{NODES}."):
            return self._take_node(entry.key.removeprefix(f"{NODES}."), entry.value)
        return self._take_provision(entry.key, entry.value)

    def _take_node(self, name: str, value: bytes | None) -> bool:
        before = self.nodes.pop(name, None)
        if value:
            try:
                entry = decode_node(value)
            except MalformedMessage:
                return before is not None
            if entry.node == name:
                self.nodes[name] = entry
        return self.nodes.get(name) != before

    def _take_provision(self, key: str, value: bytes | None) -> bool:
        agent = key.removeprefix(f"{PROVISIONS}.")
        before = self.provisioned.pop(agent, None)
        if value:
            try:
                directive = decode_directive(key, value).directive
            except MalformedMessage:
                return before is not None
            if isinstance(directive, Provision):
                self.provisioned[agent] = directive.workers
        return self.provisioned.get(agent) != before
