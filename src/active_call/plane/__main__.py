"""`python -m active_call.plane`: one process of the media plane."""

import os
import sys

# The matrices of a tick fit one core; threads of the linear algebra would only take turns with the sends.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

if __name__ == "__main__":
    from active_call.plane.main import main

    sys.exit(main(sys.argv[1:]))
