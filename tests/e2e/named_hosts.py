"""The gateway where the resolver knows the names in TEST_HOSTS ("name=address ..."): run as a program."""

import os
import socket
import sys
from typing import Any

from active_call.cli.main import main

if __name__ == "__main__":
    hosts = dict(pair.split("=") for pair in os.environ["TEST_HOSTS"].split())
    look_up = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        return look_up(hosts.get(host, host), *arguments, **options)

    socket.getaddrinfo = getaddrinfo
    sys.exit(main())
