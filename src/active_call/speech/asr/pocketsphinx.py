"""Speech recognition on this machine by PocketSphinx and its bundled American English model.

Good at telling apart the phrases it is given (`phrases` of the option, `expect`), and at saying that it heard
none of them. Without phrases it takes dictation: that is poor, slower, and without intermediate results.
"""

import asyncio
import atexit
import logging
import os
import queue
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib.util import find_spec

import msgspec

from active_call.core.errors import ProviderError
from active_call.speech.asr.pocketsphinx_worker import Answer, Request, read_message, write_message
from active_call.speech.asr.utterance import Heard, Utterance, UtteranceStream
from active_call.wire.options import AsrOption

if find_spec("pocketsphinx") is None:  # only the workers import it
    raise ImportError("pocketsphinx is not installed", name="pocketsphinx")

_log = logging.getLogger(__name__)
_PROCESSES = max(1, min(4, (os.cpu_count() or 2) - 1))


class _Worker:
    """One decoding process."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "active_call.speech.asr.pocketsphinx_worker"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, request: Request) -> Answer:
        """Blocks until the answer. Raises OSError or EOFError if the process died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        write_message(self._process.stdin, request)  # type: ignore[arg-type]
        return msgspec.msgpack.decode(read_message(self._process.stdout), type=Answer)  # type: ignore[arg-type]

    def close(self) -> None:
        """End the process: at once if it is idle, by force if it is not."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


class WorkerPool:
    """Up to `size` processes, started when needed and replaced when they die; a thread waits for each."""

    def __init__(self, size: int = _PROCESSES) -> None:
        self.size = size
        self._threads = ThreadPoolExecutor(size, "pocketsphinx")
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()
        self._pending = 0
        atexit.register(self.close)

    @property
    def busy(self) -> bool:
        """Whether a request would have to wait."""
        return self._pending >= self.size

    @property
    def pids(self) -> list[int]:
        """The processes that wait for work."""
        return [worker.pid for worker in list(self._idle.queue)]

    async def ask(self, request: Request) -> Answer:
        """Have a free process decode. Raises ProviderError."""
        self._pending += 1
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._threads, self._ask, request)
        finally:
            self._pending -= 1
        if answer.error:
            raise ProviderError("pocketsphinx", f"pocketsphinx failed: {answer.error}", retryable=True)
        return answer

    def close(self) -> None:
        """End the processes."""
        self._threads.shutdown(cancel_futures=True)
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return

    def _ask(self, request: Request) -> Answer:
        for _ in range(2):  # the second time with a new process
            try:
                worker = self._idle.get_nowait()
            except queue.Empty:
                worker = _Worker()
            try:
                answer = worker.ask(request)
            except (OSError, EOFError):
                worker.close()
                _log.warning("a pocketsphinx process died; starting another")
                continue
            self._idle.put(worker)
            return answer
        raise ProviderError("pocketsphinx", "the pocketsphinx process dies", retryable=True)


class PocketSphinxAsr:
    """The recogniser `pocketsphinx`."""

    def __init__(self) -> None:
        self._pool = WorkerPool()
        self._warned: set[str] = set()

    @asynccontextmanager
    async def open(self, option: AsrOption) -> AsyncIterator[UtteranceStream]:
        """Returns once a process has its model loaded and `option.phrases` compiled. Raises ProviderError."""
        language = (option.language or "en").lower()
        if not language.startswith("en"):
            text = f'pocketsphinx has an English model only, not one for "{option.language}"'
            raise ProviderError("pocketsphinx", text)
        phrases = option.phrases or []
        self._warn(await self._pool.ask(Request(phrases, b"", final=True)))
        yield UtteranceStream(self._recognize, phrases, partials=True)

    @property
    def pids(self) -> list[int]:
        """The processes that wait for work."""
        return self._pool.pids

    def close(self) -> None:
        """End the processes; for tests, they end with this process anyway."""
        self._pool.close()

    async def _recognize(self, utterance: Utterance, phrases: Sequence[str]) -> Heard:
        if not utterance.final and (not phrases or self._pool.busy):
            return Heard("")
        answer = await self._pool.ask(Request(list(phrases), utterance.pcm.tobytes(), utterance.final))
        self._warn(answer)
        text = phrases[answer.phrase] if answer.phrase >= 0 else answer.text
        return Heard(text, answer.confidence if phrases else None)

    def _warn(self, answer: Answer) -> None:
        new = sorted(set(answer.unknown) - self._warned)
        if new:
            self._warned.update(new)
            _log.warning("pocketsphinx can't hear phrases with: %s (not in its dictionary)", ", ".join(new))
