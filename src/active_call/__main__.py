"""`python -m active_call` is the command `active-call`."""

import sys

from active_call.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
