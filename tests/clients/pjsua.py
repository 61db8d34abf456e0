"""pjsua, driven by lines on its standard input, without sound.

Arguments: address to bind, "udp" or "tcp", identity, registrar, user, password, and perhaps an outbound proxy.
Commands:  call URI, answer, decline, hangup, unregister, quit. Each event is one line of output.
"""

import select
import sys

import pjsua2 as pj


def say(text):
    print(text, flush=True)


class Call(pj.Call):
    def onCallState(self, prm):
        call = self.getInfo()
        say(f"call {call.stateText} {call.lastStatusCode}")
        if call.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            self.phone.call = None


class Phone(pj.Account):
    call = None

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
    phone.shutdown()
    endpoint.libDestroy()


main(*sys.argv[1:])
