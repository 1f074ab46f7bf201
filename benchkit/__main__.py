"""`python -m benchkit` is `benchkit`, for shells that do not find the command."""

import sys

if __name__ == "__main__":
    try:
        from benchkit.cli import main

        sys.exit(main())
    except KeyboardInterrupt:  # Ctrl-C while Python still reads the modules
        sys.exit(130)
