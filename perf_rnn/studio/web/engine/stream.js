// @ts-check
/** A stream of events without end that can go back: it keeps the last events with snapshots. */

/** @typedef {import("./controls.js").Controls} Controls */
/** @typedef {import("./events.js").Event} Event */
/** @typedef {import("./sampler.js").Sampler} Sampler */
/** @typedef {import("./sampler.js").Snapshot} Snapshot */

const STEPS_KEPT = 3000;
// Every event of the last steps has a snapshot; of those before, one in so many steps has.
const STEPS_WITH_SNAPSHOTS = 300;
const STEPS_BETWEEN_SNAPSHOTS = 50;
// Guidance that begins within a piece needs a state with conditioning disabled. An earlier state, which
// was told the controls, reads the last so many events once more without them. Python takes the
// present state, but for some 50 events that predicts as if it still half followed the controls, and
// guidance is weaker. From a state that was never told them, its next five predictions differ by 0.041
// nats (KL divergence) in a sparse piece and 0.0083 in a dense one; after reading 100 events by 0.0003
// and 0.0008. That takes 0.05 s once, and nothing while there is no guidance.
const GUIDANCE_EVENTS = 100;

/**
 * @typedef {object} Entry An event that was read.
 * @property {Event} event
 * @property {number} step When it was read.
 * @property {number} after When the next event was read, if no time was skipped.
 * @property {number} offset See Stream.
 * @property {Controls} controls
 * @property {boolean} isHeld Whether it is a key of the player that is pressed or released.
 * @property {Snapshot | null} snapshot Before it was drawn.
 * @typedef {(step: number) => Controls} ControlsAt Of an event at a step of the performance.
 */

export class Stream {
  /**
   * @param {Sampler} sampler
   * @param {number} step The step of the performance that it is at.
   * @param {ControlsAt} controls May be replaced.
   */
  constructor(sampler, step, controls) {
    this.sampler = sampler;
    this.controls = controls;
    /** The steps of the performance less those of the stream. */
    this._offset = step - sampler.clock;
    /** @type {Entry[]} */
    this.entries = [];
    /** Before a draw that no event came of yet. @type {{controls: Controls, snapshot: Snapshot} | null} */
    this._before = null;
  }

  /** The step of the performance at which the next event is read. */
  get step() {
    return this.sampler.clock + this._offset;
  }

  /** Lets steps of the performance pass of which the network knows nothing. @param {number} steps */
  skip(steps) {
    this._offset += steps;
  }

  /** See Sampler.draw.
   *
   * @param {import("./sampling.js").Limits} limits
   * @param {(logits: Float64Array) => void} adjust
   */
  draw(limits, adjust) {
    this._before ??= this._prepare();
    return this.sampler.draw(limits, this._before.controls, adjust);
  }

  /**
   * Reads an event, drawn or not.
   *
   * @param {Event} event
   * @param {boolean} [isHeld] Whether it is a key of the player that is pressed or released.
   * @returns {Entry}
   */
  read(event, isHeld = false) {
    const { controls, snapshot } = this._before ?? this._prepare();
    const { step, _offset: offset } = this;
    const entry = { event, step, after: 0, offset, controls, isHeld, snapshot };
    this._before = null;
    this.sampler.read(event, controls, isHeld);
    entry.after = this.step;
    this.entries.push(entry);
    return entry;
  }

  /**
   * Goes back to before an entry.
   *
   * @param {number} index Of the entry; where there is none, nothing happens.
   * @param {boolean} [again] Whether the random numbers that were drawn come again, so that the same
   *   events would.
   * @returns {Entry[]} Those that no longer hold.
   */
  back(index, again = true) {
    if (index >= this.entries.length) return [];
    this._before = null;
    const random = this.sampler.random.snapshot();
    let from = index;
    while (!this.entries[from].snapshot) from--;
    this.sampler.restore(/** @type {Snapshot} */ (this.entries[from].snapshot));
    for (; from < index; from++) {
      const { event, controls, isHeld } = this.entries[from];
      this._beginGuidance(controls, from);
      this.sampler.read(event, controls, isHeld);
    }
    this._offset = this.entries[index].offset;
    if (!again) this.sampler.random.restore(random);
    return this.entries.splice(index);
  }

  /** @returns {{controls: Controls, snapshot: Snapshot}} Of the next event, and before it. */
  _prepare() {
    const controls = this.controls(this.step);
    this._beginGuidance(controls, this.entries.length);
    return { controls, snapshot: this.sampler.snapshot() };
  }

  /** Lets guidance begin where it does. @param {Controls} controls Of the event at a place.
   * @param {number} index That place. */
  _beginGuidance(controls, index) {
    // At the beginning the present state will do.
    if (index === 0 || !this.sampler.beginsGuidance(controls)) return;
    let from = Math.max(index - GUIDANCE_EVENTS, 0);
    while (!this.entries[from].snapshot) from--;
    const events = this.entries.slice(from, index).map(({ event }) => event);
    this.sampler.beginGuidance(/** @type {Snapshot} */ (this.entries[from].snapshot), events);
  }

  /** Forgets what is long before a step, so that memory does not grow. @param {number} step */
  forget(step) {
    const { entries } = this;
    let first = 0;
    while (first < entries.length && entries[first].step < step - STEPS_KEPT) first++;
    // The first entry kept needs a snapshot.
    while (first > 0 && !entries[first]?.snapshot) first--;
    entries.splice(0, first);
    let last = -Infinity;
    for (const entry of entries) {
      if (entry.step > step - STEPS_WITH_SNAPSHOTS) break;
      if (!entry.snapshot) continue;
      if (entry.step < last + STEPS_BETWEEN_SNAPSHOTS) entry.snapshot = null;
      else last = entry.step;
    }
  }
}
