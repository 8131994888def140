// @ts-check
"use strict";

// Reads SoundFonts: SF2 (the SoundFont 2.04 specification), and SF3, whose samples are compressed.
// Their filters, modulators, low frequency oscillators and effects are left out.

const MOST_ZONES = 4096;  // Read in all, with those that sound for no note.
const MOST_GENERATORS = 256;  // Of a zone; there are 61 kinds.
const MOST_FRAMES = 1 << 26;  // Of all samples together: 256 MB.
const MOST_COMPRESSED_BYTES = 1 << 25;
const COMPRESSED = 0x10;  // A flag of a sample's type.
const ROM = 0x8000;
// Generators, by number.
const START = 0, END = 1, LOOP_START = 2, LOOP_END = 3, PAN = 17, ATTACK = 34, HOLD = 35;
const DECAY = 36, SUSTAIN = 37, RELEASE = 38, INSTRUMENT = 41, KEYS = 43, VELOCITIES = 44;
const ATTENUATION = 48, SEMITONES = 51, CENTS = 52, SAMPLE = 53, LOOPS = 54;
const CENTS_A_KEY = 56, ROOT_KEY = 58;
// Offsets in units of 32768 frames.
const COARSE = new Map([[START, 4], [END, 12], [LOOP_START, 45], [LOOP_END, 50]]);
/** @type {Object<number, number>} */
const DEFAULTS = {[CENTS_A_KEY]: 100, [ROOT_KEY]: -1};
for (const envelope of [ATTACK, HOLD, DECAY, RELEASE]) DEFAULTS[envelope] = -12000;

/**
 * A sample and the notes that it sounds for.
 *
 * @typedef {object} Zone
 * @property {number} lowKey the lowest pitch, 0 to 127
 * @property {number} highKey the highest pitch
 * @property {number} lowVelocity the softest velocity, 0 to 127
 * @property {number} highVelocity the loudest velocity
 * @property {number} rootKey the pitch of the sample itself, in semitones, with its tuning
 * @property {number} centsAKey how much a key raises the pitch
 * @property {number} gain
 * @property {number} pan -1 (left) to 1
 * @property {number} attack seconds to full level
 * @property {number} hold seconds at full level
 * @property {number} decay seconds for a fall by 100 dB
 * @property {number} sustain the level at which the decay ends, 0 to 1
 * @property {number} release seconds for a fall by 100 dB, once the key is released
 * @property {number} [rate] frames a second
 * @property {number[] | null} loop its first frame, and the one after its last
 * @property {Int16Array | Uint8Array} [data] frames (Int16Array), or an Ogg or MP3 file
 * @property {AudioBuffer} [buffer] the decoded sample
 * @property {number} [begin] where it begins to sound, in seconds
 */

/**
 * @typedef {object} Table Records, whose fields are read by the record's number and their offset.
 * @property {number} count
 * @property {(i: number, offset: number) => number} u8
 * @property {(i: number, offset: number) => number} u16
 * @property {(i: number, offset: number) => number} i16
 * @property {(i: number, offset: number) => number} u32
 * @property {(i: number) => string} text its name
 *
 * @typedef {Map<number, any>} Generators by number; of a range [lowest, highest].
 * @typedef {Map<string, Int16Array | Uint8Array>} Samples by where they lie in the file.
 */

/**
 * @typedef {object} Soundfont
 * @property {string} name
 * @property {string} copyright
 * @property {Zone[]} zones
 * @property {Promise<void>} decoded settled when all zones have their `buffer`, or one cannot have it
 */

/**
 * Opens a SoundFont and begins to decode its samples.
 *
 * @param {ArrayBuffer} file
 * @returns {Soundfont}
 * @throws {Error} as `readSoundfont`
 */
function openSoundfont(file) {
  const font = readSoundfont(file), decoded = decodeAll(font.zones);
  decoded.catch(() => {});  // Told when the font is used.
  return {...font, decoded};
}

/**
 * Returns the piano of a SoundFont: bank 0, program 0, or the first preset if it has none.
 *
 * @param {ArrayBuffer} file
 * @returns {{name: string, copyright: string, zones: Zone[]}}
 * @throws {Error} it is no SoundFont, is damaged, or has more than this reader takes
 */
