"""The command `active-call`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from active_call.cli.arguments import parse_arguments
from active_call.core.errors import ActiveCallError, ConfigError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the result is the exit code: 2 for what the operator must correct, 1 for what failed."""
    try:
        return _run(argv)
    except ConfigError as error:
        _complain(error)
        return 2
    except ActiveCallError as error:
        _complain(error)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(argv: Sequence[str] | None) -> int:
    # Each command imports what it needs: --version and errors answer at once.
    arguments = parse_arguments(argv)
    if arguments.command == "schema":
        import json

        from active_call.api.schema import json_schema

        print(json.dumps(json_schema(), indent=2))
        return 0
    from active_call.config import load_config
    from active_call.config.loader import load_env

    load_env(Path.cwd())
    if arguments.command == "demo":
        from active_call.cli.demo import run_demo

        return run_demo(once=arguments.once)
    config = load_config(arguments.conf, arguments.overrides)
    if arguments.trace is not None:
        from active_call.cli.trace import run_trace

        return run_trace(arguments.trace, Path(config.recording.path))
    from active_call.cli.serve import serve

    return serve(config, call=arguments.call)


def _complain(error: Exception) -> None:
    for line in str(error).splitlines():
        print(f"active-call: {line}", file=sys.stderr)
