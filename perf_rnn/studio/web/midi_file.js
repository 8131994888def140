// @ts-check
/**
 * Standard MIDI files (RP-001): notes and pedal, read as perf_rnn.notes.midi reads them, and written.
 *
 * All tracks share the state of a channel. Channels of port p are numbered from 16 p.
 */

const MOST_BYTES = 1 << 22, MOST_TRACKS = 4096, MOST_NOTES = 500000, MOST_SECONDS = 86400;
const MOST_DELTA = (1 << 28) - 1, MOST_DELTA_BYTES = 16;
const META = 0xff, SYSEX = 0xf0, ESCAPE = 0xf7;
const NAME = 0x03, PORT = 0x21, END = 0x2f, TEMPO = 0x51;
const NOTE_OFF = 0x8, NOTE_ON = 0x9, CONTROL = 0xb, PROGRAM = 0xc, PRESSURE = 0xd;
const PEDAL = 64, ENDS_NOTES = [120, 123];
// Data bytes of the other system messages that have any: time code, song position, song number.
/** @type {Record<number, number>} */
const SYSTEM_DATA_BYTES = {0xf1: 1, 0xf2: 2, 0xf3: 1};
/** @type {Record<number, number>} */
const FRAME_RATES = {24: 24, 25: 25, 29: 30 / 1.001, 30: 30};
const DEFAULT_TEMPO = 500000;  // Microseconds a quarter note.
const DRUMS = 9;
// One tick is a millisecond.
const WRITTEN_TICKS_A_QUARTER = 500;

/**
 * @typedef {{start: number, end: number, pitch: number, velocity: number, channel: number, track: number}} FileNote
 * @typedef {{time: number, down: boolean, channel: number}} FilePedal
 * @typedef {{notes: FileNote[], pedal: FilePedal[], seconds: number}} Song times in seconds
 * @typedef {{tick: number, channel: number, kind: number, first: number, second: number, track: number}} Message
 * @typedef {{messages: Message[], tempos: [number, number][], end: number}} Track
 */

/**
 * Reads a MIDI file.
 *
 * @param {Uint8Array} data
 * @returns {Song} the notes in order of start, each until its key goes up, and the sustain pedal
 * @throws {Error} one line: it is no MIDI file, is damaged or too large
 */
export function readMidi(data) {
  if (data.length > MOST_BYTES) throw new Error(`more than ${MOST_BYTES} bytes`);
  const {format, division, tracks} = readTracks(data);
  const groups = format === 2 ? tracks.map((track) => [track]) : [tracks];
  /** @type {Song} */
  const song = {notes: [], pedal: [], seconds: 0};
  let begin = 0;
  for (const group of groups) {
    const secondsAt = makeClock(division, group.flatMap(({tempos}) => tempos), begin);
    play(group, tracks, secondsAt, song);
    begin = secondsAt(group.reduce((last, {end}) => Math.max(last, end), 0));
  }
  const channels = new Set(song.notes.map(({channel}) => channel));
  song.pedal = song.pedal.filter(({channel}) => channels.has(channel));
  song.seconds = song.notes.reduce((last, {end}) => Math.max(last, end), 0);
  const last = song.pedal.reduce((latest, {time}) => Math.max(latest, time), song.seconds);
  if (last > MOST_SECONDS) throw new Error("lasts more than a day");
  song.notes.sort((a, b) => a.start - b.start || a.pitch - b.pitch);
  return song;
}

/**
 * Returns the notes of a song without drums, held for as long as the pedal of their channel holds
 * them, as perf_rnn.notes.transforms.apply_sustain.
 *
 * @param {Song} song
 * @returns {FileNote[]} in order of start
 */
export function sustained({notes, pedal}) {
  /** @type {FileNote[]} */
  const held = [];
  const played = notes.filter(({channel}) => channel % 16 !== DRUMS);
  const times = [...played.flatMap(({start, end}) => [start, end]), ...pedal.map(({time}) => time)];
  const lastEvent = times.reduce((a, b) => Math.max(a, b), 0);
  for (const channel of new Set(played.map((note) => note.channel))) {
    const changes = pedal.filter((change) => change.channel === channel);
    // Down and up at one time is up.
    changes.sort((a, b) => a.time - b.time || Number(b.down) - Number(a.down));
    const changeTimes = changes.map(({time}) => time);
    const isDown = (/** @type {number} */ time) => changes[after(changeTimes, time) - 1]?.down ?? false;
    const lifts = changes.filter(({down}) => !down).map(({time}) => time);
    const lifted = (/** @type {number} */ time) => lifts[before(lifts, time)] ?? lastEvent;
    const own = played.filter((note) => note.channel === channel);
    own.sort((a, b) => b.pitch - a.pitch || b.start - a.start || b.end - a.end);
    let struck = Infinity, pitch = -1;  // When the pitch is next struck with the pedal down.
    for (const note of own) {
      if (note.pitch !== pitch) struck = Infinity;
      pitch = note.pitch;
      const released = isDown(note.end) ? lifted(note.end) : note.end;
      if (struck > note.start) held.push({...note, end: Math.min(released, struck)});
      if (isDown(note.start)) struck = note.start;
    }
  }
  return held.sort((a, b) => a.start - b.start || a.pitch - b.pitch);
}

