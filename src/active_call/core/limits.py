"""What the operating system lets a process have."""

import resource

_DESCRIPTORS = 65_536
"""A call takes two sockets in each of three processes, and some files."""


def raise_descriptor_limit() -> None:
    """As many open files as we are allowed, up to what the largest gateway needs; fewer is no error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
