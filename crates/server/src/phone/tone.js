// Tones that the page makes itself: ringing, the ringback tone of the caller, keys (Web Audio).
//
// Decides how they sound. Browsers allow sound only after a person has clicked or typed in the page.

// Frequencies in hertz; pairs of start and duration in seconds; the period in seconds.
const RINGING = {
  frequencies: [420, 480],
  bursts: [
    [0, 0.4],
    [0.6, 0.4],
  ],
  period: 3,
  gain: 0.2,
};
// ITU-T E.182: the ringback tone of most of Europe.
const RINGBACK = { frequencies: [425], bursts: [[0, 1]], period: 5, gain: 0.08 };
// ITU-T Q.23.
const ROWS = [697, 770, 852, 941];
const COLUMNS = [1209, 1336, 1477];
const KEYS = ["123", "456", "789", "*0#"];

export class Tones {
  #context = null;
  #timer = null;
  #pattern = null;
  #playing = new Set();

  /** Allows sound; called when a person has clicked or typed. */
  unlock() {
    if (!globalThis.AudioContext) return;
    this.#context ??= new AudioContext();
    if (this.#context.state === "suspended") this.#context.resume().catch(() => {});
  }

  ringing() {
    this.#repeat(RINGING);
  }

  ringback() {
    this.#repeat(RINGBACK);
  }

  /** The tone of a key. */
  key(digit) {
    const row = KEYS.findIndex(keys => keys.includes(digit));
    if (row >= 0) this.#play([ROWS[row], COLUMNS[KEYS[row].indexOf(digit)]], 0, 0.12, 0.06);
  }

  stop() {
    clearInterval(this.#timer);
    this.#pattern = null;
    for (const oscillator of this.#playing) oscillator.stop();
    this.#playing.clear();
  }

  #repeat(pattern) {
    if (this.#pattern === pattern) return;
    this.stop();
    this.#pattern = pattern;
    const once = () =>
      pattern.bursts.forEach(([start, duration]) => this.#play(pattern.frequencies, start, duration, pattern.gain));
    this.#timer = setInterval(once, pattern.period * 1000);
    once();
  }

  #play(frequencies, start, duration, volume) {
    const context = this.#context;
    if (context?.state !== "running") return;
    const gain = context.createGain();
    const begin = context.currentTime + start;
    const end = begin + duration;
    // A ramp of 10 ms: a sudden start or end clicks.
    gain.gain.setValueAtTime(0, begin);
    gain.gain.linearRampToValueAtTime(volume, begin + 0.01);
    gain.gain.setValueAtTime(volume, end - 0.01);
    gain.gain.linearRampToValueAtTime(0, end);
    gain.connect(context.destination);
    for (const frequency of frequencies) {
      const oscillator = context.createOscillator();
      oscillator.frequency.value = frequency;
      oscillator.connect(gain);
      oscillator.addEventListener("ended", () => this.#playing.delete(oscillator));
      oscillator.start(begin);
      oscillator.stop(end);
      this.#playing.add(oscillator);
    }
  }
}
