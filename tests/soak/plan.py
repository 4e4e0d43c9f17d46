"""What happens in a sequence, as a pure function of the run's seed and the sequence's number: replayable, and dealt so
that every kind of fault falls into every state of sync.

Kinds are dealt like cards: a deck holds each cheap kind once for each state, shuffled afresh for each deck. What costs
the start of a process comes by turns instead, and the meter's register passes its end once in each sequence.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

STATES = ("online", "backlog", "backoff", "told to wait", "unverified", "hold")
"""What sync may be about when a fault strikes."""

CHEAP = (
    "kill reader", "kill sync", "pause reader", "pause sync", "pause cloud", "link cut", "black hole",
    "reset in request", "reset in answer", "lost answer", "doubled request", "doubled answer", "corrupted answer",
    "late answer", "5xx", "unsigned 4xx", "portal", "forged answer", "reader cannot commit", "sync cannot commit",
    "cloud locked", "meter unplugged",
)  # fmt: skip
BY_TURNS = {"kill cloud": 3, "cloud cannot commit": 3, "clock skew": 3, "cloud restored": 4}
"""Kinds that every so many sequences have one of."""

ONCE = ("rollover",)
KINDS = (*CHEAP, *BY_TURNS, *ONCE)
CARDS = 20
"""Cheap faults in a sequence."""

ENOUGH = len(STATES) * max(BY_TURNS.values())
"""From so many sequences on, every cell has had its turn."""


@dataclass(frozen=True)
class Card:
    """One fault: what, and during which state of sync."""

    kind: str
    state: str


@dataclass(frozen=True)
class Plan:
    """One sequence. `dice` is seeded for everything that is drawn while it runs."""

    seed: int
    index: int
    cards: tuple[Card, ...]

    def dice(self) -> random.Random:
        return random.Random(f"{self.seed}:{self.index}:dice")


def plan(seed: int, index: int) -> Plan:
    """The sequence number `index`, from 0, of the run with this seed."""
    cards = [_dealt(seed, index * CARDS + n) for n in range(CARDS)]
    cards += [Card(kind, _turn(index)) for kind in ONCE]
    for shift, (kind, every) in enumerate(BY_TURNS.items()):
        if (index + shift) % every == 0:
            cards.append(Card(kind, _turn((index + shift) // every)))
    dice = random.Random(f"{seed}:{index}:order")
    order = list(STATES)
    dice.shuffle(order)
    dice.shuffle(cards)
    # By state, so that sync is not led from one to another for each fault; states in any order.
    return Plan(seed, index, tuple(sorted(cards, key=lambda card: order.index(card.state))))


def _turn(number: int) -> str:
    return STATES[number % len(STATES)]


def _dealt(seed: int, number: int) -> Card:
    deck_size = len(CHEAP) * len(STATES)
    deck = [Card(kind, state) for kind in CHEAP for state in STATES]
    random.Random(f"{seed}:{number // deck_size}:deck").shuffle(deck)
    return deck[number % deck_size]
