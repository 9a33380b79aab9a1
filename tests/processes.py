"""Programs that tests start."""

import subprocess


def end(process: subprocess.Popen[bytes], seconds: float = 10.0) -> None:
    """Ask it to end, and make it end if it doesn't; harmless if it has."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)
