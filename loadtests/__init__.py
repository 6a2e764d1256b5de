"""Load tests: a stranger with a socket and a playback clock. Imports nothing of the server; docs/load-tests.md."""