function readSoundfont(file) {
  const view = new DataView(file);
  const tables = findTables(view);
  const {phdr, pbag, pgen, inst, ibag, igen, shdr} = tables;
  const presets = Array.from({length: phdr.count - 1}, (_, i) => i);
  /** @param {number} i */
  const order = (i) => phdr.u16(i, 22) * 128 + phdr.u16(i, 20);
  const preset = presets.reduce((a, b) => (order(b) < order(a) ? b : a));
  const zones = [], samples = new Map();
  let read = 0;
  const count = () => {
    if (++read > MOST_ZONES) fail(`more than ${MOST_ZONES} zones`);
  };
  for (const outer of zonesOf(phdr, preset, 24, pbag, pgen, INSTRUMENT, count)) {
    const number = outer.get(INSTRUMENT);
    if (number >= inst.count - 1) fail("a preset names an instrument that is missing");
    for (const inner of zonesOf(inst, number, 20, ibag, igen, SAMPLE, count)) {
      const zone = makeZone(outer, inner, shdr, tables.smpl, samples);
      if (zone) zones.push(zone);
    }
  }
  if (!zones.length) fail("its piano has no notes");
  return {name: tables.INAM || phdr.text(preset), copyright: tables.ICOP, zones};
}

/** @param {string} reason @returns {never} */
function fail(reason) {
  throw new Error(`the soundfont cannot be used: ${reason}`);
}

/**
 * Returns the tables of records and the texts, by name, and the bytes of the samples as `smpl`.
 * @param {DataView<ArrayBuffer>} view
 */
function findTables(view) {
  const size = view.byteLength;
  /** @param {number} at */
  const tag = (at) => String.fromCharCode(...[0, 1, 2, 3].map((i) => view.getUint8(at + i)));
  if (size < 12 || tag(0) !== "RIFF" || tag(8) !== "sfbk") fail("it is not in the SF2 or SF3 format");
  /** @type {Object<string, [number, number]>} */
  const found = {};
  /** @param {number} at @param {number} end */
  const read = (at, end) => {
    while (at + 8 <= end) {
      const name = tag(at), length = view.getUint32(at + 4, true), begin = at + 8;
      if (length > end - begin) fail("it is damaged: cut off");
      if (name === "LIST" && length >= 4) read(begin + 4, begin + length);
      else found[name] ??= [begin, length];
      at = begin + length;
      // Chunks of odd length are padded, but not by every converter to SF3.
      if (length % 2 && !(at + 4 <= end && tag(at) === "LIST")) at++;
    }
  };
  read(12, size);
  const sizes = {phdr: 38, pbag: 4, pgen: 4, inst: 22, ibag: 4, igen: 4, shdr: 46};
  /** @type {any} */
  const tables = {};
  for (const [name, recordSize] of Object.entries(sizes)) {
    const [begin, length] = found[name] ?? [0, 0];
    // The last record of each table only ends the one before it.
    if (length < (name.endsWith("gen") ? 1 : 2) * recordSize) fail(`it is damaged: no ${name}`);
    const count = Math.floor(length / recordSize);
    /** @param {number} i @param {number} offset */
    const place = (i, offset) => begin + i * recordSize + offset;
    /** @type {Table} */
    const table = {
      count,
      u8: (i, offset) => view.getUint8(place(i, offset)),
      u16: (i, offset) => view.getUint16(place(i, offset), true),
      i16: (i, offset) => view.getInt16(place(i, offset), true),
      u32: (i, offset) => view.getUint32(place(i, offset), true),
      text: (i) => {
        const bytes = new Uint8Array(view.buffer, place(i, 0), 20);
        return String.fromCharCode(...bytes).split("\0")[0].trim();
      },
    };
    tables[name] = table;
  }
  for (const name of ["INAM", "ICOP"]) {
    const [begin, length] = found[name] ?? [0, 0];
    const bytes = new Uint8Array(view.buffer, begin, Math.min(length, 256));
    tables[name] = String.fromCharCode(...bytes).split("\0")[0].trim();
  }
  const [begin, length] = found.smpl ?? [0, 0];
  tables.smpl = new Uint8Array(view.buffer, begin, length);
  return tables;
}

/**
 * Yields the generators of each zone of a preset or an instrument, those of its global zone added;
 * `count` is called for each zone, also for those without `last`.
 *
 * @param {Table} owners
 * @param {number} number of the preset or instrument
 * @param {number} offset of its first zone's number
 * @param {Table} bags
 * @param {Table} generators
 * @param {number} last generator, without which a zone is global
 * @param {() => void} count
 * @returns {Generator<Generators>}
 */
