// @ts-check
/** A performance without end: the network alone, or with a player.
 *
 * Times that come in are seconds of the performance, which begins at 0; inside they are steps. The
 * network's stream of events runs ahead of the time that sounds. What the player plays is put into the
 * stream where it happened, as if it were drawn: the stream goes back, and what has not begun to
 * sound is drawn anew.
 */

import { eventsOf } from "./events.js";
import { NetworkPart } from "./network_part.js";
import { NoteList } from "./note_list.js";
import { Sampler } from "./sampler.js";
import { Schedule } from "./schedule.js";
import { SharedStream } from "./shared_stream.js";
import { biases, trueControls } from "./steering.js";

/** @typedef {import("./events.js").Event} Event */
/** @typedef {import("./model.js").Header} Header */
/** @typedef {import("./network.js").Network} Network */
/** @typedef {import("./schedule.js").Settings} Settings */
/** @typedef {import("./stream.js").Entry} Entry */
/** @typedef {"alone" | "response" | "duet" | "tap"} Mode */
/** @typedef {[start: number, end: number, pitch: number, velocity: number]} PrimerNote */

// How far ahead of the time that sounds events are drawn, in seconds. What the player plays withdraws
// what was drawn, so there it is less.
const SECONDS_AHEAD = 1.5;
const SECONDS_AHEAD_IN_DUET = 0.5;
// Notes that start sooner than this cannot be withdrawn any more.
const LEAD_SECONDS = 0.05;
const RESPONSE_SECONDS = { shortest: 3, longest: 20 };

export class Performance {
  /**
   * @param {Header} header Of the model.
   * @param {Network} network Of the model.
   * @param {object} options
   * @param {number} options.seed The piece is the one of `perf_rnn play --seed`.
   * @param {Settings} options.settings
   * @param {Mode} options.mode
   * @param {PrimerNote[] | null} options.primer What the network reads first.
   * @param {(message: object) => void} send Takes messages for the page.
   */
  constructor(header, network, { seed, settings, mode, primer }, send) {
    this._header = header;
    this._send = send;
    this._events = eventsOf(header);
    this._stepsPerSecond = header.steps_per_second;
    this._mode = checkedMode(mode, header);

    network.reset();
    const opening = primer?.length ? this._encode(primer) : [];
    const leadIn = opening.length ? [] : [this._events.start];
    const schedule = new Schedule(header, this._events, settings, 0);
    const { controls } = schedule.at(0);
    const sampler = new Sampler(header, network, [seed, 0], leadIn, opening, controls);
    const controlsAt = (/** @type {number} */ step) => this._network.schedule.at(step).controls;
    this._notes = new NoteList(send, this._stepsPerSecond);
    this._stream = new SharedStream(sampler, 0, controlsAt, this._notes);
    this._network = new NetworkPart(this._stream, this._notes, schedule, this._stepsPerSecond);

    /** Whether the settings changed since events were drawn. */
    this._isStale = false;
    /** The keys that the player holds, or that the pedal holds. @type {Set<number>} */
    this._keys = new Set();
    /** Keys released while the pedal is down. @type {Set<number>} */
    this._pedalled = new Set();
    this._pedalIsDown = false;
    /** The pitches that the network plays for each key tapped. @type {Map<number, number[]>} */
    this._tapped = new Map();
    /** What the player has played since the last response: [start, end, pitch, velocity] in steps.
     * @type {PrimerNote[]} */
    this._phrase = [];
    /** @type {number | null} When the response ends; null: there is none. */
    this._responseEnd = null;
  }

  /** The events that were drawn or put in so far, for tests. */
  get stream() {
    return this._stream;
  }

  /**
   * Draws ahead.
   *
   * @param {number} now
   * @param {() => boolean} [isLate] Asked before each event whether to stop for now.
   */
  advance(now, isLate = () => false) {
    const step = this._steps(now);
    if (this._isStale) this._withdraw(step);
    if (this._mode === "response") this._respondIfDue(step);
    if (this._isPlaying()) {
      // After a pause of the whole machine, what it has missed is not made up for.
      if (this._stream.step < step) this._stream.skip(step + this._lead() - this._stream.step);
      while (this._isPlaying() && this._stream.step < step + this._aheadSteps() && !isLate()) {
        this._next();
      }
    }
    this._stream.forget(step);
    this._notes.forget(step);
    this._notes.flush(Math.max(this._stream.step, step));
  }

