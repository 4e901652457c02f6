"""`python -m ulmfit` is the command `ulmfit`."""

import sys

from ulmfit.cli import main

if __name__ == "__main__":
    sys.exit(main())
