// @ts-check
/** What the network plays: the events that it draws, as notes. */

/** @typedef {import("./events.js").Event} Event */
/** @typedef {import("./events.js").NoteEvents} NoteEvents */
/** @typedef {import("./events.js").OneHotEvents} OneHotEvents */
/** @typedef {import("./note_list.js").NoteList} NoteList */
/** @typedef {import("./schedule.js").Schedule} Schedule */
/** @typedef {import("./shared_stream.js").SharedStream} SharedStream */

// Over which notes a second are counted.
const RATE_SECONDS = 3;
// In a duet the network strikes at most so many notes a second, if no density is asked for.
const MAX_DUET_DENSITY = 10;
// After so long without a note of its own it leaves none to the player.
const MAX_DUET_SILENCE_SECONDS = 2;
const MAX_TAP_NOTES = 5;

export class NetworkPart {
  /**
   * @param {SharedStream} stream
   * @param {NoteList} notes
   * @param {Schedule} schedule May be replaced.
   * @param {number} stepsPerSecond
   */
  constructor(stream, notes, schedule, stepsPerSecond) {
    this._stream = stream;
    this._notes = notes;
    this.schedule = schedule;
    this._stepsPerSecond = stepsPerSecond;
    this._events = stream.sampler.events;
  }

  get _oneHot() {
    return /** @type {OneHotEvents} */ (this._events);
  }

  get _rules() {
    return /** @type {import("./rules.js").LegalEvents} */ (this._stream.sampler.rules);
  }

  get _steering() {
    return this.schedule.at(this._stream.step);
  }

  /** @returns {Event} The next event, not read yet. */
  draw() {
    const { limits } = this._steering;
    return this._stream.draw(limits, (logits) => this._adjust(logits));
  }

  /** @param {(index: number) => boolean} allows @returns {Event | null} See Sampler.drawAgain. */
  drawAgain(allows) {
    const { limits } = this._steering;
    const { sampler } = this._stream;
    return sampler.drawAgain(limits, (logits) => this._adjust(logits), allows);
  }

  /** Reads an event, and plays what it means. @param {Event} event */
  read(event) {
    const entry = this._stream.read(event);
    if (this._events.wholeNotes) {
      const events = /** @type {NoteEvents} */ (this._events);
      const { start, end, pitch, velocity } = events.note(event, entry.after);
      this._notes.start(start, pitch, velocity);
      this._notes.end(end, pitch);
      return;
    }
    const { kindOf, valueOf } = this._oneHot;
    const [index] = event;
    if (kindOf[index] === "note_on") {
      const velocity = this._events.velocity(this._rules.bin);
      this._notes.start(entry.step, valueOf[index], velocity);
    } else if (kindOf[index] === "note_off") {
      this._notes.end(entry.step, valueOf[index]);
    }
  }

  /** Reads a drawn event as `read`, unless in a duet it is left to the player. @param {Event} event */
  readInDuet(event) {
    if (this._isLeftOut(event)) this._waitInstead(event);
    else this.read(event);
  }

  /**
   * Plays a note or a chord now, as loudly as a key was tapped.
   *
   * @param {number} velocity
   * @returns {number[]} The pitches.
   */
  playTap(velocity) {
    const { kindOf, valueOf, velocities } = this._oneHot;
    const bin = this._events.bin(velocity);
    const isNote = (/** @type {number} */ index) => kindOf[index] === "note_on";
    const pitches = [];
    while (pitches.length < MAX_TAP_NOTES) {
      this.draw();
      const allowed = pitches.length ? ["note_on", "shift"] : ["note_on"];
      if (!pitches.length && bin !== this._rules.bin) {
        this._stream.read([velocities[bin - 1]]);
        this.draw();
      }
      const event = this.drawAgain((index) => allowed.includes(kindOf[index]));
      if (!event || !isNote(event[0])) break;
      this._stream.read(event);
      this._notes.start(this._stream.step, valueOf[event[0]], velocity);
      pitches.push(valueOf[event[0]]);
    }
    return pitches;
  }

  /** @param {Float64Array} logits */
  _adjust(logits) {
    const { step } = this._stream;
    const steps = Math.min(Math.max(step, this._stepsPerSecond), RATE_SECONDS * this._stepsPerSecond);
    const count = this._notes.count(step - steps, step + 1);
    this._steering.adjust(logits, (count / steps) * this._stepsPerSecond);
  }

  // In a duet.

  /** Whether a drawn note is in the player's register, or one too many. @param {Event} event */
  _isLeftOut([index]) {
    const { kindOf, valueOf } = this._oneHot;
    if (kindOf[index] !== "note_on") return false;
    const { split, notes_per_second } = this._steering.settings;
    if (split !== null && valueOf[index] >= split) return true;
    const { step } = this._stream;
    const lately = this._notes.count(step - this._stepsPerSecond, step + 1);
    return lately >= Math.max(notes_per_second ?? 0, MAX_DUET_DENSITY);
  }

  /** Waits instead of a drawn note: the player may play it. @param {Event} event */
  _waitInstead(event) {
    const { kindOf, valueOf } = this._oneHot;
    const { entries, sampler } = this._stream;
    const rules = this._rules;
    if (this._isSilentForLong()) return this._readOwn(event);
    // A velocity was for this note.
    if (rules.last === "velocity") this._stream.back(entries.length - 1, false);
    // A wait becomes longer by one that could have been drawn in its place. A network has never
    // read a short shift and then another, so what it predicts after one is no wait.
    let before = 0;
    if (rules.last === "short_shift") {
      before = valueOf[entries[entries.length - 1].event[0]];
      this._stream.back(entries.length - 1, false);
    }
    this.draw();
    const longest = rules.deadline() - sampler.clock - before;
    const wait = this.drawAgain((index) => kindOf[index] === "shift" && valueOf[index] <= longest);
    const steps = before + (wait ? valueOf[wait[0]] : 0);
    for (const shift of this._oneHot.wait(steps)) this.read(shift);
    if (wait) return;
    // The rules allow no longer silence.
    if (before) this.draw();
    this._readOwn(event);
  }

  /** Whether the network has played nothing for long, as where one voice alone is expected. */
  _isSilentForLong() {
    const { step } = this._stream;
    return !this._notes.count(step - MAX_DUET_SILENCE_SECONDS * this._stepsPerSecond, step + 1);
  }

  /** Reads an event drawn in place of a note in the player's register. @param {Event} event */
  _readOwn(event) {
    const { kindOf, valueOf } = this._oneHot;
    const { split } = this._steering.settings;
    const own = this.drawAgain(
      (index) => kindOf[index] !== "note_on" || split === null || valueOf[index] < split,
    );
    this.read(own ?? event);
  }
}
