// Sound: microphone, peer connection and loudspeaker (WebRTC 1.0, Media Capture and Streams).
//
// Decides how long to wait for addresses of this computer: the session description holds all of them, since SIP sends
// one description (no trickle ICE). No STUN or TURN server is asked. A description of the peer is given to the
// browser only, which parses it safely.

import { systemClock } from "./clock.js";
import { MediaError } from "./reasons.js";

const GATHERING_TIMEOUT = 2_000;
const TONE_DURATION = 160;
const TONE_GAP = 70;

/**
 * @typedef {object} Environment what the browser provides; the tests have their own
 * @property {MediaDevices | undefined} devices
 * @property {typeof RTCPeerConnection | undefined} PeerConnection
 * @property {(stream: MediaStream | null) => void} play
 */

export class Media {
  #peer = null;
  #stream = null;
  #isMuted = false;
  #isClosed = false;
  #isPlaying = false;
  /** Called when sound can flow. */
  onConnected = () => {};
  /** Called when no sound flows any more, or never did. */
  onFailed = () => {};

  /** @param {Environment} environment */
  constructor({ devices, PeerConnection, play, clock = systemClock }) {
    Object.assign(this, { devices, PeerConnection, play, clock });
  }

  /** The description to call with. @throws {MediaError} */
  async offer() {
    await this.#open();
    return this.#describe("offer");
  }

  /** The answer to the offer of the peer. @throws {MediaError} */
  async answer(offer) {
    await this.#open();
    await this.#remote("offer", offer);
    // A call of this phone has no picture: each other part of the offer is answered as inactive.
    for (const transceiver of this.#peer.getTransceivers()) {
      if (transceiver.receiver.track.kind !== "audio") transceiver.direction = "inactive";
    }
    return this.#describe("answer");
  }

  /** Takes the answer of the peer. @throws {MediaError} */
  async accept(answer) {
    await this.#remote("answer", answer);
  }

  /** Takes back an offer that was not answered. */
  async rollback() {
    if (this.#peer?.signalingState === "have-local-offer") await this.#peer.setLocalDescription({ type: "rollback" });
  }

  get isMuted() {
    return this.#isMuted;
  }

  set isMuted(value) {
    this.#isMuted = value;
    for (const track of this.#stream?.getAudioTracks() ?? []) track.enabled = !value;
  }

  /** Sends a tone in the sound (RFC 4733). @returns {boolean} false if the peer does not accept tones in the sound */
  sendTone(digit) {
    const dtmf = this.#peer
      ?.getSenders()
      .map(sender => sender.dtmf)
      .find(candidate => candidate?.canInsertDTMF);
    // `toneBuffer` holds what has not been sent yet; insertDTMF replaces it.
    dtmf?.insertDTMF(dtmf.toneBuffer + digit, TONE_DURATION, TONE_GAP);
    return dtmf !== undefined;
  }

  /** Numbers of the browser about the packets received; for tests and for support. */
  async packetsReceived() {
    const report = await this.#peer?.getStats();
    return [...(report?.values() ?? [])]
      .filter(entry => entry.type === "inbound-rtp")
      .reduce((sum, entry) => sum + entry.packetsReceived, 0);
  }

  close() {
    this.#isClosed = true;
    this.#peer?.close();
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    // Another call may be using the loudspeaker by now.
    if (this.#isPlaying) this.play(null);
    this.#isPlaying = false;
  }

  async #open() {
    if (this.#peer) return;
    // Browsers give the microphone to https pages and to localhost only.
    if (!this.devices || !this.PeerConnection) throw new MediaError("insecure");
    let stream;
    try {
      stream = await this.devices.getUserMedia({ audio: true, video: false });
    } catch (error) {
      throw new MediaError("microphone", error);
    }
    this.#stream = stream;
    // The call may have ended while the browser asked for permission.
    if (this.#isClosed) {
      this.close();
      throw new MediaError("closed");
    }
    this.isMuted = this.#isMuted;
    this.#connect(stream);
  }

  #connect(stream) {
    const peer = new this.PeerConnection({ iceServers: [] });
    this.#peer = peer;
    for (const track of stream.getAudioTracks()) peer.addTrack(track, stream);
    peer.addEventListener("track", event => {
      if (event.track.kind !== "audio" || this.#isClosed) return;
      this.#isPlaying = true;
      this.play(event.streams[0] ?? new MediaStream([event.track]));
    });
    peer.addEventListener("connectionstatechange", () => {
      if (peer.connectionState === "connected") this.onConnected();
      if (peer.connectionState === "failed") this.onFailed();
    });
  }

  async #remote(type, sdp) {
    try {
      await this.#peer.setRemoteDescription({ type, sdp });
    } catch (error) {
      throw new MediaError("description", error);
    }
  }

  async #describe(type) {
    const peer = this.#peer;
    try {
      await peer.setLocalDescription(type === "offer" ? await peer.createOffer() : await peer.createAnswer());
    } catch (error) {
      throw new MediaError("setup", error);
    }
    await this.#gathered();
    const sdp = peer.localDescription?.sdp;
    if (this.#isClosed || !sdp) throw new MediaError("closed");
    return sdp;
  }

  // Addresses of this computer are known within milliseconds; a slow interface must not hold up the call.
  #gathered() {
    const peer = this.#peer;
    if (peer.iceGatheringState === "complete") return Promise.resolve();
    return new Promise(resolve => {
      const timer = this.clock.after(GATHERING_TIMEOUT, resolve);
      peer.addEventListener("icegatheringstatechange", () => {
        if (peer.iceGatheringState !== "complete") return;
        this.clock.cancel(timer);
        resolve();
      });
    });
  }
}

/**
 * Whether the peer sends no sound because it holds the call (RFC 3264 8.4).
 * @param {string} sdp
 */
export function isHold(sdp) {
  const [session, ...media] = sdp.split(/\r?\nm=/);
  const audio = media.find(section => section.startsWith("audio ")) ?? "";
  const direction = /^a=(sendrecv|sendonly|recvonly|inactive)\r?$/m;
  const found = direction.exec(audio)?.[1] ?? direction.exec(session)?.[1] ?? "sendrecv";
  return found === "sendonly" || found === "inactive";
}
