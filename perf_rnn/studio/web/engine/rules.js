// @ts-check
/** Which events may come next: perf_rnn/events/one_hot_rules.py, and LegalNotes of note_events.py,
 * for one piece. The docstrings there say what the rules are. */

import { NUM_PITCHES } from "./events.js";
import { largest } from "./sampling.js";

/** @typedef {import("./events.js").Event} Event */
/** @typedef {import("./events.js").OneHotEvents} OneHotEvents */
/** @typedef {import("./events.js").NoteEvents} NoteEvents */

const MAX_ONSETS = 16;
export const MAX_NOTE_STEPS = 500;
const MAX_SILENCE_STEPS = 300;
const SMALLEST_WEIGHT = 1e-300;

/** Rules of one-hot events. */
export class LegalEvents {
  /** @param {OneHotEvents} events @param {Event[]} primer */
  constructor(events, primer) {
    this._events = events;
    /** The steps at which the sounding notes of each pitch were struck, oldest first. The lists are
     * replaced, never changed. @type {number[][]} */
    this.onsets = Array.from({ length: NUM_PITCHES }, () => []);
    this.released = 0; // When the last note was released.
    this.struck = 0; // Notes since time last moved on.
    this.bin = 0; // Velocity; 0: none was given.
    /** The pitches whose keys the player holds: only the player releases them. @type {number[]} */
    this.held = [];
    let clock = 0;
    for (const event of primer) {
      this.update(event, clock);
      clock += events.steps(event);
    }
    const hasNotes = primer.some(([index]) => ["note_on", "note_off"].includes(events.kindOf[index]));
    if (!hasNotes) this.released = clock - MAX_SILENCE_STEPS;
    // A primer may end anywhere: its last event restricts nothing.
    this.last = "full_shift";
  }

  /** The step that no shift goes past: the longest note must end, or silence does. */
  deadline() {
    const oldest = Math.min(...this.onsets.map(([oldest]) => oldest ?? Infinity));
    return oldest < Infinity ? oldest + MAX_NOTE_STEPS : this.released + MAX_SILENCE_STEPS;
  }

  /**
   * Sets the logits of forbidden events to minus infinity.
   *
   * @param {Float64Array} logits
   * @param {number} clock The steps that the piece has.
   */
  forbid(logits, clock) {
    const { noteOns, noteOffs, shifts, velocities, valueOf } = this._events;
    const onsets = this.onsets.map(([oldest]) => oldest ?? Infinity);
    const deadline = this.deadline();
    const afterVelocity = this.last === "velocity";
    const noMore = this.struck >= MAX_ONSETS && !afterVelocity;
    const noLoudness = velocities.length > 0 && this.bin === 0;
    const noVelocity = noMore || afterVelocity || onsets.every((onset) => onset < Infinity);
    const noShift = afterVelocity || this.last === "short_shift";
    const longestShift = noShift ? 0 : deadline - clock;
    const due = deadline <= clock && onsets.some((onset) => onset < Infinity);

    /** @param {number} pitch */
    const forbidsOff = (pitch) =>
      (due ? onsets[pitch] > clock - MAX_NOTE_STEPS : onsets[pitch] >= clock || afterVelocity) ||
      this.held.includes(pitch);
    this._gatherReleases(logits, forbidsOff);
    for (const [pitch, index] of noteOns.entries()) {
      if (due || noMore || noLoudness || onsets[pitch] < Infinity) logits[index] = -Infinity;
    }
    for (const [pitch, index] of noteOffs.entries()) {
      if (forbidsOff(pitch)) logits[index] = -Infinity;
    }
    for (const index of shifts) {
      if (due || valueOf[index] > longestShift) logits[index] = -Infinity;
    }
    for (const index of velocities) {
      if (due || noVelocity || valueOf[index] === this.bin) logits[index] = -Infinity;
    }
  }

  /**
   * Takes the next event.
   *
   * @param {Event} event
   * @param {number} clock The steps before it.
   * @param {boolean} [isHeld] Whether it is a key of the player that is pressed or released.
   */
  update([index], clock, isHeld) {
    const kind = this._events.kindOf[index];
    const value = this._events.valueOf[index];
    this.last = kind;
    if (kind === "note_on") {
      this.onsets[value] = [...this.onsets[value], clock];
      if (isHeld) this.held = [...this.held, value];
      this.struck++;
    } else if (kind === "note_off") {
      this.onsets[value] = this.onsets[value].slice(1);
      this.held = this.held.filter((pitch) => pitch !== value);
      this.released = clock;
    } else if (kind === "velocity") {
      this.bin = value;
    } else {
      this.last = value < this._events.maxShift ? "short_shift" : "full_shift";
      this.struck = 0;
    }
  }

  /** @returns {object} The state, for `restore`. */
  snapshot() {
    const { onsets, released, struck, bin, held, last } = this;
    return { onsets: onsets.slice(), released, struck, bin, held, last };
  }

  /** @param {any} snapshot */
  restore(snapshot) {
    Object.assign(this, snapshot, { onsets: snapshot.onsets.slice() });
  }

  /** Adds the probability of forbidden releases to the allowed ones.
   *
   * @param {Float64Array} logits
   * @param {(pitch: number) => boolean} forbids
   */
  _gatherReleases(logits, forbids) {
    const { noteOffs } = this._events;
    const releases = Float64Array.from(noteOffs, (index) => logits[index]);
    const highest = largest(releases);
    let total = 0;
    let legal = 0;
    for (let pitch = 0; pitch < NUM_PITCHES; pitch++) {
      const weight = Math.exp(releases[pitch] - highest);
      total += weight;
      if (!forbids(pitch)) legal += weight;
    }
    const gain = Math.log(total / Math.max(legal, SMALLEST_WEIGHT));
    for (const index of noteOffs) logits[index] += gain;
  }
}

/** Rules of note events. */
export class LegalNotes {
  /** @param {NoteEvents} events @param {Event[]} primer */
  constructor(events, primer) {
    this._events = events;
    this.struck = 0; // Events since time last moved on.
    for (const event of primer) this.update(event);
    const { sizes } = events;
    /** @type {number[]} The classes of lengths beyond the limit; the others follow the first. */
    this._tooLong = [];
    for (const [head, fine] of [[0, sizes[1]], [4, sizes[5]]]) {
      const first = sizes.slice(0, head).reduce((a, b) => a + b, 0);
      for (let coarse = Math.floor(MAX_NOTE_STEPS / fine); coarse < sizes[head]; coarse++) {
        this._tooLong.push(first + coarse);
      }
    }
  }

  /** @param {Float64Array} logits See LegalEvents. */
  forbid(logits) {
    // Without the fine shift of 0 time moves on.
    if (this.struck >= MAX_ONSETS) logits[this._events.sizes[0]] = -Infinity;
    for (const index of this._tooLong) logits[index] = -Infinity;
  }

  /** @param {Event} event */
  update(event) {
    this.struck = this._events.steps(event) ? 0 : this.struck + 1;
  }

  /** @returns {object} The state, for `restore`. */
  snapshot() {
    return { struck: this.struck };
  }

  /** @param {any} snapshot */
  restore(snapshot) {
    Object.assign(this, snapshot);
  }
}