/**
 * Returns a MIDI file of format 1 at 120 quarter notes a minute, exact to a millisecond.
 *
 * @param {{
 *   name: string,
 *   notes: {start: number, end: number, pitch: number, velocity: number}[],
 *   pedal: {time: number, down: boolean}[],
 * }[]} parts a track and a channel each; times in seconds
 * @returns {Uint8Array}
 */
export function writeMidi(parts) {
  const ticks = (/** @type {number} */ seconds) => Math.max(0, Math.round(seconds * 1000));
  const name = (/** @type {string} */ text) => {
    const letters = [...text].map((letter) => Math.min(letter.charCodeAt(0), 0xff));
    return [META, NAME, ...variableLength(letters.length), ...letters];
  };
  const tracks = [trackOf([[0, 0, [META, TEMPO, 3, 0x07, 0xa1, 0x20]]])];
  parts.forEach((part, number) => {
    const channel = number < DRUMS ? number : number + 1;
    /** @type {[number, number, number[]][]} Tick, place among those of the tick, bytes. */
    const events = [[0, -1, name(part.name)]];
    for (const {start, end, pitch, velocity} of part.notes) {
      const begin = ticks(start);
      events.push([begin, 2, [0x90 | channel, pitch, velocity]]);
      events.push([Math.max(begin + 1, ticks(end)), 0, [0x90 | channel, pitch, 0]]);
    }
    for (const {time, down} of part.pedal) {
      events.push([ticks(time), 1, [0xb0 | channel, PEDAL, down ? 127 : 0]]);
    }
    tracks.push(trackOf(events));
  });
  const head = [...letters("MThd"), 0, 0, 0, 6, 0, 1, ...bytes16(tracks.length)];
  return joined([Uint8Array.from([...head, ...bytes16(WRITTEN_TICKS_A_QUARTER)]), ...tracks]);
}

// Reading.

/** @param {Uint8Array} data */
function readTracks(data) {
  if (!data.length) throw new Error("empty");
  const begin = find(data, letters("MThd"), 0) + 8;
  if (begin < 8) throw new Error("not a MIDI file (no MThd header)");
  if (data.length < begin + 6) throw new Error("damaged: cut off in its header");
  const [format, announced, division] = [0, 2, 4].map((at) => (data[begin + at] << 8) | data[begin + at + 1]);
  /** @type {Track[]} */
  const tracks = [];
  for (const chunk of chunks(data, begin)) {
    if (tracks.length === MOST_TRACKS) throw new Error(`more than ${MOST_TRACKS} tracks`);
    tracks.push(readTrack(chunk, tracks.length));
    if (tracks.length === announced) break;
  }
  if (!tracks.length) throw new Error("damaged: it has no tracks");
  return {format, division, tracks};
}

/**
 * Yields the content of each track.
 *
 * @param {Uint8Array} data
 * @param {number} from
 */
function* chunks(data, from) {
  const mark = letters("MTrk");
  for (let place = find(data, mark, from); place >= 0;) {
    const begin = place + 8;
    if (begin > data.length) throw new Error("damaged: cut off in the header of a track");
    const length = new DataView(data.buffer, data.byteOffset + place + 4, 4).getUint32(0);
    let end = begin + length;
    place = isAt(data, mark, end) ? end : -1;
    if (end !== data.length && end !== place) {
      // Another chunk follows, or the length is wrong.
      place = find(data, mark, begin);
      const limit = place < 0 ? data.length : place;
      const hasEnd = find(data.subarray(0, limit), [META, END, 0], begin) >= 0;
      end = hasEnd ? limit : Math.min(end, limit);
    }
    yield data.subarray(begin, end);
  }
}

/**
 * @param {Uint8Array} chunk
 * @param {number} number
 * @returns {Track}
 */
