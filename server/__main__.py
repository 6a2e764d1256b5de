"""`python -m server` and the command `parlando`.

This module imports nothing: the processes of the engines, which are started from it, import it again.
"""

import sys


def main() -> None:
    if sys.argv[1:2] == ["serve"]:
        from server.serve_command import app
    else:
        from server.cli import app
    app()


if __name__ == "__main__":
    main()
