// @ts-check
/** What time it is: on the page's clock, and on that of the sound. */

// Seconds. The sound's clock goes forward by blocks of sound, and stands still while the page is
// busy, so it counts how far ahead it was at most, in a span of this length and the one before.
const SPAN = 2;

/**
 * @typedef {object} Clock
 * @property {() => number} now milliseconds since 1970, equal in the page and its Workers
 * @property {(epoch: number) => number} audioOf when the context plays what is heard at that time
 * @property {(epoch: number) => number} pageOf the same time as performance.now() shows it
 */

/**
 * Returns a clock that follows the drift between a context's clock and the page's.
 *
 * It does without `getOutputTimestamp`, whose `performanceTime` runs twice too fast in Safari.
 *
 * @param {AudioContext} context
 * @returns {Clock}
 */
export function createClock(context) {
  let ahead = -Infinity, aheadBefore = -Infinity;
  let since = -Infinity;  // When the span began.

  /**
   * How far the sound's clock is ahead of the page's, in seconds. When the sound was interrupted,
   * this is right again after two spans.
   */
  function measure() {
    const now = epochNow() / 1000, passed = now - since;
    if (passed > SPAN) {
      aheadBefore = passed > 2 * SPAN ? -Infinity : ahead;
      ahead = -Infinity;
      since = now;
    }
    const measured = context.currentTime - latencyOf(context) - now;
    if (context.currentTime === 0) return measured;  // The sound has not begun.
    ahead = Math.max(ahead, measured);
    return Math.max(ahead, aheadBefore);
  }

  return {
    now() {
      measure();
      return epochNow();
    },
    pageOf: (epoch) => epoch - performance.timeOrigin,
    audioOf: (epoch) => epoch / 1000 + measure(),
  };
}

/**
 * Returns how many seconds after the context's time it is heard, as far as is known.
 *
 * @param {AudioContext} context
 */
export function latencyOf(context) {
  // To ask Firefox for it can stop the page for ever (on Linux, while sound is computed).
  if (navigator.userAgent.includes("Firefox/")) return 0;
  return context.outputLatency || context.baseLatency || 0;
}

function epochNow() {
  return performance.timeOrigin + performance.now();
}
