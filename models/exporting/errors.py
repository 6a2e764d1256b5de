"""What stops an export, in words that say what would be right."""

from __future__ import annotations

from engines.errors import ParlandoError


class ExportError(ParlandoError):
    code = "export_failed"


class ParityError(ExportError):
    """The exported graph says something else than the network it came from."""
