// The clock of the page. The tests use one that they set themselves.

/** Times are in milliseconds. */
export const systemClock = {
  now: () => Date.now(),
  after: (delay, run) => setTimeout(run, delay),
  cancel: timer => clearTimeout(timer),
};
