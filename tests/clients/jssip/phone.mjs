// JsSIP, driven by lines on its standard input, in Node instead of a browser. Its calls have no media: the
// RTCPeerConnection below only makes session descriptions.
//
// Arguments: folder of the npm packages, URL of the server, identity, user, password.
// Commands:  call URI, answer, decline, hangup, watch URI, unregister, quit. Each event is one line of output.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [packages, url, identity, user, password] = process.argv.slice(2);
const require = createRequire(`${packages}/`);

const DESCRIPTION =
  "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n";

class PeerConnection extends EventTarget {
  iceGatheringState = "complete";
  iceConnectionState = "connected";
  signalingState = "stable";

  async createOffer() {
    return { type: "offer", sdp: DESCRIPTION };
  }

  async createAnswer() {
    return { type: "answer", sdp: DESCRIPTION };
  }

  async setLocalDescription(description) {
    this.localDescription = description;
  }

  async setRemoteDescription(description) {
    this.remoteDescription = description;
  }

  getSenders() {
    return [];
  }

  close() {}
}

class SessionDescription {
  constructor(description) {
    Object.assign(this, description);
  }
}

Object.assign(globalThis, {
  window: globalThis,
  WebSocket: require("ws"),
  RTCPeerConnection: PeerConnection,
  RTCSessionDescription: SessionDescription,
});
const JsSIP = require("jssip");

const say = (text) => process.stdout.write(`${text}\n`);
const NO_MEDIA = { mediaConstraints: { audio: false, video: false } };

const agent = new JsSIP.UA({
  sockets: [new JsSIP.WebSocketInterface(url)],
  uri: identity,
  authorization_user: user,
  password,
  connection_recovery_min_interval: 1,
  connection_recovery_max_interval: 1,
});
let call = null;

agent.on("registered", () => say("registered"));
agent.on("unregistered", () => say("not registered"));
agent.on("registrationFailed", ({ cause }) => say(`not registered: ${cause}`));
agent.on("newRTCSession", ({ originator, session }) => {
  if (call !== null) {
    session.terminate({ status_code: 486 });
    return;
  }
  call = session;
  session.on("progress", () => say(originator === "local" ? "rings there" : "rings"));
  session.on("accepted", () => say(originator === "local" ? "was answered" : "has answered"));
  session.on("ended", () => {
    call = null;
    say("ended");
  });
  session.on("failed", ({ message, cause }) => {
    call = null;
    say(`failed ${message?.status_code ?? message?.method ?? ""}: ${cause}`);
  });
});
agent.start();

// The lamp of a user (RFC 4235): "no dialog", or the states of the dialogs in the order of the document.
function watch(target) {
  const subscriber = agent.subscribe(target, "dialog", "application/dialog-info+xml", { params: {}, extraHeaders: [] });
  subscriber.on("notify", (isFinal, request, body) => {
    const states = [...body.matchAll(/<state[^>]*>([a-z]+)<\/state>/g)].map(([, state]) => state);
    say(`lamp ${states.join(" ") || "no dialog"}`);
  });
  subscriber.on("terminated", (code) => say(`lamp out ${code}`));
  subscriber.subscribe();
}

const commands = {
  call: (target) => agent.call(target, NO_MEDIA),
  answer: () => call.answer(NO_MEDIA),
  decline: () => call.terminate({ status_code: 603 }),
  hangup: () => call.terminate(),
  watch,
  unregister: () => agent.unregister(),
  quit: () => process.exit(0),
};
createInterface({ input: process.stdin }).on("line", (line) => {
  const [command, ...words] = line.split(" ");
  commands[command]?.(...words);
});