  /** Changes the settings, for all that has not begun. @param {Settings} settings
   * @param {number} now */
  set(settings, now) {
    const before = this._network.schedule;
    // A list of densities that is asked for already goes on.
    const isKnown = String(settings.notes_per_second) === String(before.densities);
    const begin = isKnown ? before.begin : this._steps(now);
    this._network.schedule = new Schedule(this._header, this._events, settings, begin);
    this._isStale = true;
  }

  /** @param {Mode} mode @param {number} now */
  setMode(mode, now) {
    const step = this._steps(now);
    this._mode = checkedMode(mode, this._header);
    this._forgetPlayer();
    if (this._isPlaying()) {
      this._withdraw(step);
      this._stream.catchUp(step + this._lead());
    } else {
      this._stream.stop(step + this._lead());
    }
    this._notes.flush(this._stream.step);
  }

  /**
   * Takes a key of the player: in a duet and before a response it is played already, a tap the network
   * plays.
   *
   * @param {number} time
   * @param {number} pitch
   * @param {number} velocity 0: the key is released.
   * @param {number} now
   */
  key(time, pitch, velocity, now) {
    if (this._mode === "alone") return;
    const step = this._steps(time);
    if (velocity) this._pedalled.delete(pitch);
    else if (this._pedalIsDown && this._mode !== "tap") {
      if (this._keys.has(pitch)) this._pedalled.add(pitch);
      return;
    }
    this._change(step, this._steps(now), pitch, velocity);
  }

  /** @param {number} time @param {boolean} down @param {number} now */
  pedal(time, down, now) {
    this._pedalIsDown = down;
    if (down) return;
    for (const pitch of this._pedalled) this._change(this._steps(time), this._steps(now), pitch, 0);
    this._pedalled.clear();
  }

  /**
   * Goes back to a time, and on from there with other random numbers.
   *
   * @param {number} time
   */
  undo(time) {
    this._forgetPlayer();
    const step = this._steps(time);
    this._notes.withdraw(step, this._events.wholeNotes);
    this._stream.backTo(step, false);
    if (!this._events.wholeNotes) this._stream.release(this._oneHotRules().held);
    if (!this._isPlaying()) this._stream.release(this._notes.sounding());
  }

  /** Forgets what the player plays, and the response to it. */
  _forgetPlayer() {
    this._keys.clear();
    this._pedalled.clear();
    this._tapped.clear();
    this._phrase = [];
    this._responseEnd = null;
  }

  /** @param {number} seconds @returns {number} */
  _steps(seconds) {
    return Math.floor(seconds * this._stepsPerSecond + 0.5);
  }

  _lead() {
    return this._steps(LEAD_SECONDS);
  }

  _aheadSteps() {
    return this._steps(this._mode === "duet" ? SECONDS_AHEAD_IN_DUET : SECONDS_AHEAD);
  }

  _oneHot() {
    return /** @type {import("./events.js").OneHotEvents} */ (this._events);
  }

  _oneHotRules() {
    return /** @type {import("./rules.js").LegalEvents} */ (this._stream.sampler.rules);
  }

  /** @param {PrimerNote[]} notes In seconds. @returns {Event[]} */
  _encode(notes) {
    const quantized = this._events.quantize(notes);
    const length = Math.max(1, ...quantized.map(({ end }) => end));
    return this._events.encode(quantized, length);
  }

  /** Whether the network draws. */
  _isPlaying() {
    if (this._mode === "response") return this._responseEnd !== null;
    return this._mode !== "tap";
  }

  // What the network plays.

  /** Draws and reads the next event. */
  _next() {
    const { wholeNotes } = this._events;
    if (!wholeNotes) this._stream.releaseDue(this._oneHotRules().held);
    const event = this._network.draw();
    const step = this._stream.step + (wholeNotes ? this._events.steps(event) : 0);
    if (this._responseEnd !== null && step >= this._responseEnd) return this._endResponse();
    if (this._mode === "duet") this._network.readInDuet(event);
    else this._network.read(event);
  }

  // What the player plays.

  /** Puts a key that is struck or released into the stream.
   *
   * @param {number} step
   * @param {number} now
   * @param {number} pitch
   * @param {number} velocity
   */
  _change(step, now, pitch, velocity) {
    if (this._mode === "tap") return this._tap(step, now, pitch, velocity);
    if (velocity) this._keys.add(pitch);
    else this._keys.delete(pitch);
    if (this._mode === "response") this._listen(step, now, pitch, velocity);
    if (this._events.wholeNotes) return;
    const kept = Math.max(now + this._lead(), step);
    const planned = this._stream.insert(step, kept, () => {
      if (velocity) this._stream.strike(pitch, velocity, true);
      else if (this._oneHotRules().held.includes(pitch)) this._stream.releaseKey(pitch);
    });
    // What the player plays does not cut short the wait that the network had planned.
    if (this._isPlaying()) this._stream.catchUp(planned);
    this._notes.flush(this._stream.step);
  }

