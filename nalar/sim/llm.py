"""A model of an LLM engine that batches continuously. Pure.

The engine works in steps. A step yields one token of every sequence in the batch, and takes in a
chunk of a prompt while one is to be read: so prompts slow down what is being generated, and many
sequences slow down each other. Between two changes of the batch all rates are constant, so that
the model costs two events a call and not one a token.

Sequences hold memory for their keys and values (KV) while they run. What a session has left there
is its prefix cache: the next call of the session here need not read that part of its prompt again.
It stays until the memory is needed, the least recently used going first.
"""

import heapq
import math
from collections import OrderedDict, deque
from dataclasses import dataclass, field

#: Two times this close are the same instant, in tokens.
_EPSILON = 1e-6


@dataclass(frozen=True, slots=True)
class LlmModel:
    """How fast an engine is. The defaults: an 8B model in 16 bits on one A100 of 80 GB."""

    #: Time of a step however small: the weights are read once.
    step_s: float = 0.009
    #: What each sequence in the batch adds to a step.
    sequence_s: float = 0.00008
    #: What each token of context in the batch adds to a step: its keys and values are read.
    kv_token_s: float = 7e-8
    #: Tokens of a prompt read per second when nothing else is done.
    prefill_tokens_per_s: float = 9_000.0
    #: Tokens of a prompt that one step takes in.
    chunk_tokens: int = 512
    #: Tokens whose keys and values fit into memory.
    kv_tokens: int = 400_000

    def step_time_s(self, sequences: int, kv_tokens: float, *, reads: bool) -> float:
        """Return how long a step takes with so many sequences in the batch."""
        time_s = self.step_s + sequences * self.sequence_s + kv_tokens * self.kv_token_s
        return time_s + (self.chunk_tokens / self.prefill_tokens_per_s if reads else 0.0)


@dataclass(frozen=True, slots=True)
class Prompt:
    """One generation: what it reads, and how much it writes."""

    #: Of its tokens, those that the session's earlier calls have read or written.
    prefix_tokens: int
    fresh_tokens: int
    output_tokens: int
    #: Whether what is read and written here becomes part of the session's prefix.
    grows: bool = False

    @property
    def total_tokens(self) -> int:
        return self.prefix_tokens + self.fresh_tokens + self.output_tokens


@dataclass(slots=True)
class _Sequence:
    key: str
    session: str
    prompt: Prompt
    #: Tokens of the prompt still to be read.
    unread: float = 0.0
    #: Memory that it holds beyond its session's cache, in tokens.
    held: int = 0


@dataclass(slots=True)
class _Cache:
    """A session's prefix."""

    tokens: int = 0
    users: int = 0


