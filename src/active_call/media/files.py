"""Sounds by the name of a file or by URL: found, fetched, cached, decoded."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol

from active_call.core.audio import Pcm
from active_call.core.errors import MediaError
from active_call.core.streams import closing
from active_call.core.urls import mask_urls
from active_call.media.cache import DOWNLOAD, SOUND, Draft, MediaCache, cache_key
from active_call.media.decoding import decode
from active_call.media.wav import WavDecoder, is_wav
from active_call.outbound.guard import Origin

_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_MOST_SOUND_BYTES = 64 << 20
"""Of a sound that is looped: half an hour, which the media plane keeps in memory."""


class Fetch(Protocol):
    """What is needed of Outbound."""

    def fetch(self, url: str, origin: Origin, *, limit_bytes: int | None = None) -> AsyncIterator[bytes]:
        """The body of a GET that succeeded. Raises GuardError, FetchError."""
        ...


class MediaSource:
    """Where the sounds of all calls come from. Without `cache` or `outbound` only files are played."""

    def __init__(
        self,
        root: Path = Path("./config/media"),
        *,
        cache: MediaCache | None = None,
        outbound: Fetch | None = None,
    ) -> None:
        """`root`: the folder of the files that clients may name."""
        self.cache = cache
        self._root = root
        self._outbound = outbound

    async def open(self, name: str, origin: Origin) -> AsyncIterator[Pcm]:
        """The 16 kHz samples of a file or URL, in pieces, the first one soon.

        Raises MediaError, which names the file, and for URLs GuardError and FetchError.
        """
        try:
            pieces = self._fetched(name, origin) if _URL.match(name) else decode(self._file(name, origin))
            async with closing(pieces) as stream:
                async for pcm in stream:
                    yield pcm
        except (OSError, MediaError) as error:
            raise _named(name, error) from None

    async def exists(self, name: str, origin: Origin) -> bool:
        """Whether there is such a file. A URL is not looked at: True."""
        try:
            return bool(_URL.match(name)) or await asyncio.to_thread(self._file(name, origin).is_file)
        except (OSError, MediaError):
            return False

    async def sound_file(self, name: str, origin: Origin) -> Path:
        """A file or URL, decoded into a cache entry of raw 16 kHz int16 LE samples. Raises as `open` does."""
        if self.cache is None:
            raise _named(name, MediaError("there is no media cache to decode it into"))
        try:
            key = cache_key(
                sound=name, origin=origin, version=await asyncio.to_thread(self._version, name, origin)
            )
            if await asyncio.to_thread(self.cache.size, key, SOUND):
                return self.cache.path(key, SOUND)
            async with _drafted(self.cache, key, SOUND) as draft, closing(self.open(name, origin)) as pieces:
                size = 0
                async for pcm in pieces:
                    size += pcm.nbytes
                    if size > _MOST_SOUND_BYTES:
                        raise MediaError("longer than half an hour; only shorter sounds are looped")
                    await asyncio.to_thread(draft.append, pcm)
                return await asyncio.to_thread(draft.keep)
        except (OSError, MediaError) as error:
            raise _named(name, error) from None

    def _file(self, name: str, origin: Origin) -> Path:
        """Where a file is. An operator's name is free; a client's lies below the root, an absolute one too.

        What came up in the call (from a language model) lies below the working directory, or else the root.
        """
        if "\0" in name or not name.strip():
            raise MediaError("no file has such a name")
        if origin is Origin.OPERATOR:
            return Path(name)
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if ".." in parts:
            raise MediaError(f'leaves its folder; name a file below {self._root}, without ".."')
        given = Path(*(part for part in parts if part.strip("/")))
        below = given if given.is_relative_to(self._root) else self._root / given
        return given if origin is Origin.CALL and given.is_file() else below

    def _version(self, name: str, origin: Origin) -> list[int]:
        """Changes if the file does."""
        if _URL.match(name):
            return []
        status = self._file(name, origin).stat()
        return [status.st_mtime_ns, status.st_size]

    async def _fetched(self, url: str, origin: Origin) -> AsyncIterator[Pcm]:
        if self.cache is None or self._outbound is None:
            raise MediaError("URLs can't be fetched here; name a file")
        # By origin: what an operator's URL brought is not for a caller who guesses it.
        key = cache_key(url=url, origin=origin)
        if await asyncio.to_thread(self.cache.size, key, DOWNLOAD):
            async for pcm in decode(self.cache.path(key, DOWNLOAD)):
                yield pcm
            return
        async with (
            _drafted(self.cache, key, DOWNLOAD) as draft,
            closing(self._outbound.fetch(url, origin)) as body,
        ):
            async for pcm in _decoded_meanwhile(body, draft):
                yield pcm


async def _decoded_meanwhile(body: AsyncIterator[bytes], draft: Draft) -> AsyncIterator[Pcm]:
    """Write `body` into `draft` and decode it: WAV as it comes, everything else when it is complete.

    A draft that turned out to be audio is kept.
    """
    head = b""
    decoder: WavDecoder | None = None
    sounds = False
    async for data in body:
        await asyncio.to_thread(draft.write, data)
        if decoder is None and len(head) < 12:
            head += data
            decoder = WavDecoder() if is_wav(head) else None
            data = head
        if decoder is not None:
            pcm = await asyncio.to_thread(decoder.feed, data)
            if len(pcm):
                sounds = True
                yield pcm
    if sounds and decoder is not None:
        await asyncio.to_thread(draft.keep)
        yield await asyncio.to_thread(decoder.finish)
        return
    await asyncio.to_thread(draft.flush)
    async for pcm in decode(draft.path):
        await asyncio.to_thread(draft.keep)
        yield pcm


@asynccontextmanager
async def _drafted(cache: MediaCache, key: str, kind: str) -> AsyncIterator[Draft]:
    draft = await asyncio.to_thread(cache.draft, key, kind)
    try:
        yield draft
    finally:
        draft.drop()


def _named(name: str, error: OSError | MediaError) -> MediaError:
    """`error`, which says what it is about."""
    shown = f'"{mask_urls(name)}"'
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return MediaError(text if text.startswith(shown) else f"{shown}: {text}")
