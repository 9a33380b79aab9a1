"""Where and how a call is recorded."""

from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from active_call.core.errors import LocalProtocolError
from active_call.core.names import safe_name
from active_call.wire.options import RecorderOption

_FLUSH_MS = 200


@dataclass(frozen=True, slots=True)
class RecordingPlan:
    """One recording."""

    path: str
    rate_hz: int = 16_000
    flush_ms: int = _FLUSH_MS
    part: int = 1

    def next_part(self) -> "RecordingPlan":
        """The same into another file, `name-2.wav` after `name.wav`."""
        path, number = Path(self.path), self.part + 1
        stem = path.stem.removesuffix(f"-{self.part}") if self.part > 1 else path.stem
        return replace(self, path=str(path.with_name(f"{stem}-{number}{path.suffix}")), part=number)


@dataclass(frozen=True, slots=True)
class RecordingPolicy:
    """What the configuration says about recordings."""

    root: Path = Path("./config/recorders")
    every_call: bool = False
    option: RecorderOption = field(default_factory=RecorderOption)

    def plan(self, asked: RecorderOption | None, call_id: str, *, trusted: bool) -> RecordingPlan | None:
        """How a call is recorded that was asked to be (or not); None: not at all.

        The operator (`trusted`) may name any file. A client's file lies below the root, an absolute one too.
        Raises LocalProtocolError for a client's name with "..".
        """
        option = asked or (self.option if self.every_call else None)
        if option is None:
            return None
        given = option.recorder_file
        if not given and asked is not None:
            given, trusted = self.option.recorder_file, True
        file = (given or "{id}").replace("{id}", safe_name(call_id))
        file = file if file.endswith(".wav") else f"{file}.wav"
        if asked is None or trusted:
            path = self.root / file
        else:
            path = below(self.root, file, what="recorder.recorderFile")
        return RecordingPlan(str(path), option.samplerate, option.ptime or _FLUSH_MS)


def below(root: Path, name: str, *, what: str) -> Path:
    """`name`, which a client chose, below `root`; an absolute one is taken below it too.

    Raises LocalProtocolError, naming the field `what`, for a name that would leave it.
    """
    parts = PurePosixPath(name.replace("\\", "/")).parts
    parts = tuple(part for part in parts if part != "/" and part != "//")
    if not parts:
        raise LocalProtocolError(f"{what} is empty; name a file")
    if ".." in parts or "\0" in name:
        raise LocalProtocolError(f'{what} "{name}" would leave its folder; name a file below it, without ".."')
    return root.joinpath(*parts)
