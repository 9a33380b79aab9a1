"""Our own telephones as a peer of the matrix."""

import asyncio
from typing import TYPE_CHECKING

import numpy as np

from active_call.core.audio import SAMPLE_RATE, Pcm
from active_call.sdp.negotiate import Srtp
from active_call.sip.config import SipConfig
from active_call.testing.caller import Phone, Telephones
from active_call.testing.process import free_port
from tests.interop.peers import PEER_HZ

if TYPE_CHECKING:
    from tests.interop.matrix import Cell, House

_TONE = (8000 * np.sin(2 * np.pi * PEER_HZ * np.arange(4 * SAMPLE_RATE) / SAMPLE_RATE)).astype(np.int16)


def talk_with_ourselves(house: "House", cell: "Cell", seconds: float) -> Pcm:
    """Make the cell's call; what the telephone heard of it, 16 kHz."""
    return asyncio.run(_talk(house, cell, seconds))


async def _talk(house: "House", cell: "Cell", seconds: float) -> Pcm:
    heard: list[Pcm] = []
    certificates = house.certificates
    tls_port = free_port()
    sip = SipConfig(
        "127.0.0.1",
        0,
        tls_port=tls_port,
        tls_cert_file=str(certificates.certificate),
        tls_key_file=str(certificates.key),
        tls_ca_file=str(certificates.ca),
    )
    srtp: Srtp = "require" if cell.media == "srtp" else False
    async with Telephones(codecs=(cell.codec,), srtp=srtp, sip=sip) as phones:
        if cell.direction == "inbound":
            phone = phones.dial(house.uri(cell.transport))
        else:
            phone = await _called(house, cell, phones, tls_port)
        phone.on_frame = lambda pcm, _position: heard.append(pcm.copy())
        await phone.wait_answered()
        await phone.start_saying(_TONE)
        await asyncio.sleep(seconds)
        await phone.hang_up()
    return np.concatenate(heard)


async def _called(house: "House", cell: "Cell", phones: Telephones, tls_port: int) -> Phone:
    rings: asyncio.Future[Phone] = asyncio.get_running_loop().create_future()
    phones.on_phone = rings.set_result
    port = tls_port if cell.transport == "tls" else phones.agent.address[1]
    suffix = "" if cell.transport == "udp" else f";transport={cell.transport}"
    await asyncio.to_thread(house.dial, f"sip:probe@127.0.0.1:{port}{suffix}", cell)
    return await asyncio.wait_for(rings, 10.0)
