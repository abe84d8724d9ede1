"""Names of things: identifiers, references and the tokens they are made of.

Pure. Time and chance come in as arguments; nothing here asks the clock or the dice.
"""

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Literal, NewType, Self, cast

from nalar.errors import InvalidToken

AgentName = NewType("AgentName", str)
MethodName = NewType("MethodName", str)
FutureId = NewType("FutureId", str)
RootId = NewType("RootId", str)
SessionId = NewType("SessionId", str)
WorkerId = NewType("WorkerId", str)
CallerId = NewType("CallerId", str)

#: "s": the call may change its session's state and is fenced by the session's whole log.
#: "r": the call reads at most; it is fenced by its own key alone.
Effect = Literal["s", "r"]

#: A user's token is kept as it is when it is short and made of these characters.
_PLAIN_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")
#: What any token on the wire looks like: a plain one, or "=" and an encoded one.
_WIRE_TOKEN = re.compile(r"=?[A-Za-z0-9_-]{1,200}")
#: A reference: all tokens are checked at once, since it is done for each message.
_REF = re.compile(rf"call\.[sr](?:\.{_WIRE_TOKEN.pattern}){{5}}")
#: Longest session, tenant or key that a user may name, in bytes of UTF-8.
TOKEN_MAX_BYTES = 120
#: Stands where a read-only record has no session.
NO_SESSION = SessionId("_")


def encode_token(text: str) -> str:
    """Return `text` as one subject token: as it is when plain, else "=" and base64url.

    Raises InvalidToken when it is empty or longer than TOKEN_MAX_BYTES.
    """
    if _PLAIN_TOKEN.fullmatch(text):
        return text
    try:
        raw = text.encode()
    except UnicodeEncodeError as error:
        raise InvalidToken(f"{text!r} is not valid Unicode text: {error.reason}") from error
    if not 0 < len(raw) <= TOKEN_MAX_BYTES:
        raise InvalidToken(
            f"a session, tenant or key has 1 to {TOKEN_MAX_BYTES} bytes, this one {len(raw)}"
        )
    return "=" + base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode_token(token: str) -> str:
    """Return the text that `encode_token` was given."""
    if not token.startswith("="):
        return token
    padded = token[1:] + "=" * (-len(token[1:]) % 4)
    try:
        return base64.urlsafe_b64decode(padded).decode()
    except ValueError as error:
        raise InvalidToken(f"{token!r} is not an encoded token") from error


def readable_token(token: str) -> str:
    """Return the text that a token stands for; a stranger's token that is none, as it is."""
    try:
        return decode_token(token)
    except InvalidToken:
        return token


def is_wire_token(token: str) -> bool:
    """Say whether `token` may stand between two dots of a subject."""
    return _WIRE_TOKEN.fullmatch(token) is not None


def new_root(now_ms: int, entropy: bytes) -> RootId:
    """Return the id of a new request: 48 bits of milliseconds, 80 bits of `entropy`, in hex.

    Sorts by time as text. `entropy` must hold ten unpredictable bytes: an id that can be
    guessed lets another submitter take its place.
    """
    if len(entropy) != 10:  # noqa: PLR2004 -- 80 bits
        raise ValueError("entropy must be ten bytes")
    return RootId(f"{now_ms:012x}{entropy.hex()}")


def keyed_root(tenant: str, target: str, session: str, key: str) -> RootId:
    """Return the id of the request that `tenant` names `key`: the same whoever makes it again."""
    named = f"{tenant}\0{target}\0{session}\0{key}".encode()
    return RootId(hashlib.blake2b(named, digest_size=16, person=b"nalar request").hexdigest())


def new_name(prefix: str, entropy: bytes) -> str:
    """Return the id of a process: `prefix` and `entropy` in hex."""
    return prefix + entropy.hex()


def child_id(parent: str, target: str, arguments: bytes, occurrence: int | str) -> FutureId:
    """Return the content-addressed id of a call made by `parent`.

    `arguments` is the canonical text of the bound arguments (`nalar.values.wire.canonical`);
    `occurrence` numbers identical calls under one parent, or is the name the caller gave the
    call (`key=`). Independent of the order in which concurrent code happens to run. Golden
    vectors: docs/protocol.md.
    """
    which = f"={occurrence}" if isinstance(occurrence, str) else f"#{occurrence}"
    named = f"{parent}\0{target}\0{which}\0".encode()
    return FutureId(hashlib.blake2b(named + arguments, digest_size=16).hexdigest())


def again_id(child: FutureId, generation: int) -> FutureId:
    """Return the id of a child that a retried caller runs again: `generation` is 2 and up.

    `child` is its `child_id`, the first generation. Golden vectors: docs/protocol.md.
    """
    named = f"{child}\0+{generation}\0".encode()
    return FutureId(hashlib.blake2b(named, digest_size=16).hexdigest())


@dataclass(frozen=True, slots=True)
class Ref:
    """Where a call's record stands: the future's address in the ledger.

    Written `call.<effect>.<agent>.<session>.<root>.<parent>.<future>`; one direct get of that
    key reads the result from anywhere.
    """

    effect: Effect
    agent: AgentName
    session: SessionId
    root: RootId
    parent: str
    future: FutureId

    def __str__(self) -> str:
        session = f"call.{self.effect}.{self.agent}.{self.session}"
        return f"{session}.{self.root}.{self.parent}.{self.future}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the reference written as `text`; raises InvalidToken when it is none."""
        if _REF.fullmatch(text) is None:
            raise InvalidToken(f"{text[:200]!r} is not a reference to a future")
        _, effect, agent, session, root, parent, future = text.split(".")
        return cls(
            cast("Effect", effect),
            AgentName(agent),
            SessionId(session),
            RootId(root),
            parent,
            FutureId(future),
        )
