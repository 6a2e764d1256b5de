"""`python -m server` is `parlando`."""

from server.cli import main

if __name__ == "__main__":
    main()
