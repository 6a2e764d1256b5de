"""The server's own certificate, read again when its files change: connections from then on get the new one.

A pair that does not fit, as in the middle of a rotation, is logged and leaves the certificate as it was.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

from server.logs import get_logger
from server.watched_file import WatchedFile

log = get_logger()


class Certificate:
    def __init__(
        self, context: ssl.SSLContext, certfile: Path, keyfile: Path | None, clock: Callable[[], float]
    ) -> None:
        """`context` has been made with the files as they are."""
        self._context, self._certfile, self._keyfile = context, certfile, keyfile
        self._files = [WatchedFile(path, clock) for path in (certfile, keyfile) if path is not None]

    def refresh(self) -> None:
        """Looks at most once a second."""
        changed = [file for file in self._files if file.has_changed()]
        if not changed:
            return
        try:
            # First elsewhere: a key that does not fit would leave the context without one.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self._certfile, self._keyfile)
            self._context.load_cert_chain(self._certfile, self._keyfile)
        except OSError as error:
            log.error("certificate_not_read", file=str(self._certfile), reason=error.strerror or str(error))
        else:
            log.info("certificate_read", file=str(self._certfile))
