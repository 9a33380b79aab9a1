"""A real Kamailio: registrar, proxy with authentication, UDP, TCP and TLS, all in memory.

It treats everybody as if behind a NAT, as its sample configuration does: answers go the way requests came.
"""

import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from active_call.testing.process import free_port
from tests.interop.certificates import Certificates
from tests.processes import end, wait_listening

REALM = "pbx.test"

_CONFIG = """#!KAMAILIO
debug=2
log_stderror=yes
fork=yes
children=1
tcp_children=1
tcp_accept_no_cl=yes
enable_tls={tls}
auto_aliases=no
listen=udp:127.0.0.1:{port}
listen=tcp:127.0.0.1:{port}
{tls_listen}
alias="{realm}"
dns=no
rev_dns=no
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/"
loadmodule "tm.so"
loadmodule "tmx.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "xlog.so"
loadmodule "auth.so"
loadmodule "nathelper.so"
{tls_module}
modparam("usrloc", "db_mode", 0)
modparam("registrar", "max_expires", {max_expires})
modparam("registrar", "min_expires", {min_expires})
modparam("registrar", "default_expires", {max_expires})
modparam("auth", "algorithm", "{algorithm}")
modparam("auth", "qop", "auth")
modparam("auth", "nonce_expire", 300)
modparam("rr", "enable_full_lr", 1)
modparam("nathelper|registrar", "received_avp", "$avp(received)")

request_route {{
    force_rport();
    if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
    if (is_method("OPTIONS") && uri == myself && $rU == $null) {{ sl_send_reply("200", "OK"); exit; }}
    if (has_totag()) {{
        if (loose_route()) {{ handle_ruri_alias(); t_on_reply("NAT"); t_relay(); exit; }}
        if (is_method("ACK")) {{ if (t_check_trans()) t_relay(); exit; }}
        sl_send_reply("404", "Not Here"); exit;
    }}
    t_check_trans();
    if (is_method("INVITE|SUBSCRIBE")) {{ record_route(); set_contact_alias(); t_on_reply("NAT"); }}
    $var(password) = "";
{passwords}
    if (is_method("REGISTER")) {{
        if ($var(password) == "" || !pv_www_authenticate("{realm}", "$var(password)", "0")) {{
            www_challenge("{realm}", "1"); exit;
        }}
        xlog("L_NOTICE", "REGISTERED $fU expires=$hdr(Expires) from $proto $si:$sp\\n");
        fix_nated_register(); save("location"); exit;
    }}
    if ($fU =~ "^({users})$") {{
        if (!pv_proxy_authenticate("{realm}", "$var(password)", "0")) {{
            proxy_challenge("{realm}", "1"); exit;
        }}
        consume_credentials();
    }}
{routes}
    if (!lookup("location")) {{ sl_send_reply("404", "Not Found"); exit; }}
    t_relay();
}}

onreply_route[NAT] {{ set_contact_alias(); }}
"""


def installed() -> bool:
    """Whether Debian's kamailio is here."""
    return shutil.which("kamailio") is not None


@dataclass
class Kamailio:
    """One Kamailio on loopback. A context manager; `restart` forgets all registrations."""

    folder: Path
    accounts: dict[str, str]
    """User to password."""
    routes: dict[str, str] = field(default_factory=dict)
    """A number (as a regular expression) to the URI that it is sent to."""
    certificates: Certificates | None = None
    algorithm: str = "MD5"
    max_expires: int = 3600
    min_expires: int = 1

    def __enter__(self) -> "Kamailio":
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port, self.tls_port = free_port(), free_port()
        (self.folder / "kamailio.cfg").write_text(self._config())
        self._log = (self.folder / "kamailio.log").open("ab")
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._log.close()

    def _config(self) -> str:
        tls = self.certificates is not None
        if self.certificates is not None:
            (self.folder / "tls.cfg").write_text(
                "[server:default]\nmethod = TLSv1.2+\nverify_certificate = no\n"
                f"private_key = {self.certificates.key}\ncertificate = {self.certificates.certificate}\n"
                f"[client:default]\nverify_certificate = yes\nca_list = {self.certificates.ca}\n"
            )
        passwords = "\n".join(
            f'    if ($fU == "{user}") $var(password) = "{password}";'
            for user, password in self.accounts.items()
        )
        routes = "\n".join(
            f'    if ($rU =~ "{number}") {{ $ru = "{uri}"; t_relay(); exit; }}'
            for number, uri in self.routes.items()
        )
        return _CONFIG.format(
            tls="yes" if tls else "no",
            tls_listen=f"listen=tls:127.0.0.1:{self.tls_port}" if tls else "",
            tls_module=f'loadmodule "tls.so"\nmodparam("tls", "config", "{self.folder}/tls.cfg")'
            if tls
            else "",
            port=self.port,
            realm=REALM,
            max_expires=self.max_expires,
            min_expires=self.min_expires,
            algorithm=self.algorithm,
            passwords=passwords,
            users="|".join(self.accounts),
            routes=routes,
        )

    def _start(self) -> None:
        run = self.folder / "run"
        run.mkdir(exist_ok=True)
        command = ["kamailio", "-f", str(self.folder / "kamailio.cfg"), "-DD", "-E", "-m", "32", "-M", "4"]
        command += ["-w", str(self.folder), "-Y", str(run), "-P", str(run / "pid")]
        self._process = subprocess.Popen(
            command, stdout=self._log, stderr=self._log, stdin=subprocess.DEVNULL, start_new_session=True
        )
        wait_listening(self._process, self.port, self.log)

    def stop(self) -> None:
        """End it; harmless if it has ended."""
        end(self._process)

    def restart(self) -> None:
        """Stop and start; what was registered is forgotten."""
        self.stop()
        self._start()

    def log(self) -> str:
        path = self.folder / "kamailio.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def registrations(self, user: str) -> list[str]:
        """The lines about REGISTERs of `user` that were accepted, oldest first."""
        return [line for line in self.log().splitlines() if f"REGISTERED {user} " in line]

    def wait_registrations(self, user: str, count: int, timeout: float = 15.0) -> None:
        """Until so many REGISTERs of `user` were accepted. Raises TimeoutError."""
        deadline = time.monotonic() + timeout
        while len(self.registrations(user)) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{user} never registered {count} times:\n{self.log()[-2000:]}")
            time.sleep(0.05)
