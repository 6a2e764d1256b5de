"""What is wrong with a published checkpoint, in words that name the file, the value and what would be right."""

from __future__ import annotations

from engines.errors import ParlandoError


class CheckpointError(ParlandoError):
    code = "invalid_checkpoint"
