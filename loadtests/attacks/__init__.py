"""Attacks to measure beside a listener. Each lives in a process of its own and goes on until that is ended."""

from __future__ import annotations

from loadtests.attacks import protocols, sockets, texts
from loadtests.attacks.attack import Attack

ATTACKS: tuple[Attack, ...] = (*texts.ATTACKS, *sockets.ATTACKS, *protocols.ATTACKS)
