// A phone with JsSIP. The test calls these functions and reads `said`, the list of what has happened.

const said = [];
const WITH_SOUND = { mediaConstraints: { audio: true, video: false } };
let agent = null;
let session = null;

function start(url, user, password) {
  agent = new JsSIP.UA({
    sockets: [new JsSIP.WebSocketInterface(url)],
    uri: `sip:${user}@office.example`,
    password,
  });
  agent.on("registered", () => said.push("registered"));
  agent.on("unregistered", () => said.push("unregistered"));
  agent.on("registrationFailed", ({ cause }) => said.push(`not registered: ${cause}`));
  agent.on("newRTCSession", event => follow(event.session, event.originator));
  agent.start();
}

function follow(newSession, originator) {
  session = newSession;
  session.on("progress", () => said.push(originator === "local" ? "it rings there" : "a call rings"));
  session.on("accepted", () => said.push("accepted"));
  session.on("confirmed", () => said.push("confirmed"));
  session.on("ended", event => said.push(`ended by ${event.originator}`));
  session.on("failed", event => said.push(`failed: ${event.message?.status_code ?? event.cause}`));
}

const call = user => void agent.call(`sip:${user}@office.example`, WITH_SOUND);
const answer = () => void session.answer(WITH_SOUND);
const decline = () => void session.terminate({ status_code: 603 });
const hangUp = () => void session.terminate();

/** Packets with sound that have arrived in the current call. */
async function received() {
  const report = [...(await session.connection.getStats()).values()];
  return report.filter(entry => entry.type === "inbound-rtp").reduce((sum, entry) => sum + entry.packetsReceived, 0);
}
