// @ts-check
/** Draws, as perf_rnn/generation/logits.py has them. */

/**
 * @typedef {object} Limits How classes are drawn, see SamplingOptions in Python. null: no limit.
 * @property {number} temperature
 * @property {number | null} top_k
 * @property {number | null} top_p
 * @property {number | null} min_p
 * @property {number} pitch_min_p
 */

/**
 * Sets logits of less than a share of the most probable one to minus infinity.
 *
 * @param {Float64Array} logits
 * @param {number} share
 */
export function leaveOutImprobable(logits, share) {
  const lowest = largest(logits) + Math.log(share);
  for (let i = 0; i < logits.length; i++) {
    if (logits[i] < lowest) logits[i] = -Infinity;
  }
}

/**
 * @param {Float64Array} logits
 * @param {number} uniform A random number from 0 up to 1.
 * @param {Limits} limits
 * @returns {number} A class.
 */
export function draw(logits, uniform, { temperature, top_k, top_p, min_p }) {
  const highest = largest(logits);
  const weights = logits.map((logit) => Math.exp((logit - highest) / temperature));
  /** @param {number} lowest */
  const leaveOutBelow = (lowest) => {
    for (let i = 0; i < weights.length; i++) if (weights[i] < lowest) weights[i] = 0;
  };
  if (top_k !== null && top_k < weights.length) {
    leaveOutBelow(weights.slice().sort()[weights.length - top_k]);
  }
  if (top_p !== null) {
    const falling = weights.slice().sort().reverse();
    const needed = top_p * falling.reduce((sum, weight) => sum + weight, 0);
    let before = 0;
    let count = 0;
    while (count < falling.length && before < needed) before += falling[count++];
    leaveOutBelow(falling[Math.max(count, 1) - 1]);
  }
  if (min_p) leaveOutBelow(min_p); // The most probable one weighs 1.
  let total = 0;
  for (const weight of weights) total += weight;
  const threshold = uniform * total;
  let sum = 0;
  return weights.findIndex((weight) => (sum += weight) > threshold);
}

/** @param {Float64Array} values */
export function largest(values) {
  let highest = -Infinity;
  for (const value of values) if (value > highest) highest = value;
  return highest;
}
