"""A server with a tiny random bundle of a family, reached through every protocol."""

from __future__ import annotations

from engines.families.bundle import Bundle
from tests.edge.conftest import RunningServer, free_port

TEXT = "Well, this is said. Then we go on, word by word, to the end."
SEED = 5


class FamilyServer(RunningServer):
    def __init__(self, bundle: Bundle) -> None:
        """The tests of the protocols ask for voices of other bundles."""
        self.wyoming_port = free_port()
        voice = bundle.voices[0].id
        aliases = ",".join(f"{name}={voice}" for name in ("rms", "alba") if name != voice)
        settings = {"slots": "4", "seed": str(SEED), "voice_aliases": aliases, "wyoming_port": str(self.wyoming_port)}
        super().__init__(bundle=str(bundle.folder), **settings)