function readTrack(chunk, number) {
  const damaged = (/** @type {string} */ what) => new Error(`damaged: track ${number} has ${what}`);
  /** @type {Track} */
  const track = {messages: [], tempos: [], end: 0};
  let place = 0, status = 0, port = 0;

  function next() {
    if (place >= chunk.length) throw damaged("an event that is cut off");
    return chunk[place++];
  }

  /** A number of variable length; some programs write zeros before them. */
  function readNumber(/** @type {number} */ most, /** @type {number} */ mostBytes) {
    let value = 0;
    for (let count = 1; ; count++) {
      const byte = next();
      value = Math.min(value * 128 + (byte & 0x7f), Number.MAX_SAFE_INTEGER / 256);
      if (value > most || count > mostBytes) throw damaged("a delta time that is too long");
      if (byte < 0x80) return value;
    }
  }

  function skip(/** @type {number} */ size) {
    if (place + size > chunk.length) throw damaged("an event that is cut off");
    place += size;
    return chunk.subarray(place - size, place);
  }

  while (place < chunk.length) {
    track.end += readNumber(MOST_DELTA, MOST_DELTA_BYTES);
    const byte = next();
    if (byte >= SYSEX) {
      if (byte !== META && byte !== SYSEX && byte !== ESCAPE) {
        skip(SYSTEM_DATA_BYTES[byte] ?? 0);
        continue;
      }
      const kind = byte === META ? next() : -1;
      const content = skip(readNumber(Infinity, Infinity));
      if (kind === END) break;
      if (kind === PORT && content.length) port = content[0];
      const tempo = kind === TEMPO && content.length >= 3
        ? (content[0] << 16) | (content[1] << 8) | content[2] : 0;
      if (tempo) track.tempos.push([track.end, tempo]);
      continue;
    }
    if (byte >= 0x80) status = byte;
    else place--;  // Running status; it goes on after metadata and SysEx too.
    if (!status) throw damaged("a message without a status");
    const kind = status >> 4, isShort = kind === PROGRAM || kind === PRESSURE;
    const first = next(), second = isShort ? 0 : next();
    if ((first | second) >= 0x80) throw damaged("a data byte above 127");
    const channel = 16 * port + (status & 0xf);
    track.messages.push({tick: track.end, channel, kind, first, second, track: number});
  }
  return track;
}

/**
 * @param {number} division
 * @param {[number, number][]} tempos ticks, and microseconds a quarter note
 * @param {number} begin when tick 0 is, in seconds
 */
function makeClock(division, tempos, begin) {
  const known = new Map([[0, DEFAULT_TEMPO]]);
  const ofFrames = (FRAME_RATES[256 - (division >> 8)] ?? 0) * (division & 0xff);
  const isMusical = division < 0x8000;
  if (!(isMusical ? division : ofFrames)) {
    throw new Error(`damaged: 0x${division.toString(16).padStart(4, "0")} is an invalid division`);
  }
  if (isMusical) for (const [tick, tempo] of tempos) known.set(tick, tempo);
  /** @type {{tick: number, time: number, scale: number}[]} */
  const parts = [];
  for (const [tick, tempo] of [...known].sort((a, b) => a[0] - b[0])) {
    // The same operations as in Python, so that the times are equal to the last bit.
    const scale = isMusical ? 60 / ((6e7 / tempo) * division) : 1 / ofFrames;
    const last = parts[parts.length - 1];
    if (last?.scale === scale) continue;
    parts.push({tick, scale, time: last ? last.time + last.scale * (tick - last.tick) : begin});
  }
  const ticks = parts.map(({tick}) => tick);
  return (/** @type {number} */ tick) => {
    const part = parts[after(ticks, tick) - 1];
    return part.time + part.scale * (tick - part.tick);
  };
}

/**
 * Adds the notes and the pedal of tracks that play together to a song.
 *
 * A note-off ends the open notes of its pitch in its track that began before its tick. Notes that
 * began at its tick stay open if it ended others, and are dropped if not. A note-off that finds
 * none ends those of its pitch in the channel's other tracks.
 *
 * @param {Track[]} group
 * @param {Track[]} tracks all, by number
 * @param {(tick: number) => number} secondsAt
 * @param {Song} song
 */
