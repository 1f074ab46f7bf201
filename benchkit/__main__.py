"""`python -m benchkit` is `benchkit`, for shells that do not find the command."""

import sys

from benchkit.cli import main

if __name__ == "__main__":
    sys.exit(main())
