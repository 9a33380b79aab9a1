"""The process that decodes for `pocketsphinx`, because its decoder holds the GIL: requests in, answers out.

Started as `python -m active_call.speech.asr.pocketsphinx_worker`; lives until its standard input ends, that is,
never longer than its parent. Messages are msgpack behind a 4-byte length.
"""

import re
import signal
import struct
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

_LENGTH = struct.Struct("!I")
_GRAMMARS = 32
"""Compiled grammars kept."""
_BEAMS = {"beam": 1e-80, "wbeam": 1e-60, "pbeam": 1e-80}
_FILLER = 0.01
"""Probability of a garbage phone. The higher, the more is rejected, rightly or wrongly."""
_GARBAGE_SHARE = 0.5
"""Most garbage, measured against the words heard, that a phrase may have around it."""
_FRAME = 160
"""Samples per frame of the decoder."""
_LOUD_DB = 12
"""Sound outside of words counts as speech if it is at most so much quieter than they are."""
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_ARPABET = (
    "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH"
)
_NOISES = "<s> SIL\n</s> SIL\n<sil> SIL\n[NOISE] +NSN+\n[SPEECH] +SPN+\n"


class Request(msgspec.Struct, array_like=True):
    """Decode `pcm` (16-bit, 16 kHz), limited to `phrases` if there are any; no audio: only load and compile."""

    phrases: list[str]
    pcm: bytes
    final: bool


class Answer(msgspec.Struct, array_like=True):
    """`phrase` is an index into the request's, -1 = none of them; `text` is what was heard."""

    phrase: int = -1
    text: str = ""
    confidence: float = 0.0
    unknown: list[str] = []
    """Words without a pronunciation: phrases with them can't be heard."""
    error: str = ""


def write_message(pipe: BinaryIO, message: Request | Answer) -> None:
    """One message, flushed."""
    data = msgspec.msgpack.encode(message)
    pipe.write(_LENGTH.pack(len(data)) + data)
    pipe.flush()


def read_message(pipe: BinaryIO) -> bytes:
    """The next message undecoded. Raises EOFError at the pipe's end."""
    head = pipe.read(_LENGTH.size)
    size = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
    data = pipe.read(size)
    if not size or len(data) < size:
        raise EOFError("the pipe ended")
    return data


def words_of(phrase: str) -> list[str]:
    """A phrase as the dictionary writes it: lower case, no punctuation, digits as words."""
    spelled = re.sub(r"\d", lambda m: f" {_DIGITS[int(m[0])]} ", phrase.lower().replace("\u2019", "'"))
    return re.findall(r"[a-z]+(?:'[a-z]+)*", spelled)


class _Grammar:
    """A compiled grammar: word sequence -> index of its phrase."""

    def __init__(self, name: str, phrases: dict[tuple[str, ...], int], unknown: list[str]) -> None:
        self.name = name
        self.phrases = phrases
        self.unknown = unknown


