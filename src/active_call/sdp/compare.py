"""Whether two descriptions mean the same session."""

_NEWS_ONLY = ("t=", "a=ssrc:", "a=msid:")


def same_session(one: bytes, other: bytes) -> bool:
    """Whether they differ at most in what changes nothing: times, SSRCs, who wrote them, blank lines.

    Of `o=` only session id and version count: with another version nothing is taken to be the same.
    """
    return one == other or _essence(one) == _essence(other)


def _essence(sdp: bytes) -> list[str]:
    lines = []
    for raw in sdp.decode("utf-8", "replace").splitlines():
        line = raw.strip()
        if line.startswith("o="):
            line = " ".join(line.split()[1:3])
        if line and not line.startswith(_NEWS_ONLY):
            lines.append(line)
    return lines
