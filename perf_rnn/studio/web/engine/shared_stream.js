// @ts-check
/** A stream that the network shares with a player: what the player plays is put into it as if it were
 * drawn. Reading an event here plays nothing; notes that come to an end are ended in the list.
 */

import { MAX_NOTE_STEPS } from "./rules.js";
import { Stream } from "./stream.js";

/** @typedef {import("./note_list.js").NoteList} NoteList */
/** @typedef {import("./sampler.js").Sampler} Sampler */
/** @typedef {import("./stream.js").Entry} Entry */

export class SharedStream extends Stream {
  /**
   * @param {Sampler} sampler
   * @param {number} step The step of the performance that it is at.
   * @param {import("./stream.js").ControlsAt} controls May be replaced.
   * @param {NoteList} notes Those of the network.
   */
  constructor(sampler, step, controls, notes) {
    super(sampler, step, controls);
    this._notes = notes;
    this._events = sampler.events;
  }

  get _oneHot() {
    return /** @type {import("./events.js").OneHotEvents} */ (this._events);
  }

  get _rules() {
    return /** @type {import("./rules.js").LegalEvents} */ (this.sampler.rules);
  }

  /**
   * Goes back to a step, does something there, and brings the stream on to where it cannot be changed
   * any more: what sounds by then stays as it is.
   *
   * @param {number} step
   * @param {number} kept What sounds until this step stays, at least `step`.
   * @param {() => void} act Reads events.
   * @returns {number} The step up to which the network had planned to wait.
   */
  insert(step, kept, act) {
    this._notes.withdraw(kept, false);
    const gone = this.backTo(step);
    let { bin } = this._rules;
    act();

    const { kindOf, valueOf } = this._oneHot;
    let wait = kept;
    for (const { event, step: at, after, isHeld } of gone) {
      const [kind, value] = [kindOf[event[0]], valueOf[event[0]]];
      if (at > kept) break;
      if (kind === "shift") {
        if (after > kept) wait = after;
        continue;
      }
      if (kind === "velocity") {
        bin = value;
        continue;
      }
      this.catchUp(at);
      const rules = this._rules;
      const sounds = rules.onsets[value].length > 0;
      if (kind === "note_off" && sounds && (isHeld || !rules.held.includes(value))) {
        this.read(event, isHeld);
      } else if (kind === "note_on" && !sounds) {
        this.strike(value, this._events.velocity(bin), isHeld);
      } else if (kind === "note_on") {
        this._notes.end(at, value);
      }
    }
    return wait;
  }

  /**
   * Goes back to a step: what is later no longer holds.
   *
   * @param {number} step
   * @param {boolean} [again] See Stream.back.
   * @returns {Entry[]} What no longer holds.
   */
  backTo(step, again) {
    const index = this.entries.findIndex(({ after }) => after > step);
    const gone = index < 0 ? [] : this.back(index, again);
    if (!this._events.wholeNotes && this._rules.last === "velocity") {
      // The note that it was for is not drawn yet.
      this.back(this.entries.length - 1);
    }
    // Time was skipped there, or it is longer ago than the entries.
    if (this.step > step) this.skip(step - this.step);
    this.catchUp(step);
    return gone;
  }

  /** Ends all that the network plays. @param {number} step */
  stop(step) {
    this._notes.withdraw(step, this._events.wholeNotes);
    this.backTo(step);
    this.release(this._notes.sounding());
  }

  /** Reads a note that is played already. @param {number} pitch @param {number} velocity
   * @param {boolean} isHeld */
  strike(pitch, velocity, isHeld) {
    const { noteOns, noteOffs, velocities } = this._oneHot;
    const rules = this._rules;
    if (rules.onsets[pitch].length) {
      // Struck again: the note that sounds ends, a step after its start at the earliest.
      if (rules.onsets[pitch][0] >= this.sampler.clock) this.catchUp(this.step + 1);
      this._notes.end(this.step, pitch);
      this.read([noteOffs[pitch]], rules.held.includes(pitch));
    }
    const bin = this._events.bin(velocity);
    if (bin !== rules.bin) this.read([velocities[bin - 1]]);
    this.read([noteOns[pitch]], isHeld);
  }

  /** Reads that the player's key is released. @param {number} pitch */
  releaseKey(pitch) {
    const [onset] = this._rules.onsets[pitch];
    if (onset >= this.sampler.clock) this.catchUp(this.step + 1);
    this.read([this._oneHot.noteOffs[pitch]], this._rules.held.includes(pitch));
  }

  /** Ends the network's notes. @param {number[]} pitches */
  release(pitches) {
    if (this._events.wholeNotes) return;
    for (const pitch of pitches) {
      this._notes.end(this.step, pitch);
      if (this._rules.onsets[pitch].length) this.releaseKey(pitch);
    }
  }

  /** Ends notes that are as long as the rules allow, even if their keys are held for longer.
   *
   * @param {number[]} pitches
   */
  releaseDue(pitches) {
    const { onsets } = this._rules;
    const limit = this.sampler.clock - MAX_NOTE_STEPS;
    this.release(pitches.filter((pitch) => onsets[pitch][0] <= limit));
  }

  /**
   * Lets the stream wait until a step, as far as the rules let it; of a longer silence the network
   * knows nothing.
   *
   * @param {number} step
   */
  catchUp(step) {
    if (this._events.wholeNotes) return;
    for (;;) {
      this.releaseDue([...this._rules.onsets.keys()]);
      const left = step - this.step;
      if (left <= 0) return;
      const allowed = this._rules.deadline() - this.sampler.clock;
      if (allowed > 0) this._lengthen(Math.min(left, allowed));
      else this.skip(left);
    }
  }

  /** Reads shifts, so that they are those of one wait with a shift that came right before.
   *
   * @param {number} steps
   */
  _lengthen(steps) {
    const { entries } = this;
    const last = entries[entries.length - 1];
    if (last && this._rules.last === "short_shift" && last.after === this.step) {
      steps += last.after - last.step;
      this.back(entries.length - 1, false);
    }
    for (const shift of this._oneHot.wait(steps)) this.read(shift);
  }
}