class Recogniser:
    """Two decoders, loaded when first needed: one for grammars, one for dictation.

    Each utterance is normalised by itself (`cmn=batch`), so that no caller colours the next one.
    """

    def __init__(self) -> None:
        self._grammars: OrderedDict[tuple[str, ...], _Grammar] = OrderedDict()
        self._compiled = 0
        self._limited: Any = None
        self._free: Any = None

    def decode(self, request: Request) -> Answer:
        """The answer to `request`."""
        if request.phrases:
            return self._decode_phrases(request)
        if self._free is None:
            self._free = _decoder()
        text, _, _ = _run(self._free, request.pcm)
        return Answer(text=text)

    def _decode_phrases(self, request: Request) -> Answer:
        grammar = self._grammar(request.phrases)
        if not grammar.phrases or not request.pcm:
            return Answer(unknown=grammar.unknown)
        self._limited.activate_search(grammar.name)
        text, spoken, garbage = _run(self._limited, request.pcm)
        words = text.split()
        if not words or garbage >= _GARBAGE_SHARE * spoken:
            return Answer(unknown=grammar.unknown)
        phrase = grammar.phrases.get(tuple(words), -1)
        if phrase < 0 and request.final:  # the best path did not reach a phrase's end
            return Answer(unknown=grammar.unknown)
        confidence = round(spoken / (spoken + garbage), 3)
        return Answer(phrase, text, confidence, grammar.unknown)

    def _grammar(self, phrases: Sequence[str]) -> _Grammar:
        key = tuple(phrases)
        if key in self._grammars:
            self._grammars.move_to_end(key)
            return self._grammars[key]
        if self._limited is None:
            with tempfile.NamedTemporaryFile("w", suffix=".dict") as noises:
                noises.write(_NOISES + "".join(f"++{phone}++ {phone}\n" for phone in _ARPABET.split()))
                noises.flush()
                self._limited = _decoder(lm=None, bestpath=False, fdict=noises.name, fillprob=_FILLER, **_BEAMS)
        known: dict[tuple[str, ...], int] = {}
        unknown: list[str] = []
        for index, phrase in enumerate(phrases):
            words, missing = self._spell(phrase)
            unknown += missing
            if words and not missing:
                known.setdefault(words, index)
        self._compiled += 1
        grammar = _Grammar(f"grammar{self._compiled}", known, sorted(set(unknown)))
        if known:
            self._limited.add_fsg(
                grammar.name, self._limited.create_fsg(grammar.name, 0, 1, _transitions(list(known)))
            )
        self._grammars[key] = grammar
        if len(self._grammars) > _GRAMMARS:
            _, oldest = self._grammars.popitem(last=False)
            if oldest.phrases:
                self._limited.remove_search(oldest.name)
        return grammar

    def _spell(self, phrase: str) -> tuple[tuple[str, ...], list[str]]:
        """Dictionary words of `phrase`, and those that have no pronunciation and can't be split into such."""
        words: list[str] = []
        missing: list[str] = []
        for word in words_of(phrase):
            parts = self._parts(word)
            words += parts
            if not parts:
                missing.append(word)
        return tuple(words), missing

    def _parts(self, word: str) -> list[str]:
        known = self._limited.lookup_word
        if known(word):
            return [word]
        for cut in range(len(word) - 3, 2, -1):  # "webhook" is heard as "web hook"
            if known(word[:cut]) and known(word[cut:]):
                return [word[:cut], word[cut:]]
        if len(word) <= 4:  # "pbx" is spelled
            letters = [f"{letter}." for letter in word]
            if all(known(letter) for letter in letters):
                return letters
        return []


def _decoder(**settings: Any) -> Any:
    from pocketsphinx import Decoder

    return Decoder(loglevel="FATAL", samprate=16000, cmn="batch", **settings)


def _transitions(phrases: Sequence[tuple[str, ...]]) -> list[tuple[int, int, float, str]]:
    """Word graph with one path per phrase from state 0 to state 1."""
    arcs: list[tuple[int, int, float, str]] = []
    states = 2
    for phrase in phrases:
        state = 0
        for index, word in enumerate(phrase):
            last = index == len(phrase) - 1
            target = 1 if last else states
            states += not last
            arcs.append((state, target, 1.0 if index else 1 / len(phrases), word))
            state = target
    return arcs


def _run(decoder: Any, pcm: bytes) -> tuple[str, int, int]:
    """Text, frames of words and frames of garbage of one utterance."""
    if not pcm:
        return "", 0, 0
    decoder.start_utt()
    try:
        decoder.process_raw(pcm, full_utt=True)
    finally:
        decoder.end_utt()
    hypothesis = decoder.hyp()
    if hypothesis is None:
        return "", 0, 0
    word = np.zeros(len(pcm) // 2 // _FRAME + 1, np.bool_)
    rejected = word.copy()
    for segment in decoder.seg():
        span = slice(segment.start_frame, segment.end_frame + 1)
        if segment.word.startswith("++"):
            rejected[span] = True
        elif segment.word[0] not in "<[(":
            word[span] = True
    # The model of silence swallows words that don't fit: what is loud outside of words is garbage too.
    loudness = _loudness(pcm, len(word))
    if word.any():
        rejected |= ~word & (loudness > np.median(loudness[word]) - _LOUD_DB)
    spoken, garbage = int(word.sum()), int(rejected.sum())
    text = re.sub(r"\(\d+\)", "", hypothesis.hypstr)
    return text, spoken, garbage


def _loudness(pcm: bytes, frames: int) -> NDArray[np.float64]:
    """Level of each frame in dB, shape (frames,)."""
    samples = np.zeros(frames * _FRAME)
    samples[: len(pcm) // 2] = np.frombuffer(pcm, "<i2", len(pcm) // 2)
    level: NDArray[np.float64] = 10 * np.log10((samples.reshape(frames, _FRAME) ** 2).mean(axis=1) + 1)
    return level


def main() -> None:
    """Answer requests until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent ends us
    recogniser = Recogniser()
    while True:
        try:
            request = msgspec.msgpack.decode(read_message(sys.stdin.buffer), type=Request)
        except EOFError:
            return
        try:
            answer = recogniser.decode(request)
        except (RuntimeError, ValueError) as error:  # what the decoder raises
            answer = Answer(error=str(error) or type(error).__name__)
        try:
            write_message(sys.stdout.buffer, answer)
        except BrokenPipeError:
            return


if __name__ == "__main__":
    main()
