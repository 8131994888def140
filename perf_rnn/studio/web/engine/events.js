// @ts-check
/** What events mean: notes as events, and the time that events take.
 *
 * An event is a list of classes, one for each head of the network. The codecs are those of
 * perf_rnn/events/one_hot.py and note_events.py.
 */

/** @typedef {import("./model.js").Header} Header */
/** @typedef {number[]} Event */
/** @typedef {{start: number, end: number, pitch: number, velocity: number}} Note In steps. */

export const NUM_PITCHES = 128;
const DEFAULT_VELOCITY = 100; // Of notes before the first velocity event.
const MIN_VELOCITY = 1;

/** @param {Header} header @returns {OneHotEvents | NoteEvents} */
export function eventsOf(header) {
  return header.events.whole_notes ? new NoteEvents(header) : new OneHotEvents(header);
}

/** What both kinds of events have in common. */
class Events {
  /** @param {Header} header */
  constructor({ events, steps_per_second }) {
    this.velocityBins = events.velocity_bins;
    /** The event that the network reads first where there is no primer. @type {Event} */
    this.start = events.start;
    this._binWidth = events.velocity_bin_width;
    this._stepsPerSecond = steps_per_second;
  }

  /** @param {number} bin From 1; 0: none was given. */
  velocity(bin) {
    return bin ? MIN_VELOCITY + (bin - 1) * this._binWidth : DEFAULT_VELOCITY;
  }

  /** @param {number} velocity From 1 to 127. */
  bin(velocity) {
    return this.velocityBins && 1 + Math.floor((velocity - MIN_VELOCITY) / this._binWidth);
  }

  /** @param {number} seconds @returns {number} The nearest step. */
  step(seconds) {
    return Math.floor(seconds * this._stepsPerSecond + 0.5);
  }

  /**
   * @param {[number, number, number, number][]} notes Start and end in seconds, pitch, velocity.
   * @returns {Note[]} In steps, in the order in which they are encoded.
   */
  quantize(notes) {
    return notes
      .slice()
      .sort((a, b) => a[0] - b[0] || a[2] - b[2])
      .map(([start, end, pitch, velocity]) => {
        const first = this.step(start);
        return { start: first, end: Math.max(first + 1, this.step(end)), pitch, velocity };
      });
  }
}

/** One event starts a note, another ends it; shifts move time on, velocities hold from then on. */
export class OneHotEvents extends Events {
  wholeNotes = false;

  /** @param {Header} header */
  constructor(header) {
    super(header);
    const { kinds, class_kinds, class_values, class_steps } = header.events;
    this.kindOf = class_kinds.map((kind) => kinds[kind]);
    this.valueOf = class_values;
    this._stepsOf = class_steps;
    /** @param {string} kind @returns {number[]} The classes of a kind. */
    const classes = (kind) => [...this.kindOf.keys()].filter((c) => this.kindOf[c] === kind);
    this.noteOns = classes("note_on");
    this.noteOffs = classes("note_off");
    this.shifts = classes("shift");
    this.velocities = classes("velocity");
    /** Among which the pitch of a new note is drawn. */
    this.pitches = this.noteOns;
    this.maxShift = this.shifts.length;
  }

  /** @param {Event} event @returns {number} By how many steps it moves time on. */
  steps([index]) {
    return this._stepsOf[index];
  }

  /** @param {number} steps @returns {Event[]} The shifts of a wait. */
  wait(steps) {
    const shifts = [];
    for (; steps > 0; steps -= this.maxShift) {
      shifts.push([this.shifts[Math.min(steps, this.maxShift) - 1]]);
    }
    return shifts;
  }

  /**
   * @param {Note[]} notes As `quantize` gives them.
   * @param {number} length In steps, at least to the last note's end.
   * @returns {Event[]}
   */
  encode(notes, length) {
    const changes = notes
      .flatMap((note, order) => [
        { step: note.start, order, isOff: 0, note },
        { step: note.end, order, isOff: 1, note },
      ])
      .sort((a, b) => a.step - b.step || a.order - b.order || a.isOff - b.isOff);
    /** @type {Event[]} */
    const events = [];
    let [clock, bin] = [0, 0];
    for (const { step, isOff, note } of changes) {
      events.push(...this.wait(step - clock));
      clock = step;
      const own = this.bin(note.velocity);
      if (!isOff && own !== bin) {
        events.push([this.velocities[own - 1]]);
        bin = own;
      }
      events.push([(isOff ? this.noteOffs : this.noteOns)[note.pitch]]);
    }
    return [...events, ...this.wait(length - clock)];
  }
}

/** Each event is a note: the shift since the note before, pitch, velocity and duration. */
export class NoteEvents extends Events {
  wholeNotes = true;

  /** @param {Header} header */
  constructor(header) {
    super(header);
    const { heads, fine_shifts, fine_durations } = header.events;
    this._fineShifts = fine_shifts;
    this._fineDurations = fine_durations;
    this.sizes = header.head_sizes;
    const first = this.sizes.slice(0, heads.indexOf("pitch")).reduce((a, b) => a + b);
    /** Among which the pitch of a new note is drawn. */
    this.pitches = Array.from({ length: NUM_PITCHES }, (_, pitch) => first + pitch);
    this.velocities = Array.from({ length: this.velocityBins }, (_, b) => first + NUM_PITCHES + b);
    this.maxShift = this.sizes[0] * fine_shifts - 1;
    this.maxDuration = this.sizes[4] * fine_durations;
  }

  /** @param {Event} event @returns {number} By how many steps it moves time on. */
  steps([coarse, fine]) {
    return coarse * this._fineShifts + fine;
  }

  /** @param {Event} event @param {number} start @returns {Note} */
  note([, , pitch, bin, coarse, fine], start) {
    const end = start + coarse * this._fineDurations + fine + 1;
    return { start, end, pitch, velocity: this.velocity(bin + 1) };
  }

  /**
   * @param {Note[]} notes As `quantize` gives them.
   * @returns {Event[]} Longer shifts and durations than events hold are cut.
   */
  encode(notes) {
    let clock = 0;
    return notes.map(({ start, end, pitch, velocity }) => {
      const shift = Math.min(start - clock, this.maxShift);
      const duration = Math.min(end - start, this.maxDuration) - 1;
      clock = start;
      return [
        Math.floor(shift / this._fineShifts),
        shift % this._fineShifts,
        pitch,
        this.bin(velocity) - 1,
        Math.floor(duration / this._fineDurations),
        duration % this._fineDurations,
      ];
    });
  }
}
