// Sound with a browser that is only imitated; tests/page has a real one.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Clock, media, settle, view } from "./support.mjs";

class FakeTrack {
  enabled = true;
  isStopped = false;
  kind = "audio";

  stop() {
    this.isStopped = true;
  }
}

/** A peer connection that gathers addresses when the test says so. */
class FakePeer extends EventTarget {
  iceGatheringState = "new";
  connectionState = "new";
  signalingState = "stable";
  transceivers = ["audio", "video"].map(kind => ({ receiver: { track: { kind } }, direction: "sendrecv" }));
  tones = [];
  isClosed = false;

  constructor(options) {
    super();
    assert.deepEqual(options, { iceServers: [] }, "no server is asked for addresses");
    FakePeer.last = this;
  }

  addTrack() {}

  getTransceivers() {
    return this.transceivers;
  }

  getSenders() {
    const dtmf = { canInsertDTMF: true, toneBuffer: "", insertDTMF: (...tone) => this.tones.push(tone) };
    return [{ dtmf: null }, { dtmf }];
  }

  async createOffer() {
    return { type: "offer", sdp: "offer" };
  }

  async createAnswer() {
    return { type: "answer", sdp: "answer" };
  }

  async setLocalDescription(description) {
    this.localDescription = description;
    this.signalingState = description.type === "offer" ? "have-local-offer" : "stable";
  }

  async setRemoteDescription({ sdp }) {
    if (sdp.includes("RTP/AVP")) throw new Error("no fingerprint");
  }

  gathered() {
    this.iceGatheringState = "complete";
    this.dispatchEvent(new Event("icegatheringstatechange"));
  }

  change(state) {
    this.connectionState = state;
    this.dispatchEvent(new Event("connectionstatechange"));
  }

  close() {
    this.isClosed = true;
  }
}

function sound({ getUserMedia } = {}) {
  const track = new FakeTrack();
  const stream = { getAudioTracks: () => [track], getTracks: () => [track] };
  const played = [];
  const clock = new Clock();
  const devices = { getUserMedia: getUserMedia ?? (async () => stream) };
  const created = new media.Media({ devices, PeerConnection: FakePeer, play: value => played.push(value), clock });
  return { created, track, stream, played, clock };
}

async function offering(state) {
  const offer = state.created.offer();
  await settle();
  FakePeer.last.gathered();
  return offer;
}

test("an offer has all addresses, and waits for them two seconds at most", async () => {
  assert.equal(await offering(sound()), "offer");
  const slow = sound();
  const offer = slow.created.offer();
  await settle();
  await slow.clock.advance(2_000);
  assert.equal(await offer, "offer");
});

test("without https there is no microphone, and the problem is named", async () => {
  const insecure = new media.Media({ devices: undefined, PeerConnection: FakePeer, play() {}, clock: new Clock() });
  await assert.rejects(insecure.offer(), { kind: "insecure" });
  const refused = sound({
    getUserMedia: () => Promise.reject(Object.assign(new Error(), { name: "NotAllowedError" })),
  });
  await assert.rejects(
    refused.created.offer(),
    error => error.kind === "microphone" && error.cause.name === "NotAllowedError",
  );
});

test("a microphone that is allowed after the call has ended is switched off", async () => {
  let allow;
  const state = sound({ getUserMedia: () => new Promise(resolve => (allow = resolve)) });
  const offer = state.created.offer();
  state.created.close();
  allow(state.stream);
  await assert.rejects(offer, { kind: "closed" });
  assert.ok(state.track.isStopped);
  // The loudspeaker may belong to the next call.
  assert.deepEqual(state.played, []);
});

test("the sound of the peer is played until the call ends", async () => {
  const state = sound();
  await offering(state);
  const stream = {};
  FakePeer.last.dispatchEvent(Object.assign(new Event("track"), { track: { kind: "audio" }, streams: [stream] }));
  FakePeer.last.dispatchEvent(Object.assign(new Event("track"), { track: { kind: "video" }, streams: [{}] }));
  state.created.close();
  state.created.close();
  assert.deepEqual(state.played, [stream, null]);
  assert.ok(FakePeer.last.isClosed && state.track.isStopped);
});

test("an offer with a picture is answered with sound only", async () => {
  const state = sound();
  const answer = state.created.answer("offer");
  await settle();
  FakePeer.last.gathered();
  assert.equal(await answer, "answer");
  assert.deepEqual(
    FakePeer.last.transceivers.map(({ direction }) => direction),
    ["sendrecv", "inactive"],
  );
});

test("a description that the browser refuses is a problem of the other phone", async () => {
  await assert.rejects(sound().created.answer("m=audio 4000 RTP/AVP 0"), { kind: "description" });
});

test("mute also holds for a microphone that is opened later", async () => {
  const state = sound();
  state.created.isMuted = true;
  await offering(state);
  assert.equal(state.track.enabled, false);
  state.created.isMuted = false;
  assert.equal(state.track.enabled, true);
});

test("keys are tones in the sound once there is sound", async () => {
  const state = sound();
  assert.equal(state.created.sendTone("1"), false);
  await offering(state);
  assert.equal(state.created.sendTone("1"), true);
  assert.deepEqual(FakePeer.last.tones, [["1", 160, 70]]);
});

test("the state of the connection is reported", async () => {
  const state = sound();
  const events = [];
  state.created.onConnected = () => events.push("connected");
  state.created.onFailed = () => events.push("failed");
  await offering(state);
  for (const name of ["connecting", "connected", "disconnected", "failed"]) FakePeer.last.change(name);
  assert.deepEqual(events, ["connected", "failed"]);
});

test("an offer that was not answered can be taken back", async () => {
  const state = sound();
  await offering(state);
  await state.created.rollback();
  assert.equal(FakePeer.last.localDescription.type, "rollback");
});

test("the words below the name say what happens", () => {
  const call = { direction: "outgoing", state: "active", progress: "", hasSound: true, isHeld: false, isMuted: false };
  assert.deepEqual(view.callState(call), ["Connected", true]);
  assert.deepEqual(view.callState({ ...call, isHeld: true, isMuted: true }), ["On hold · You are muted", false]);
  assert.deepEqual(view.callState({ ...call, hasSound: false }), ["Connecting the sound…", false]);
  assert.deepEqual(view.callState({ ...call, state: "ringing", direction: "incoming" }), ["is calling you", false]);
  assert.equal(
    view.callState({ ...call, state: "calling", progress: "The call is forwarded…" })[0],
    "The call is forwarded…",
  );
  assert.equal(view.callState({ ...call, state: "preparing" })[0], "Waiting for the microphone…");
  assert.deepEqual([0, 61_999, 3_661_000].map(view.duration), ["0:00", "1:01", "1:01:01"]);
});
