// The WebSocket to the server (RFC 7118): opens it, keeps it alive, and opens it again after it broke.
//
// Decides when a connection counts as broken and how long to wait before the next one. It does not read SIP.

import { systemClock } from "./clock.js";
import { MAX_MESSAGE } from "./message.js";

// RFC 5626 4.4.1: a keep-alive every 95 to 120 s on streams; reverse proxies often close after 60 s without data.
const KEEP_ALIVE_INTERVAL = 25_000;
// RFC 5626 4.4.1: without a pong within 10 s the flow has failed.
const PONG_TIMEOUT = 10_000;
const OPEN_TIMEOUT = 10_000;
// RFC 5626 4.5 has 30 s and 1800 s, for phones that nobody looks at. The limits here are shorter, since a person waits.
const FIRST_RETRY = 1_000;
const LONGEST_RETRY = 60_000;

export class Connection {
  #socket = null;
  #timers = new Map();
  #failures = 0;
  #interval = KEEP_ALIVE_INTERVAL;
  #wanted = false;
  #isOpen = false;

  /**
   * @param {object} options
   * @param {string} options.url ws: or wss:
   * @param {() => void} options.onOpen
   * @param {(text: string) => void} options.onMessage one SIP message
   * @param {(retryIn: number, wasOpen: boolean) => void} options.onClose milliseconds until the next attempt
   */
  constructor({
    url,
    onOpen,
    onMessage,
    onClose,
    clock = systemClock,
    WebSocket = globalThis.WebSocket,
    random = Math.random,
  }) {
    Object.assign(this, { url, onOpen, onMessage, onClose, clock, WebSocket, random });
  }

  /** The transport parameter of Via (RFC 7118 5.1). */
  get transport() {
    return this.url.startsWith("wss:") ? "WSS" : "WS";
  }

  get isOpen() {
    return this.#isOpen;
  }

  /** Opens the connection, and from now on opens it again whenever it breaks. */
  start() {
    this.#wanted = true;
    this.#open();
  }

  /** Closes the connection for good. */
  stop() {
    this.#wanted = false;
    this.#release();
  }

  /** Opens the connection at once if it is waiting: the computer is online again. */
  retryNow() {
    if (this.#wanted && this.#socket === null) this.#open();
  }

  /** @returns {boolean} false if there is no connection */
  send(text) {
    if (!this.#isOpen) return false;
    this.#socket.send(text);
    return true;
  }

  /**
   * Sends keep-alives and expects their answers. Called when the server has confirmed RFC 5626: another server
   * would not answer.
   * @param {number | null} flowTimer seconds after which the server closes a silent connection (RFC 5626 4.4)
   */
  keepAlive(flowTimer) {
    this.#interval = Math.min(KEEP_ALIVE_INTERVAL, (flowTimer ?? Infinity) * 800);
    if (this.#isOpen && !this.#timers.has("ping") && !this.#timers.has("pong")) this.#schedulePing();
  }

  #schedulePing() {
    this.#set("ping", this.#interval, () => {
      this.#set("pong", PONG_TIMEOUT, () => this.#broken());
      this.send("\r\n\r\n");
    });
  }

  #open() {
    this.#release();
    let socket;
    try {
      socket = new this.WebSocket(this.url, "sip");
    } catch {
      this.#broken();
      return;
    }
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    // Events of a socket that has been replaced are ignored.
    const current = handler => event => {
      if (this.#socket === socket) handler(event);
    };
    socket.addEventListener(
      "open",
      current(() => this.#opened(socket)),
    );
    socket.addEventListener(
      "message",
      current(event => this.#received(event.data)),
    );
    socket.addEventListener(
      "close",
      current(() => this.#broken()),
    );
    this.#set("open", OPEN_TIMEOUT, () => this.#broken());
  }

  #opened(socket) {
    // RFC 7118 4.1: a server that does not choose the subprotocol does not support SIP.
    if (socket.protocol !== "sip") {
      this.#broken();
      return;
    }
    this.#clear("open");
    this.#failures = 0;
    this.#isOpen = true;
    this.onOpen();
  }

  #received(data) {
    if ((data.length ?? data.byteLength) > MAX_MESSAGE) return;
    const text = typeof data === "string" ? data : new TextDecoder().decode(data);
    if (text.trim() !== "") {
      this.onMessage(text);
    } else if (text === "\r\n" && this.#timers.has("pong")) {
      this.#clear("pong");
      this.#schedulePing();
    }
  }

  #broken() {
    const wasOpen = this.#isOpen;
    this.#release();
    if (!this.#wanted) return;
    const wait = Math.min(FIRST_RETRY * 2 ** this.#failures++, LONGEST_RETRY);
    // RFC 5626 4.5: 50 to 100 %, so that not all phones come back at once after the server has restarted.
    const delay = wait * (0.5 + this.random() / 2);
    this.#set("retry", delay, () => this.#open());
    this.onClose(delay, wasOpen);
  }

  #release() {
    for (const name of [...this.#timers.keys()]) this.#clear(name);
    const socket = this.#socket;
    this.#socket = null;
    this.#isOpen = false;
    socket?.close();
  }

  #set(name, delay, run) {
    this.#clear(name);
    this.#timers.set(
      name,
      this.clock.after(delay, () => {
        this.#timers.delete(name);
        run();
      }),
    );
  }

  #clear(name) {
    this.clock.cancel(this.#timers.get(name));
    this.#timers.delete(name);
  }
}
