// @ts-check
// What the page remembers from one visit to the next, where the browser lets it.

/**
 * @param {string} name
 * @returns {Map<any, string>} what `remember` kept; empty if there is nothing, or something else.
 */
export function recall(name) {
  try {
    /** @type {[any, any][]} */
    const pairs = JSON.parse(localStorage.getItem(`perf_rnn.${name}`) ?? "[]");
    return new Map(pairs.filter(([, value]) => typeof value === "string"));
  } catch {  // Storage is forbidden, or holds something else.
    return new Map();
  }
}

/**
 * @param {string} name
 * @param {Map<any, string>} values
 * @returns {boolean} whether they are remembered.
 */
export function remember(name, values) {
  try {
    localStorage.setItem(`perf_rnn.${name}`, JSON.stringify([...values]));
    return true;
  } catch {  // Storage is forbidden or full.
    return false;
  }
}
