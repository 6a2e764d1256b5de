"""The bytes of forty utterances stay what they are while code moves."""

from __future__ import annotations

import json

import pytest

from engines.families.phone_pointer.bundle import Bundle
from tests.engine.pinned import TABLE, engines_of_all_kinds, hash_all, kind, utterances


def test_bytes_are_pinned(bundle: Bundle) -> None:
    table, unknown = json.loads(TABLE.read_text()), []
    engines = {kind(engine): engine for engine in engines_of_all_kinds(bundle)}
    for name, engine in engines.items():
        if name not in table:
            unknown.append(name)
            continue
        found = hash_all(engine)
        assert len(found) == len(utterances()) == 40
        changed = [one for one in found if found[one] != table[name][one]]
        assert not changed, f"{len(changed)} of {len(found)} utterances differ on {name}: {changed[:3]}"
    for engine in engines.values():
        engine.close()
    if len(unknown) == len(engines):
        pytest.skip(f"no hashes for {'; '.join(unknown)}: python -m tests.engine.pinned --write makes them")
