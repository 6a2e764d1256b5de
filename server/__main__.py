"""`python -m server` and the command `parlando`.

This module imports nothing of ours: the processes of the engines, which are started from it, import it again.
"""

import gc
import sys


def main() -> None:
    if sys.argv[1:2] == ["serve"]:
        gc.disable()  # a tenth of a start, for no garbage; `keep_from_collector` turns it on
        from server.serve_command import app
    else:
        from server.cli import app
    app()


if __name__ == "__main__":
    main()