  /** Withdraws what has not begun, so that it is drawn anew. @param {number} now */
  _withdraw(now) {
    this._isStale = false;
    const step = now + this._lead();
    const { wholeNotes } = this._events;
    // A wait that has begun stays.
    const begun = (/** @type {Entry} */ entry) => (wholeNotes ? entry.after : entry.step) <= step;
    const index = this._stream.entries.findIndex((entry) => !begun(entry));
    if (index < 0) return;
    this._notes.withdraw(step, wholeNotes);
    this._stream.back(index);
  }

  // Call and response.

  /** @param {number} step @param {number} now @param {number} pitch @param {number} velocity */
  _listen(step, now, pitch, velocity) {
    if (velocity) {
      this._responseEnd = null;
      this._stream.stop(now + this._lead());
      this._phrase.push([step, step + 1, pitch, velocity]);
    } else {
      const note = this._phrase.findLast((note) => note[2] === pitch);
      if (note) note[1] = Math.max(step, note[0] + 1);
    }
  }

  /** Begins to respond once the player has stopped playing for long enough. @param {number} now */
  _respondIfDue(now) {
    if (this._responseEnd !== null || !this._phrase.length || this._keys.size) return;
    const end = Math.max(...this._phrase.map(([, end]) => end));
    if (now < end + this._steps(this._network.schedule.at(now).settings.pause)) return;
    const { shortest, longest } = RESPONSE_SECONDS;
    const length = end - this._phrase[0][0];
    const steps = Math.min(Math.max(length, this._steps(shortest)), this._steps(longest));
    if (this._events.wholeNotes) this._readPhrase(now);
    this._stream.catchUp(now + this._lead());
    this._responseEnd = now + steps;
    this._phrase = [];
  }

  /** Reads a phrase as note events. @param {number} now */
  _readPhrase(now) {
    const seconds = this._stepsPerSecond;
    const first = this._phrase[0][0];
    const notes = this._phrase.map(([start, end, pitch, velocity]) => {
      return /** @type {PrimerNote} */ ([(start - first) / seconds, (end - first) / seconds, pitch, velocity]);
    });
    for (const event of this._encode(notes)) this._stream.read(event);
    this._stream.skip(now + this._lead() - this._stream.step);
  }

  /** At the end of a response no note starts, and those that sound are brought to their ends. */
  _endResponse() {
    if (this._events.wholeNotes || !this._notes.sounding().length) {
      this._responseEnd = null;
      return;
    }
    const { kindOf } = this._oneHot();
    const allowed = ["note_off", "shift"];
    const own = this._network.drawAgain((index) => allowed.includes(kindOf[index]));
    if (own) this._network.read(own);
    else this._stream.release(this._notes.sounding());
  }

  // Tapping: the player gives rhythm and loudness, the network the pitches.

  /** @param {number} step @param {number} now @param {number} key @param {number} velocity */
  _tap(step, now, key, velocity) {
    this._stream.catchUp(step);
    const sounding = this._tapped.get(key);
    if (sounding) this._stream.release(sounding);
    this._tapped.delete(key);
    if (velocity) this._tapped.set(key, this._network.playTap(velocity));
    this._notes.flush(this._stream.step);
  }
}

/** @param {Header} header @returns {Mode[]} The modes that a model can play in. */
export function modesOf(header) {
  // What the player plays can be put into a stream only where events are not whole notes.
  return header.events.whole_notes ? ["alone", "response"] : ["alone", "response", "duet", "tap"];
}

/** @param {Mode} mode @param {Header} header */
function checkedMode(mode, header) {
  if (!modesOf(header).includes(mode)) {
    throw new Error(`this model cannot play in the mode ${mode}`);
  }
  return mode;
}

/** @param {Header} header @param {boolean} isWasm What a page shows of a model. */
export function infoOf(header, isWasm) {
  const { name, description } = header;
  return {
    name,
    description,
    controls: trueControls(header),
    biases: biases(header),
    hasGuidance: header.controls.optional,
    modes: modesOf(header),
    kernels: isWasm ? "wasm" : "javascript",
  };
}
