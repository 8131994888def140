// @ts-check
"use strict";

// A small piano without samples: strings are sums of decaying partials, computed when first needed.

const STRING_RATE = 22050;  // Hz; enough for partials up to 9 kHz, at half the work.
const KEYS_A_STRING = 3;  // Neighbouring keys share one, played a little faster or slower.
const MOST_STRING_SECONDS = 6;  // After this a string is silent enough.
const STRING_GAIN = 0.25;  // So that it is as loud as the samples.

/** @returns {import("./soundfont.js").Zone[]} a piano whose samples are computed when first read */
function synthesizedZones() {
  const centers = Array.from({length: 43}, (_, i) => i * KEYS_A_STRING);
  return centers.map((center) => ({
    lowKey: center - 1, highKey: center + 1, lowVelocity: 0, highVelocity: 127,
    rootKey: center, centsAKey: 100, gain: STRING_GAIN, pan: 0,
    attack: 0, hold: 0, decay: 0, sustain: 1,
    release: center < 48 ? 1.6 : 0.9,  // Low strings take longer to fall silent.
    loop: null, begin: 0,
    /** @returns {AudioBuffer} */
    get buffer() {
      Object.defineProperty(this, "buffer", {value: stringBuffer(center)});
      return this.buffer;
    },
  }));
}

/** @param {number} pitch */
function stringBuffer(pitch) {
  const samples = stringSamples(pitch);
  const buffer = new AudioBuffer({
    length: samples.length, numberOfChannels: 1, sampleRate: STRING_RATE,
  });
  buffer.copyToChannel(samples, 0);
  return buffer;
}

/** @param {number} pitch */
function stringSamples(pitch) {
  const pitchHz = 440 * 2 ** ((pitch - 69) / 12);
  // Time constants: from seconds in the bass to a tenth in the treble.
  const lasting = 2.6 * 2 ** (-(pitch - 45) / 16);
  const length = Math.min(MOST_STRING_SECONDS, Math.max(0.5, 5 * lasting));
  const samples = new Float32Array(Math.ceil(length * STRING_RATE));
  const stiffness = 0.00035 * 2 ** (Math.abs(pitch - 50) / 14);
  for (let n = 1; n <= 28; n++) {
    const hertz = n * pitchHz * Math.sqrt(1 + stiffness * n * n);
    if (hertz > 9000) break;
    // The hammer strikes at an eighth of the string, where the eighth partial has its node.
    const level = (Math.abs(Math.sin((n * Math.PI) / 8)) + 0.08) / n ** 1.25;
    const slow = lasting / (1 + 0.22 * (n - 1));
    // Strings of one key pull each other: loud and short at first, then soft and long.
    addPartial(samples, hertz, level * 0.7, slow * 0.35);
    addPartial(samples, hertz * 1.0004, level * 0.3, slow * 1.3);
  }
  finishString(samples, pitch);
  return samples;
}

/**
 * @param {Float32Array} samples
 * @param {number} hertz
 * @param {number} level
 * @param {number} timeConstant in seconds
 */
function addPartial(samples, hertz, level, timeConstant) {
  const angle = (2 * Math.PI * hertz) / STRING_RATE;
  const decay = Math.exp(-1 / (timeConstant * STRING_RATE));
  const feed = 2 * decay * Math.cos(angle), back = decay * decay;
  let before = 0, now = level * decay * Math.sin(angle);
  for (let i = 1; i < samples.length; i++) {
    samples[i] += now;
    const next = feed * now - back * before;
    before = now;
    now = next;
  }
}

/**
 * Adds the knock of the hammer, softens beginning and end, and sets the peak to 1.
 * @param {Float32Array} samples
 * @param {number} pitch
 */
function finishString(samples, pitch) {
  const knock = Math.round(0.012 * STRING_RATE);
  let state = pitch + 1, low = 0;
  for (let i = 0; i < knock; i++) {
    state = (state * 16807) % 2147483647;
    low += 0.25 * (state / 1073741823.5 - 1 - low);
    samples[i] += 0.25 * low * (1 - i / knock);
  }
  const rise = Math.round(0.0015 * STRING_RATE), fall = Math.round(0.1 * STRING_RATE);
  let peak = 0;
  for (let i = 0; i < samples.length; i++) {
    samples[i] *= Math.min(1, i / rise, (samples.length - 1 - i) / fall);
    peak = Math.max(peak, Math.abs(samples[i]));
  }
  for (let i = 0; i < samples.length; i++) samples[i] /= peak;
}

export {synthesizedZones};
