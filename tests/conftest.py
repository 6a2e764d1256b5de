"""What holds for every test: no time limit on single examples, since a busy machine would decide."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("parlando", deadline=None)
settings.load_profile("parlando")
