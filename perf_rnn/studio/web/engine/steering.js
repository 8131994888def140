// @ts-check
/** What a player asks of the network: limits of the draw, control vectors and, where the network has
 * no such control, biases on the logits. */

import { controlVector } from "./controls.js";

/** @typedef {import("./model.js").Header} Header */
/** @typedef {import("./events.js").OneHotEvents} OneHotEvents */
/** @typedef {import("./events.js").NoteEvents} NoteEvents */

/**
 * @typedef {object} Settings
 * @property {number} temperature
 * @property {number | null} top_p 1 or null: no limit.
 * @property {number | null} min_p
 * @property {number} pitch_min_p
 * @property {number} loudness From -1 to 1; 0: as drawn.
 * @property {number} guidance How closely a network with optional conditioning follows its controls;
 *   1: as trained.
 * @property {number | null} notes_per_second
 * @property {number[] | null} pitch_class_histogram Weights from C on.
 * @property {number} pause Seconds of silence after which a response begins.
 * @property {number | null} split The lowest pitch of the player's register; null: there is none.
 */

// The loudest velocity at full loudness gains so much over the softest, in nats.
const LOUDNESS_NATS = 8;
// A pitch class of weight 0 is so much less probable.
const SMALLEST_WEIGHT = 1e-3;
const MAX_DENSITY_NATS = 3;

export class Steering {
  /** @param {Header} header @param {OneHotEvents | NoteEvents} events @param {Settings} settings */
  constructor(header, events, settings) {
    this._events = events;
    this.settings = settings;
    const { temperature, top_p, min_p, pitch_min_p, loudness } = settings;
    const { notes_per_second, pitch_class_histogram } = settings;
    this.limits = {
      temperature,
      top_k: null,
      top_p: top_p !== null && top_p < 1 ? top_p : null,
      min_p,
      pitch_min_p,
    };
    const vector = controlVector(header.controls, settings);
    // Disabled conditioning is the same with and without guidance.
    const canBeGuided = header.controls.optional && !vector[0];
    this.controls = { vector, guidance: canBeGuided ? settings.guidance : 1 };
    const biased = biases(header);
    /** Added to the logits of new notes' pitches, or null. */
    this._pitchBias =
      pitch_class_histogram && biased.includes("pitch_class_histogram")
        ? pitchBias(pitch_class_histogram)
        : null;
    this._loudness = loudness;
    this._density = biased.includes("notes_per_second") ? notes_per_second : null;
  }

  /**
   * Changes logits.
   *
   * @param {Float64Array} logits
   * @param {number} rate Notes a second that were played lately.
   */
  adjust(logits, rate) {
    const { pitches, velocities } = this._events;
    if (this._pitchBias) {
      const bias = this._pitchBias;
      tilt(logits, pitches, (pitch) => bias[pitch % 12]);
    }
    if (this._loudness) {
      const nats = (LOUDNESS_NATS * this._loudness) / velocities.length;
      tilt(logits, velocities, (bin) => nats * bin);
    }
    if (this._density !== null) {
      const { noteOns, shifts } = /** @type {OneHotEvents} */ (this._events);
      const wanted = 2 * Math.log((this._density + 0.2) / (rate + 0.2));
      const nats = Math.min(Math.max(wanted, -MAX_DENSITY_NATS), MAX_DENSITY_NATS);
      // Denser: shorter waits, and more notes at the same time.
      tilt(logits, shifts, (place) => (-nats / 2) * Math.log(place + 1));
      for (const index of [...noteOns, ...velocities]) logits[index] += nats / 4;
    }
  }
}

/** @param {Header} header @returns {string[]} The settings that are controls of the network. */
export function trueControls({ controls }) {
  return controls.signals.map(({ name }) => name);
}

/** @param {Header} header @returns {string[]} Those that change its logits instead. */
export function biases(header) {
  // Of whole notes, time is in each event.
  const can = header.events.whole_notes ? [] : ["notes_per_second"];
  return [...can, "pitch_class_histogram"].filter((name) => !trueControls(header).includes(name));
}

/** @param {number[]} weights */
function pitchBias(weights) {
  const largest = Math.max(...weights);
  if (!(largest > 0)) return null;
  return weights.map((weight) => Math.log(Math.max(weight / largest, SMALLEST_WEIGHT)));
}

/**
 * Adds to the logits of a group of classes, whose probability in all stays.
 *
 * @param {Float64Array} logits
 * @param {number[]} classes
 * @param {(place: number) => number} added To the class at a place of the group.
 */
function tilt(logits, classes, added) {
  let highest = -Infinity;
  for (const index of classes) highest = Math.max(highest, logits[index]);
  let [before, after] = [0, 0];
  for (const [place, index] of classes.entries()) {
    before += Math.exp(logits[index] - highest);
    logits[index] += added(place);
    after += Math.exp(logits[index] - highest);
  }
  const lost = Math.log(before / after);
  for (const index of classes) logits[index] += lost;
}
