// @ts-check
/** Control vectors: what a conditioned network is asked to play, as perf_rnn/events/controls.py and
 * control_schedule.py encode it. */

/** @typedef {import("./model.js").Conditioning} Conditioning */
/**
 * @typedef {{vector: number[], guidance: number}} Controls What the network reads beside an event:
 *   the control vector, and guidance, 1 if there is none.
 */

/**
 * @param {Conditioning} conditioning Of the model.
 * @param {{notes_per_second: number | null, pitch_class_histogram: number[] | null}} asked The
 *   histogram has the weights of the pitch classes from C on. null: the default; where all are null
 *   and the network can do without, its controls are disabled.
 * @returns {number[]} The control vector.
 */
export function controlVector(conditioning, asked) {
  const { optional, signals, default: defaults } = conditioning;
  const { notes_per_second, pitch_class_histogram } = asked;
  /** @type {Record<string, number[] | null>} */
  const parts = {
    notes_per_second: notes_per_second === null ? null : encodeDensity(notes_per_second),
    pitch_class_histogram: pitch_class_histogram && encodePitchClasses(pitch_class_histogram),
  };
  if (optional && signals.every(({ name }) => !parts[name])) {
    return disabledVector(conditioning);
  }
  const vector = optional ? [0] : [];
  for (const { name, size } of signals) {
    vector.push(...(parts[name] ?? defaults.slice(vector.length, vector.length + size)));
  }
  return vector;
}

/** @param {Conditioning} conditioning Which is optional. @returns {number[]} The vector without controls. */
export function disabledVector(conditioning) {
  return conditioning.default.map((_, i) => (i === 0 ? 1 : 0));
}

/** A mix of the two classes whose middles a density lies between: class i reaches from 2^(i - 1) to
 * 2^i.
 *
 * @param {number} density
 */
function encodeDensity(density) {
  const place = Math.min(Math.max(Math.log2(density) + 0.5, 0), 7);
  const rounded = Math.round(place * 1e6) / 1e6;
  return Array.from({ length: 8 }, (_, i) => Math.max(1 - Math.abs(rounded - i), 0));
}

/** @param {number[]} weights */
function encodePitchClasses(weights) {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => (total > 0 ? weight / total : 1 / weights.length));
}
