"""pjsua, driven by lines on its standard input, without sound.

Arguments: address to bind, "udp" or "tcp", identity, registrar, user, password, and perhaps an outbound proxy.
Commands:  call URI, answer, decline, hangup, watch URI, unregister, quit. Each event is one line of output.
"""

import ctypes
import select
import sys

import pjsua2 as pj

# The bindings lack the functions for dialog events (RFC 4235), but the library behind them has them.
pjsua = ctypes.CDLL(pj._pjsua2.__file__)


def say(text):
    print(text, flush=True)


class Call(pj.Call):
    def onCallState(self, prm):
        call = self.getInfo()
        say(f"call {call.stateText} {call.lastStatusCode}")
        if call.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            self.phone.call = None


class Text(ctypes.Structure):
    """pj_str_t"""

    _fields_ = [("start", ctypes.POINTER(ctypes.c_char)), ("length", ctypes.c_ssize_t)]

    def __str__(self):
        return self.start[: self.length].decode()


class DialogEvent(ctypes.Structure):
    """pjsua_buddy_dlg_event_info of pjsip 2.15. The fields behind its state, and its buffer, have room in `rest`."""

    _fields_ = [
        ("number", ctypes.c_int),
        *[(name, Text) for name in ("uri", "dialog", "kind", "entity", "call_id", "to_tag", "from_tag", "direction")],
        ("state", Text),
        ("rest", ctypes.c_char * 8192),
    ]


class Watched(pj.Buddy):
    """A user whose lamp is watched. Of the dialogs in a NOTIFY, pjsua keeps the first one."""

    shown = None

    def look(self):
        event = DialogEvent()
        pjsua.pjsua_buddy_get_dlg_event_info(self.getId(), ctypes.byref(event))
        # There is an entity after the first NOTIFY.
        state = str(event.state) or "no dialog"
        if event.entity.length > 0 and state != self.shown:
            self.shown = state
            say(f"lamp {state}")


class Phone(pj.Account):
    call = None
    watched = None

    def onRegState(self, prm):
        say(f"{'registered' if self.getInfo().regIsActive else 'not registered'} {prm.code} {prm.expiration}")

    def onIncomingCall(self, prm):
        self.begin(prm.callId)
        self.reply(180)
        say(f"incoming {self.call.getInfo().remoteUri}")

    def begin(self, number=pj.PJSUA_INVALID_ID):
        self.call = Call(self, number)
        self.call.phone = self

    def reply(self, code):
        prm = pj.CallOpParam()
        prm.statusCode = code
        self.call.answer(prm)

    def obey(self, command, *words):
        if command == "call":
            self.begin()
            self.call.makeCall(words[0], pj.CallOpParam(True))
        elif command == "answer":
            self.reply(200)
        elif command == "decline":
            self.reply(603)
        elif command == "hangup":
            self.call.hangup(pj.CallOpParam())
        elif command == "watch":
            config = pj.BuddyConfig()
            config.uri = words[0]
            self.watched = Watched()
            self.watched.create(self, config)
            pjsua.pjsua_buddy_subscribe_dlg_event(self.watched.getId(), 1)
        elif command == "unregister":
            self.setRegistration(False)


def main(address, transport, identity, registrar, user, password, *proxy):
    config = pj.EpConfig()
    config.uaConfig.threadCnt = 0
    config.uaConfig.mainThreadOnly = True
    config.uaConfig.maxCalls = 1
    config.logConfig.filename = "pjsua.log"
    config.logConfig.level = 5
    config.logConfig.consoleLevel = 0
    endpoint = pj.Endpoint()
    endpoint.libCreate()
    endpoint.libInit(config)
    endpoint.audDevManager().setNullDev()
    listen = pj.TransportConfig()
    listen.boundAddress = address
    listen.port = 5060
    endpoint.transportCreate(pj.PJSIP_TRANSPORT_TCP if transport == "tcp" else pj.PJSIP_TRANSPORT_UDP, listen)
    endpoint.libStart()

    account = pj.AccountConfig()
    account.idUri = identity
    account.regConfig.registrarUri = registrar
    account.regConfig.firstRetryIntervalSec = account.regConfig.retryIntervalSec = 1
    account.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", user, 0, password))
    for uri in proxy:
        account.sipConfig.proxies.append(uri)
    account.mediaConfig.transportConfig.boundAddress = address
    phone = Phone()
    phone.create(account)

    # Unbuffered: a line that waits in a buffer of Python's own is none that select() knows of.
    lines = open(0, "rb", 0)
    command = ""
    while command != "quit":
        endpoint.libHandleEvents(10)
        if select.select([lines], [], [], 0)[0]:
            command, *words = (lines.readline().decode() or "quit").split() or [""]
            phone.obey(command, *words)
        if phone.watched:
            phone.watched.look()
    phone.shutdown()
    endpoint.libDestroy()


main(*sys.argv[1:])