function* zonesOf(owners, number, offset, bags, generators, last, count) {
  const [begin, end] = [owners.u16(number, offset), owners.u16(number + 1, offset)];
  if (begin > end || end >= bags.count) fail("it is damaged: zones out of order");
  let shared = new Map();
  for (let bag = begin; bag < end; bag++) {
    count();
    const [first, after] = [bags.u16(bag, 0), bags.u16(bag + 1, 0)];
    if (first > after || after > generators.count) fail("it is damaged: generators out of order");
    if (after - first > MOST_GENERATORS) fail(`a zone of more than ${MOST_GENERATORS} generators`);
    const zone = new Map(shared);
    for (let i = first; i < after; i++) {
      const kind = generators.u16(i, 0);
      const isRange = kind === KEYS || kind === VELOCITIES;
      if (isRange) zone.set(kind, [generators.u8(i, 2), generators.u8(i, 3)]);
      else zone.set(kind, kind === last ? generators.u16(i, 2) : generators.i16(i, 2));
    }
    if (zone.has(last)) yield zone;
    else if (bag === begin) shared = zone;
  }
}

/**
 * Returns a zone; null if no note is in the ranges of both preset and instrument.
 * @param {Generators} outer of the preset
 * @param {Generators} inner of the instrument
 * @param {Table} headers of the samples
 * @param {Uint8Array<ArrayBuffer>} pool
 * @param {Samples} samples that are taken already
 * @returns {Zone | null}
 */
function makeZone(outer, inner, headers, pool, samples) {
  /** @param {number} kind */
  const sum = (kind) => (inner.get(kind) ?? DEFAULTS[kind] ?? 0) + (outer.get(kind) ?? 0);
  /** @param {number} kind */
  const own = (kind) => inner.get(kind) ?? DEFAULTS[kind] ?? 0;
  /** @param {number} kind */
  const range = (kind) => {
    const [a, b] = [outer, inner].map((zone) => zone.get(kind) ?? [0, 127]);
    return [Math.max(a[0], b[0]), Math.min(a[1], b[1])];
  };
  const [lowKey, highKey] = range(KEYS), [lowVelocity, highVelocity] = range(VELOCITIES);
  if (lowKey > highKey || lowVelocity > highVelocity) return null;
  const number = own(SAMPLE);
  if (number >= headers.count - 1) fail("an instrument names a sample that is missing");
  const [start, end, loopStart, loopEnd, rate] = [20, 24, 28, 32, 36].map((at) =>
    headers.u32(number, at));
  const type = headers.u16(number, 44);
  if (type & ROM) return null;
  if (rate < 8000 || rate > 96000) fail(`a sample has a rate of ${rate} Hz`);
  /** @param {number} kind */
  const offset = (kind) => own(kind) + 32768 * own(Number(COARSE.get(kind)));
  const isCompressed = (type & COMPRESSED) !== 0;
  const first = isCompressed ? start : start + offset(START);
  const after = isCompressed ? end : end + offset(END);
  const key = `${first},${after}`;
  if (!samples.has(key)) samples.set(key, takeSample(pool, first, after, isCompressed, samples));
  // Loops count from the beginning of the pool; those of compressed samples, from their own.
  const origin = isCompressed ? 0 : first;
  const loop = [loopStart + offset(LOOP_START) - origin, loopEnd + offset(LOOP_END) - origin];
  const isLooped = (own(LOOPS) & 1) === 1 && loop[0] >= 0 && loop[1] > loop[0] + 1;
  const headerKey = headers.u8(number, 40);
  const rootKey = own(ROOT_KEY) >= 0 ? own(ROOT_KEY) : headerKey <= 127 ? headerKey : 60;
  const correction = new DataView(new ArrayBuffer(1));
  correction.setUint8(0, headers.u8(number, 41));
  const cents = 100 * sum(SEMITONES) + sum(CENTS) + correction.getInt8(0);
  /** @param {number} kind @param {number} most */
  const seconds = (kind, most) => Math.min(most, 2 ** (sum(kind) / 1200));
  return {
    lowKey, highKey, lowVelocity, highVelocity, rate,
    rootKey: rootKey - cents / 100,
    centsAKey: Math.min(1200, Math.max(0, sum(CENTS_A_KEY))),
    // Of the attenuation, SoundFonts since the first sound card take only 0.4.
    gain: 10 ** ((-0.4 * Math.min(1440, Math.max(0, sum(ATTENUATION)))) / 200),
    pan: Math.min(500, Math.max(-500, sum(PAN))) / 500,
    attack: seconds(ATTACK, 10), hold: seconds(HOLD, 20), decay: seconds(DECAY, 100),
    sustain: 10 ** (-Math.min(1440, Math.max(0, sum(SUSTAIN))) / 200),
    release: seconds(RELEASE, 20),
    loop: isLooped ? loop : null,
    data: samples.get(key),
  };
}

