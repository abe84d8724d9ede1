"""The nodes that live and the workers that are wanted: what a node knows of the others. Pure.

Kept up to date from the notices that the control bucket gives, and put right by a listing.
"""

from collections.abc import Collection
from typing import Final

from nalar.cluster.nodes import NODES, NodeEntry, decode_node
from nalar.directives import DIRECTIVE, Provision, decode_directive
from nalar.errors import MalformedMessage
from nalar.statestore.heard import Heard
from nalar.statestore.port import KeyValueEntry

#: Where it is said how many workers of an agent there are to be, in the control bucket.
PROVISIONS: Final = f"{DIRECTIVE}.{Provision.kind}"


class Fleet:
    """Nodes by name, and workers wanted by agent. What cannot be read counts as absent."""

    def __init__(self) -> None:
        self.nodes: dict[str, NodeEntry] = {}
        self.provisioned: dict[str, int] = {}
        self._heard = Heard()

    @property
    def newest(self) -> int:
        """Revision of the newest notice."""
        return self._heard.newest

    @property
    def agents(self) -> set[str]:
        """The agents that any node can run."""
        states = (it for node in self.nodes.values() for it in node.groups.values())
        return {agent for state in states for agent in state.group.agents}

    def take(self, entry: KeyValueEntry) -> bool:
        """Take one entry or removal in; return whether anything is different now."""
        return self._heard.note(entry.key, entry.revision) and self._apply(entry)

    def _apply(self, entry: KeyValueEntry) -> bool:
        if entry.key.startswith(f"{NODES}."):
            return self._take_node(entry.key.removeprefix(f"{NODES}."), entry.value)
        return self._take_provision(entry.key, entry.value)

    def put_right(self, prefix: str, entries: Collection[KeyValueEntry], *, since: int) -> None:
        """Take in all that stands under `prefix`, listed when `newest` was `since`.

        What the listing does not name, and was known by then, is gone.
        """
        for entry in self._heard.news(prefix, entries, since=since):
            self._apply(entry)

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
