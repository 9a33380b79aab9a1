"""Runs the gateway and its HTTP service until a signal, or until the one call of `--call` has ended."""

import asyncio
import functools
import logging
import os
import signal
import socket
from typing import TYPE_CHECKING

import uvloop

from active_call.cli.garbage import collect
from active_call.config import Config, PlaybookHandler
from active_call.core import log as logs
from active_call.core.errors import ActiveCallError, ConfigError

if TYPE_CHECKING:
    from active_call.call.call import Call
    from active_call.call.gateway import Gateway

log = logging.getLogger(__name__)

_EXIT_SECONDS = 5.0


def serve(config: Config, *, call: str | None) -> int:
    """Run the gateway, and place one call to the URI `call` if given. The result is the process's exit code.

    Raises ActiveCallError if something can't be started.
    """
    playbook = config.handler.default if isinstance(config.handler, PlaybookHandler) else None
    if call is not None and playbook is None:
        raise ConfigError("--call: needs a playbook to talk with; add --handler greeting.md")
    try:
        logs.setup(config.log_level, config.log_file)
    except OSError as error:
        raise ConfigError(f"log_file: {config.log_file}: {os.strerror(error.errno or 0)}") from None
    for line in config.not_effective():
        log.warning("%s", line)
    # The HTTP port first: from here on, clients queue instead of being refused.
    from active_call.api.listener import bind

    listener = bind(*config.http_address)
    from active_call.call.gateway import Gateway

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            return runner.run(run(Gateway(config), config, listener, call=call, playbook=playbook))
        except BaseExceptionGroup as group:
            raise first_error(group) from None


async def run(
    gateway: "Gateway",
    config: Config,
    listener: socket.socket,
    *,
    call: str | None = None,
    playbook: str | None = None,
) -> int:
    """Start the gateway and HTTP, and see both through to their end. The result is the exit code."""
    stopping = asyncio.Event()
    # A signal during the one call of `--call` is meant to end that call.
    grace = config.graceful_shutdown_timeout if config.graceful_shutdown and call is None else 0.0
    _stop_on_signals(stopping, grace)
    answered = True
    async with asyncio.TaskGroup() as tasks:
        http_stopping = asyncio.Event()
        tasks.create_task(_serve_http(gateway, config, listener, http_stopping))
        try:
            async with gateway:
                host, port = listener.getsockname()[:2]
                log.info("- http://%s:%d/health", f"[{host}]" if ":" in host else host, port)
                collector = tasks.create_task(collect(gateway.counts))
                if call is not None and playbook is not None:
                    answered = await _place_call(gateway, call, playbook, stopping)
                else:
                    await stopping.wait()
                await gateway.drain(grace)
                collector.cancel()
        finally:
            http_stopping.set()
    return 0 if answered else 1


async def _serve_http(
    gateway: "Gateway", config: Config, listener: socket.socket, stopping: asyncio.Event
) -> None:
    # Imported here, the framework loads while the media process sets itself up on another core.
    from active_call.api.server import HttpServer

    await HttpServer(gateway, config, listener).run(stopping)


async def _place_call(gateway: "Gateway", uri: str, playbook: str, stopping: asyncio.Event) -> bool:
    """Call `uri` and wait until that call's record is written, or for `stopping`. Whether it was answered."""
    placed: Call | None = None

    def on_record(call: "Call", _path: object) -> None:
        if call is placed:
            stopping.set()

    gateway.calls.on_record = on_record
    try:
        placed = await gateway.call(uri, playbook)
    except FileNotFoundError:
        raise ConfigError(f"--call: there is no playbook {playbook}, here or below config/playbook") from None
    except OSError as error:
        raise ConfigError(f"--call: playbook {playbook}: {os.strerror(error.errno or 0)}") from None
    await stopping.wait()
    return placed.times.answer is not None


def _stop_on_signals(stopping: asyncio.Event, grace: float) -> None:
    """The first SIGINT or SIGTERM sets `stopping`; the second, or too long after `grace`, ends the process."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)

    def stop(number: signal.Signals) -> None:
        log.info(
            "- %s: no new calls; live ones have %g s to end; once more to exit at once", number.name, grace
        )
        stopping.set()
        for each in numbers:
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)
        loop.call_later(grace + _EXIT_SECONDS, _give_up)

    for number in numbers:
        loop.add_signal_handler(number, functools.partial(stop, number))


def _give_up() -> None:
    """The media processes end by themselves, closing their files, when this one is gone."""
    log.error("- not everything ended in time; exiting")
    logging.shutdown()
    os._exit(1)


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that the operator should read: one of ours if there is any."""
    ours = group.subgroup(ActiveCallError)
    error: BaseException = ours or group
    while isinstance(error, BaseExceptionGroup) and (ours or len(error.exceptions) == 1):
        error = error.exceptions[0]
    return error