function play(group, tracks, secondsAt, song) {
  /** @typedef {{tick: number, pitch: number, velocity: number, channel: number, track: number, end: number}} Open */
  const messages = group.flatMap((track) => track.messages).sort((a, b) => a.tick - b.tick);
  /** @type {Set<Open>} */
  const notes = new Set();
  /** @type {Map<string, Open[]>} By track, channel and pitch. */
  const own = new Map();
  /** @type {Map<number, Open[]>} Not ended yet, by channel and pitch, in order of start. */
  const sounding = new Map();
  const pedals = new Map();
  const channelEnds = new Map();

  function endAll(/** @type {number} */ key, /** @type {number} */ tick) {
    const open = sounding.get(key);
    if (!open?.length || open[0].tick >= tick) return;
    const place = open.findIndex((note) => note.tick >= tick);
    for (const note of open.splice(0, place < 0 ? open.length : place)) {
      note.end = Math.min(note.end, tick);
    }
  }

  for (const {tick, channel, kind, first, second, track} of messages) {
    const key = channel * 128 + first;
    channelEnds.set(channel, Math.max(channelEnds.get(channel) ?? 0, tracks[track].end));
    if (kind === CONTROL) {
      if (first === PEDAL) {
        const down = second >= 64;
        song.pedal.push({time: secondsAt(tick), down, channel});
        pedals.set(channel, down);
      } else if (ENDS_NOTES.includes(first)) {
        for (let pitch = 0; pitch < 128; pitch++) endAll(channel * 128 + pitch, tick);
      }
      continue;
    }
    if (kind !== NOTE_ON && kind !== NOTE_OFF) continue;
    const ownKey = `${track} ${key}`;
    const open = own.get(ownKey) ?? [];
    if (kind === NOTE_ON && second > 0) {
      if (notes.size === MOST_NOTES) throw new Error(`more than ${MOST_NOTES} notes`);
      const note = {tick, pitch: first, velocity: second, channel, track, end: Infinity};
      notes.add(note);
      open.push(note);
      own.set(ownKey, open);
      const others = sounding.get(key) ?? [];
      others.push(note);
      sounding.set(key, others);
    } else if (!open.length) {
      endAll(key, tick);
    } else if (open[0].tick < tick) {
      for (const note of open) if (note.tick < tick) note.end = Math.min(note.end, tick);
      own.set(ownKey, open.filter((note) => note.tick === tick));
      dropEnded(sounding, key);
    } else {
      for (const note of open) notes.delete(note);
      own.set(ownKey, []);
    }
  }
  for (const note of notes) {
    const start = secondsAt(note.tick);
    const end = secondsAt(note.end === Infinity ? tracks[note.track].end : note.end);
    const {pitch, velocity, channel, track} = note;
    if (start < end) song.notes.push({start, end, pitch, velocity, channel, track});
  }
  for (const [channel, down] of pedals) {
    if (down) song.pedal.push({time: secondsAt(channelEnds.get(channel)), down: false, channel});
  }
}

/** Forgets the first notes of a list that have ended. */
function dropEnded(/** @type {Map<number, any[]>} */ sounding, /** @type {number} */ key) {
  const open = sounding.get(key) ?? [];
  const first = open.findIndex((note) => note.end === Infinity);
  open.splice(0, first < 0 ? open.length : first);
}

/** @returns {number} how many sorted numbers are at most `value` */
function after(/** @type {number[]} */ sorted, /** @type {number} */ value) {
  return search(sorted, (x) => x <= value);
}

/** @returns {number} how many sorted numbers are below `value` */
function before(/** @type {number[]} */ sorted, /** @type {number} */ value) {
  return search(sorted, (x) => x < value);
}

function search(/** @type {number[]} */ sorted, /** @type {(x: number) => boolean} */ isBelow) {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isBelow(sorted[middle])) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** @returns {number} where some bytes are, -1 if they are not */
function find(/** @type {Uint8Array} */ data, /** @type {number[]} */ wanted, /** @type {number} */ from) {
  for (let at = data.indexOf(wanted[0], from); at >= 0; at = data.indexOf(wanted[0], at + 1)) {
    if (isAt(data, wanted, at)) return at;
  }
  return -1;
}

/** @returns {boolean} whether some bytes are at a place */
function isAt(/** @type {Uint8Array} */ data, /** @type {number[]} */ wanted, /** @type {number} */ at) {
  return wanted.every((byte, i) => data[at + i] === byte);
}

// Writing.

/** @param {[number, number, number[]][]} events */
function trackOf(events) {
  events.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  /** @type {number[]} */
  const content = [];
  let before = 0;
  for (const [tick, , message] of events) {
    content.push(...variableLength(tick - before), ...message);
    before = tick;
  }
  content.push(1, META, END, 0);
  const head = [...letters("MTrk"), ...bytes16(content.length >>> 16), ...bytes16(content.length & 0xffff)];
  return joined([Uint8Array.from(head), Uint8Array.from(content)]);
}

/** A number in groups of seven bits, the highest first. */
function variableLength(/** @type {number} */ value) {
  const groups = [value & 0x7f];
  for (value >>>= 7; value; value >>>= 7) groups.unshift((value & 0x7f) | 0x80);
  return groups;
}

function bytes16(/** @type {number} */ value) {
  return [value >> 8, value & 0xff];
}

function letters(/** @type {string} */ text) {
  return [...text].map((letter) => letter.charCodeAt(0));
}

function joined(/** @type {Uint8Array[]} */ parts) {
  const all = new Uint8Array(parts.reduce((sum, {length}) => sum + length, 0));
  let place = 0;
  for (const part of parts) {
    all.set(part, place);
    place += part.length;
  }
  return all;
}