@dataclass(slots=True)
class LlmCounts:
    """What an engine has done."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    evictions: int = 0
    busy_s: float = 0.0


@dataclass(slots=True)
class LlmEngine:
    """One engine. Told of time by its owner, who calls `advance` no later than `next_s`."""

    model: LlmModel
    counts: LlmCounts = field(default_factory=LlmCounts)
    _at_s: float = 0.0
    #: Tokens that each sequence of the batch would have written had it been there from the start.
    _written: float = 0.0
    _writing: list[tuple[float, str, _Sequence]] = field(
        default_factory=list[tuple[float, str, _Sequence]]
    )
    _reading: deque[_Sequence] = field(default_factory=deque[_Sequence])
    #: Those for which there is no memory yet.
    _waiting: deque[_Sequence] = field(default_factory=deque[_Sequence])
    _caches: OrderedDict[str, _Cache] = field(default_factory=OrderedDict[str, _Cache])
    _kv_used: int = 0
    _kv_batch: int = 0

    @property
    def running(self) -> int:
        """Sequences that hold memory."""
        return len(self._writing) + len(self._reading)

    def cached(self, session: str) -> int:
        """Tokens of a session's prefix that are here."""
        known = self._caches.get(session)
        return 0 if known is None else known.tokens

    def submit(self, key: str, session: str, prompt: Prompt, now_s: float) -> None:
        """Take a call in; `advance` says when it is done."""
        self._flow(now_s)
        self._waiting.append(_Sequence(key, session, prompt))
        self._admit()

    def advance(self, now_s: float) -> list[str]:
        """Let time pass; return the calls that are done, in order."""
        self._flow(now_s)
        done: list[str] = []
        while self._writing and self._writing[0][0] <= self._written + _EPSILON:
            _, key, sequence = heapq.heappop(self._writing)
            self._leave(sequence)
            done.append(key)
        if self._reading and self._reading[0].unread <= _EPSILON:
            self._begin_writing(self._reading.popleft())
        if done:
            self._admit()
        return done

    def next_s(self) -> float:
        """Return when `advance` has something to do; infinity when nothing runs."""
        step_s = self._step_s()
        soonest = math.inf
        if self._reading:
            chunks = max(0.0, self._reading[0].unread) / self.model.chunk_tokens
            soonest = chunks * step_s
        if self._writing:
            soonest = min(soonest, max(0.0, self._writing[0][0] - self._written) * step_s)
        return self._at_s + soonest

    def drop(self, session: str) -> None:
        """Forget a session's prefix: it has gone elsewhere."""
        known = self._caches.get(session)
        if known is not None and not known.users:
            self._kv_used -= known.tokens
            del self._caches[session]

    def _step_s(self) -> float:
        return self.model.step_time_s(len(self._writing), self._kv_batch, reads=bool(self._reading))

    def _flow(self, now_s: float) -> None:
        passed_s = now_s - self._at_s
        if passed_s <= 0:
            return
        self._at_s = now_s
        if not self.running:
            return
        self.counts.busy_s += passed_s
        steps = passed_s / self._step_s()
        if self._reading:
            self._reading[0].unread -= steps * self.model.chunk_tokens
        if self._writing:
            self._written += steps

    def _admit(self) -> None:
        """Give memory to those who wait, in order, as far as there is any."""
        while self._waiting:
            sequence = self._waiting[0]
            prompt = sequence.prompt
            hit = min(prompt.prefix_tokens, self.cached(sequence.session))
            needed = prompt.total_tokens - hit
            cache = self._caches.get(sequence.session) if sequence.session else None
            if cache is not None:
                cache.users += 1
            if not self._make_room(needed) and self.running:
                if cache is not None:
                    cache.users -= 1
                return
            self._waiting.popleft()
            if sequence.session:
                if cache is None:
                    cache = self._caches[sequence.session] = _Cache(users=1)
                self._caches.move_to_end(sequence.session)
            sequence.held = needed
            sequence.unread = float(prompt.prefix_tokens + prompt.fresh_tokens - hit)
            self._kv_used += needed
            self._count(prompt, hit)
            self._reading.append(sequence)

    def _count(self, prompt: Prompt, hit: int) -> None:
        self.counts.prompt_tokens += prompt.prefix_tokens + prompt.fresh_tokens
        self.counts.cached_tokens += hit
        self.counts.output_tokens += prompt.output_tokens

    def _make_room(self, tokens: int) -> bool:
        missing = self._kv_used + tokens - self.model.kv_tokens
        victims: list[str] = []
        for session, cache in self._caches.items():  # The least recently used first.
            if missing <= 0:
                break
            if not cache.users:
                missing -= cache.tokens
                victims.append(session)
        for session in victims:
            self.counts.evictions += 1
            self.drop(session)
        return missing <= 0

    def _begin_writing(self, sequence: _Sequence) -> None:
        target = self._written + max(1, sequence.prompt.output_tokens)
        heapq.heappush(self._writing, (target, sequence.key, sequence))
        self._kv_batch += sequence.prompt.total_tokens

    def _leave(self, sequence: _Sequence) -> None:
        prompt = sequence.prompt
        self._kv_batch -= prompt.total_tokens
        self._kv_used -= sequence.held
        if not sequence.session:
            return
        cache = self._caches[sequence.session]
        cache.users -= 1
        stays = prompt.total_tokens if prompt.grows else prompt.prefix_tokens
        if stays > cache.tokens:
            self._kv_used += stays - cache.tokens
            cache.tokens = stays
        if not cache.tokens and not cache.users:
            del self._caches[sequence.session]