/**
 * @param {Uint8Array<ArrayBuffer>} pool
 * @param {number} first
 * @param {number} after
 * @param {boolean} isCompressed
 * @param {Samples} samples that are taken already
 */
function takeSample(pool, first, after, isCompressed, samples) {
  const unit = isCompressed ? 1 : 2;
  if (first < 0 || after <= first || after * unit > pool.length) {
    fail("it is damaged: a sample lies outside of the file");
  }
  let sum = after - first;
  for (const data of samples.values()) sum += data.length;
  if (sum > (isCompressed ? MOST_COMPRESSED_BYTES : MOST_FRAMES)) fail("its piano is too large");
  if (isCompressed) return pool.slice(first, after);
  // A copy, since samples may begin at odd bytes of the file.
  return new Int16Array(pool.slice(2 * first, 2 * after).buffer);
}

/**
 * Decodes all samples, those of common velocities and of far apart keys first.
 * @param {Zone[]} zones
 */
async function decodeAll(zones) {
  /** @type {Map<object | undefined, Promise<AudioBuffer>>} */
  const decoded = new Map();
  /** @param {Zone} zone @param {number} i */
  const rank = (zone, i) => (isFor(zone, zone.lowKey, 64) ? 0 : 1000) + (i % 4);
  const waiting = zones.map((zone, i) => ({zone, rank: rank(zone, i)}));
  waiting.sort((a, b) => a.rank - b.rank);
  const work = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      await decodeZone(next.zone, decoded).catch(() => {
        throw new Error("the soundfont cannot be used: this browser cannot decode its samples");
      });
    }
  };
  await Promise.all([work(), work(), work(), work()]);
}

/** @param {Zone} zone @param {number} pitch @param {number} velocity */
function isFor(zone, pitch, velocity) {
  return zone.lowKey <= pitch && pitch <= zone.highKey
    && zone.lowVelocity <= velocity && velocity <= zone.highVelocity;
}

/**
 * Decodes the sample of a zone into `buffer`, and finds where it begins to sound.
 *
 * @param {Zone} zone
 * @param {Map<object | undefined, Promise<AudioBuffer>>} decoded of samples that zones share
 */
async function decodeZone(zone, decoded) {
  const decoding = decoded.get(zone.data) ?? decodeSample(zone);
  decoded.set(zone.data, decoding);
  const buffer = await decoding;
  // Browsers differ in whether they remove the silence that MP3 encoders put before the sound.
  zone.begin = zone.data instanceof Uint8Array && !zone.loop ? findBegin(buffer) : 0;
  zone.buffer = buffer;
}

/** @param {any} zone with data and rate */
async function decodeSample({data, rate}) {
  if (data instanceof Uint8Array) {
    // A context of the sample's own rate, so that it isn't resampled and takes no more memory.
    return new OfflineAudioContext(1, 1, rate).decodeAudioData(data.slice().buffer);
  }
  const buffer = new AudioBuffer({length: data.length, numberOfChannels: 1, sampleRate: rate});
  const channel = buffer.getChannelData(0);
  for (let i = 0; i < data.length; i++) channel[i] = data[i] / 32768;
  return buffer;
}

/** Returns 2 ms before the first frame that is heard, in seconds. @param {AudioBuffer} buffer */
function findBegin(buffer) {
  const frames = buffer.getChannelData(0).subarray(0, Math.ceil(buffer.sampleRate / 5));
  const peak = frames.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  const first = frames.findIndex((frame) => Math.abs(frame) > 0.02 * peak);
  return Math.max(0, first / buffer.sampleRate - 0.002);
}

export {isFor, openSoundfont, readSoundfont};
