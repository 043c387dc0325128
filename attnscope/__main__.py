"""`python -m attnscope` is `attnscope`, where the command itself is not on the path."""

import sys

from attnscope.cli import main

if __name__ == "__main__":
    sys.exit(main())
