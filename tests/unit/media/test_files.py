"""Names and URLs of sounds, over a network that is a dictionary."""

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import soundfile

from active_call.core.audio import Pcm
from active_call.core.errors import MediaError
from active_call.media.cache import MediaCache
from active_call.media.files import MediaSource
from active_call.outbound import FetchError, Origin


def sound(format: str = "WAV", seconds: float = 2.0) -> bytes:
    """A file of noise."""
    samples = np.random.default_rng(1).uniform(-0.5, 0.5, round(16_000 * seconds))
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, format=format)
    return file.getvalue()


class Network:
    """Serves bodies in pieces; notes what was fetched, and how much of it."""

    def __init__(self, **bodies: bytes) -> None:
        self.bodies = {f"http://media.example/{name}": body for name, body in bodies.items()}
        self.fetched: list[tuple[str, Origin]] = []
        self.pieces = 0
        self.breaks_off = False

    async def fetch(self, url: str, origin: Origin, *, limit_bytes: int | None = None) -> AsyncIterator[bytes]:
        self.fetched.append((url, origin))
        if url not in self.bodies:
            raise FetchError(f"{url} answered 404", 404)
        body = self.bodies[url]
        for at in range(0, len(body), 7_777):
            self.pieces += 1
            yield body[at : at + 7_777]
            if self.breaks_off:
                raise FetchError(f"{url} broke off")


async def read(source: MediaSource, name: str, origin: Origin = Origin.CLIENT) -> Pcm:
    pieces = [pcm async for pcm in source.open(name, origin)]
    return np.concatenate(pieces)


def source(tmp_path: Path, network: Network) -> MediaSource:
    return MediaSource(tmp_path / "media", cache=MediaCache(tmp_path / "cache"), outbound=network)


@pytest.mark.parametrize("format", ["WAV", "MP3", "OGG", "FLAC"])
def test_a_url_is_fetched_once(tmp_path: Path, format: str) -> None:
    network = Network(a=sound(format))
    media = source(tmp_path, network)
    first, second = (asyncio.run(read(media, "http://media.example/a")) for _ in range(2))
    assert len(first) == pytest.approx(32_000, abs=2_000)
    assert np.array_equal(first, second)
    assert len(network.fetched) == 1


def test_what_an_operator_may_fetch_is_not_there_for_a_caller(tmp_path: Path) -> None:
    network = Network(a=sound())
    media = source(tmp_path, network)
    for origin in (Origin.OPERATOR, Origin.CALL, Origin.CALL):
        asyncio.run(read(media, "http://media.example/a", origin))
    assert [origin for _, origin in network.fetched] == [Origin.OPERATOR, Origin.CALL]


def test_wav_is_decoded_while_it_comes(tmp_path: Path) -> None:
    network = Network(a=sound(seconds=10))

    async def first() -> int:
        pieces = cast(
            "AsyncGenerator[Pcm]", source(tmp_path, network).open("http://media.example/a", Origin.CLIENT)
        )
        samples = len(await anext(pieces))
        await pieces.aclose()
        return samples

    assert asyncio.run(first()) > 3_000
    assert network.pieces == 1
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_failure_is_never_cached(tmp_path: Path) -> None:
    network = Network(page=b"<html>sorry</html>", empty=b"", a=sound())
    media = source(tmp_path, network)
    with pytest.raises(FetchError, match="404"):
        asyncio.run(read(media, "http://media.example/none"))
    for name, text in (("page", "not an audio file"), ("empty", "the file is empty")):
        with pytest.raises(MediaError, match=f'^"http://media.example/{name}": {text}'):
            asyncio.run(read(media, f"http://media.example/{name}"))
    network.breaks_off = True
    with pytest.raises(FetchError, match="broke off"):
        asyncio.run(read(media, "http://media.example/a"))
    assert list((tmp_path / "cache").iterdir()) == []


def test_secrets_of_urls_stay_out_of_errors(tmp_path: Path) -> None:
    network = Network()
    network.bodies["http://media.example/a?token=hush"] = b"no audio"
    with pytest.raises(MediaError) as refusal:
        asyncio.run(read(source(tmp_path, network), "http://media.example/a?token=hush"))
    assert "hush" not in str(refusal.value)


def test_without_a_cache_urls_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="name a file"):
        asyncio.run(read(MediaSource(tmp_path), "http://media.example/a"))


@pytest.mark.parametrize(
    "name", ["a.wav", "/a.wav", "sub/../a.wav", "..\\a.wav", "../a.wav", "/etc/a.wav", " ", "a\0"]
)
def test_clients_stay_below_the_root(tmp_path: Path, name: str) -> None:
    media = tmp_path / "media"
    media.mkdir()
    (media / "a.wav").write_bytes(sound())
    (tmp_path / "a.wav").write_bytes(sound())
    work = read(MediaSource(media), name)
    if name in ("a.wav", "/a.wav"):
        assert len(asyncio.run(work)) == 32_000
        return
    with pytest.raises(MediaError):
        asyncio.run(work)


def test_the_roots_own_name_may_stand_before_a_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config/media").mkdir(parents=True)
    Path("config/media/a.wav").write_bytes(sound())
    for name in ("a.wav", "./a.wav", "config/media/a.wav", "./config/media/a.wav"):
        assert len(asyncio.run(read(MediaSource(), name))) == 32_000


def test_operators_are_free_and_models_stay_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    (work / "menu.wav").write_bytes(sound())
    (tmp_path / "a.wav").write_bytes(sound())
    media = MediaSource()
    assert len(asyncio.run(read(media, str(tmp_path / "a.wav"), Origin.OPERATOR))) == 32_000
    assert len(asyncio.run(read(media, "menu.wav", Origin.CALL))) == 32_000
    for name in (str(tmp_path / "a.wav"), "../a.wav"):
        with pytest.raises(MediaError):
            asyncio.run(read(media, name, Origin.CALL))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match='^"none.wav": No such file or directory$'):
        asyncio.run(read(MediaSource(tmp_path), "none.wav"))


def test_a_sound_file_is_decoded_once_and_again_when_it_changed(tmp_path: Path) -> None:
    media = source(tmp_path, Network())
    original = tmp_path / "office.ogg"
    original.write_bytes(sound("OGG"))
    raw = asyncio.run(media.sound_file(str(original), Origin.OPERATOR))
    assert raw.stat().st_size == 64_000
    assert asyncio.run(media.sound_file(str(original), Origin.OPERATOR)) == raw
    original.write_bytes(sound("OGG", seconds=1))
    assert asyncio.run(media.sound_file(str(original), Origin.OPERATOR)) != raw


def test_a_sound_file_that_is_no_sound_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"no")
    media = source(tmp_path, Network())
    with pytest.raises(MediaError, match="not an audio file"):
        asyncio.run(media.sound_file(str(tmp_path / "a.wav"), Origin.OPERATOR))
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "origin", "exists"),
    [
        ("a.wav", Origin.CLIENT, True),
        ("/a.wav", Origin.CLIENT, True),
        ("b.wav", Origin.CLIENT, False),
        ("../media/a.wav", Origin.CLIENT, False),
        ("", Origin.CLIENT, False),
        ("http://media.example/never-fetched", Origin.CLIENT, True),
        ("/nowhere/a.wav", Origin.OPERATOR, False),
    ],
)
def test_whether_a_file_exists(tmp_path: Path, name: str, origin: Origin, exists: bool) -> None:
    network = Network()
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "a.wav").write_bytes(sound())
    assert asyncio.run(source(tmp_path, network).exists(name, origin)) is exists
    assert network.fetched == []
