// @ts-check
/** What time it is: on the page's clock, and on that of the sound. */

// Seconds. By more than this the clocks part only if the sound was interrupted.
const LEAP = 0.03;
const SMOOTHING = 0.05;

/**
 * @typedef {object} Clock
 * @property {() => number} now milliseconds since 1970, equal in the page and its Workers
 * @property {(epoch: number) => number} audioOf when the context plays what is heard at that time
 * @property {(epoch: number) => number} pageOf the same time as performance.now() shows it
 */

/**
 * Returns a clock that follows the drift between a context's clock and the page's.
 *
 * @param {AudioContext} context
 * @returns {Clock}
 */
export function createClock(context) {
  /** @type {number | null} */
  let offset = null;

  function measure() {
    const stamp = context.getOutputTimestamp?.();
    if (stamp?.contextTime && stamp.performanceTime) {
      return stamp.contextTime - (performance.timeOrigin + stamp.performanceTime) / 1000;
    }
    const latency = context.outputLatency || context.baseLatency || 0;
    return context.currentTime - latency - epochNow() / 1000;
  }

  return {
    now: epochNow,
    pageOf: (epoch) => epoch - performance.timeOrigin,
    audioOf(epoch) {
      const measured = measure();
      if (offset === null || Math.abs(measured - offset) > LEAP) offset = measured;
      offset += SMOOTHING * (measured - offset);
      return epoch / 1000 + offset;
    },
  };
}

function epochNow() {
  return performance.timeOrigin + performance.now();
}
