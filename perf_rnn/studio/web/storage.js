// @ts-check
// What the page remembers from one visit to the next, where the browser lets it.

/**
 * @param {string} name
 * @param {any} otherwise what there is at first.
 */
export function recall(name, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(`perf_rnn.${name}`) ?? "null") ?? otherwise;
  } catch {  // Storage is forbidden, or holds something else.
    return otherwise;
  }
}

/** @returns {boolean} whether it is remembered. */
export function remember(name, value) {
  try {
    localStorage.setItem(`perf_rnn.${name}`, JSON.stringify(value));
    return true;
  } catch {  // Storage is forbidden or full.
    return false;
  }
}
