// @ts-check
"use strict";

// A piano that plays the samples of a SoundFont; until they are decoded, synthesised strings.

import {isFor} from "./soundfont.js";
import {synthesizedZones} from "./synthesized.js";

const MOST_VOICES = 64;  // What a phone can play; beyond them one is cut short.
const MOST_LAYERS = 8;  // Zones that sound for one note.
const LOUDNESS = 3, HEADROOM = 0.85;  // Before and after the limiter.
const WIDTH = 0.35;  // How far the lowest key is to the left, and the highest to the right.
const TIME_CONSTANTS = Math.log(10 ** (100 / 20));  // In a fall by 100 dB.
const LONGEST = 60;  // Seconds of a looped sample.
const HIGHEST_DAMPER = 89;  // Strings above have none.
const UNDAMPED_RELEASE = 6;  // Seconds for a fall by 100 dB.
const STRUCK_RELEASE = 0.6;  // The same, of a string that is struck anew.

/**
 * @typedef {import("./soundfont.js").Zone} Zone
 *
 * @typedef {object} Voice A note that sounds, or will.
 * @property {number} pitch
 * @property {number} part
 * @property {{source: AudioBufferSourceNode, damper: GainNode, end: number}[]} layers
 * @property {number} release seconds for a fall by 100 dB
 * @property {number} start
 * @property {number} last when its samples end
 * @property {number} end when it is silent
 * @property {number} off when its key goes up
 * @property {number} damped when its dampers fall
 * @property {boolean} isCut
 * @property {Voice | null} struckBy the next stroke of its string
 */

/**
 * Returns a piano; it is a sink, as the transport describes.
 *
 * All times are in seconds of the context's clock; what lies in the past is done at once. A part is
 * one of the players: its pedal holds its own notes only.
 *
 * @param {BaseAudioContext} context
 * @param {AudioNode} destination
 */
function createPiano(context, destination = context.destination) {
  // Many loud notes at once are held back rather than cut off.
  const limiter = new DynamicsCompressorNode(context, {
    threshold: -14, knee: 8, ratio: 12, attack: 0.002, release: 0.2,
  });
  const level = new GainNode(context, {gain: LOUDNESS});
  level.connect(limiter).connect(new GainNode(context, {gain: HEADROOM})).connect(destination);
  const panners = new Map();
  const strings = synthesizedZones();
  /** @type {Zone[]} */
  let zones = [];
  /** @type {Voice[]} */
  let voices = [];
  /** By the note's id. @type {Map<number | string, Voice>} */
  const voiceOf = new Map();
  /** Of each part: [time, isDown] in order of time. @type {[number, boolean][][]} */
  const pedals = [];

  /** @param {number} pan -1 (left) to 1 */
  function panner(pan) {
    const place = Math.round(10 * pan) / 10;
    if (!panners.has(place)) {
      const node = new StereoPannerNode(context, {pan: place});
      node.connect(level);
      panners.set(place, node);
    }
    return panners.get(place);
  }

  /**
   * Returns the zones that sound for a note, of those that are decoded.
   * @param {number} pitch
   * @param {number} velocity
   */
  function zonesFor(pitch, velocity) {
    const meant = zones.filter((zone) => isFor(zone, pitch, velocity)).slice(0, MOST_LAYERS);
    if (meant.length && meant.every((zone) => zone.buffer)) return meant;
    /** @param {Zone} zone */
    const away = (zone) =>
      Math.abs(zone.rootKey - pitch) + (isFor(zone, zone.lowKey, velocity) ? 0 : 0.5);
    const near = zones.filter((zone) => zone.buffer && away(zone) < 13);
    if (near.length) return [near.reduce((a, b) => (away(b) < away(a) ? b : a))];
    return strings.filter((zone) => isFor(zone, pitch, velocity));
  }

  /**
   * Plays a zone; returns its source and the gain that damps it.
   * @param {Zone & {buffer: AudioBuffer, begin: number, rate: number}} zone which is decoded
   * @param {number} pitch
   * @param {number} velocity
   * @param {number} time
   * @param {number} from how many seconds of the note have passed already
   */
  function strike(zone, pitch, velocity, time, from) {
    const semitones = ((pitch - zone.rootKey) * zone.centsAKey) / 100;
    const rate = 2 ** (Math.min(72, Math.max(-72, semitones)) / 12);
    const source = new AudioBufferSourceNode(context, {buffer: zone.buffer, playbackRate: rate});
    if (zone.loop) {
      source.loop = true;
      [source.loopStart, source.loopEnd] = zone.loop.map((frame) => frame / zone.rate);
    }
    const force = velocity / 127;
    const damper = new GainNode(context, {gain: zone.gain * force ** 2});
    /** @type {AudioNode} */
    let last = source;
    if (isOneLayer(zone)) {
      const frequency = Math.min(0.45 * context.sampleRate, brightness(pitch, force));
      last = last.connect(new BiquadFilterNode(context, {type: "lowpass", Q: 0, frequency}));
    }
    if (zone.attack > 0.005 || (zone.sustain < 1 && zone.decay > 0)) {
      last = last.connect(envelope(zone, time - from));
    }
    last.connect(damper).connect(panner(zone.pan + (WIDTH * (pitch - 64)) / 44));
    source.start(time, zone.begin + from * rate);
    const long = zone.loop ? LONGEST : (zone.buffer.duration - zone.begin) / rate - from;
    if (zone.loop) source.stop(time + LONGEST);
    return {source, damper, end: time + Math.max(0, long)};
  }

  /** @param {Zone} zone @param {number} start */
  function envelope(zone, start) {
    const node = new GainNode(context);
    if (zone.attack > 0.005) {
      node.gain.setValueAtTime(0, Math.max(0, start));
      node.gain.linearRampToValueAtTime(1, Math.max(0, start + zone.attack));
    }
    const constant = Math.max(0.001, zone.decay / TIME_CONSTANTS);
    const fall = Math.max(0, start + zone.attack + zone.hold);
    if (zone.sustain < 1) node.gain.setTargetAtTime(zone.sustain, fall, constant);
    return node;
  }

  /**
   * Returns when a voice is damped: the key is up, and the pedal of its part too.
   * @param {Voice} voice
   */
  function dampedAt({off, part}) {
    let isDown = false;
    for (const [time, down] of pedals[part] ?? []) {
      if (time > off && !isDown) break;
      if (time > off && !down) return time;
      isDown = down;
    }
    return isDown ? Infinity : off;
  }

  /**
   * Ends a voice where its key, its pedal and the next stroke of its string say.
   * @param {Voice} voice
   */
  function damp(voice) {
    const released = dampedAt(voice), struck = voice.struckBy?.start ?? Infinity;
    const time = Math.min(released, struck);
    if (voice.isCut || time === voice.damped || voice.damped < context.currentTime) return;
    const fall = Math.min(voice.release, struck <= released ? STRUCK_RELEASE : Infinity);
    for (const {source, damper, end} of voice.layers) {
      damper.gain.cancelScheduledValues(Math.min(time, voice.damped));
      if (time < end) damper.gain.setTargetAtTime(0, time, fall / TIME_CONSTANTS);
      source.stop(Math.min(end, time + fall));
    }
    voice.damped = time;
    voice.end = Math.min(voice.last, time + fall);
  }

  /**
   * Fades a voice out, whatever its key and its pedal do.
   * @param {Voice} voice
   * @param {number} time
   * @param {number} timeConstant in seconds
   */
  function cut(voice, time, timeConstant) {
    voice.isCut = true;
    for (const {source, damper} of voice.layers) {
      damper.gain.cancelScheduledValues(time);
      damper.gain.setTargetAtTime(0, time, timeConstant);
      source.stop(Math.min(voice.end, time + 8 * timeConstant));
    }
    voice.end = Math.min(voice.end, time + 8 * timeConstant);
  }

  /** Ends the voices that a new one takes the place of. @param {Voice} voice */
  function makeRoom(voice) {
    const time = voice.start;
    const sounding = voices.filter((other) => other.start <= time && time < other.end);
    for (const other of sounding) {
      if (other.pitch !== voice.pitch) continue;
      other.struckBy = voice;
      damp(other);
    }
    const held = sounding.filter((other) => !other.isCut && other.struckBy !== voice);
    if (held.length < MOST_VOICES) return;
    /** @param {Voice} other */
    const rank = (other) => other.start - (other.damped <= time ? 1000 : 0);
    cut(held.reduce((a, b) => (rank(b) < rank(a) ? b : a)), time, 0.015);
  }

  return {
    /**
     * Plays a SoundFont; resolves when all its samples are decoded. Notes sound meanwhile.
     *
     * @param {import("./soundfont.js").Soundfont} font
     */
    async use(font) {
      const before = zones;
      zones = font.zones;
      await font.decoded.catch((error) => {
        zones = before;
        throw error;
      });
      return font;
    },

    /**
     * Strikes a key.
     *
     * @param {number | string} id of the note, for noteOff and cancel
     * @param {number} pitch 0 to 127
     * @param {number} velocity 1 to 127
     * @param {number} when
     * @param {number} part
     * @param {number} from how many seconds of the note have passed already
     */
    noteOn(id, pitch, velocity, when, part = 0, from = 0) {
      const time = Math.max(when, context.currentTime);
      const played = zonesFor(pitch, velocity);
      const layers = played.map((zone) =>
        strike(/** @type {any} */ (zone), pitch, velocity, time, from));
      const last = layers.reduce((latest, {end}) => Math.max(latest, end), time);
      const release = pitch > HIGHEST_DAMPER
        ? UNDAMPED_RELEASE
        : Math.max(0.05, ...played.map((zone) => zone.release));
      /** @type {Voice} */
      const voice = {
        pitch, part, layers, release, last, start: time, end: last, off: Infinity,
        damped: Infinity, isCut: false, struckBy: null,
      };
      makeRoom(voice);
      voices.push(voice);
      voiceOf.set(id, voice);
      let open = layers.length;
      for (const {source, damper} of layers) {
        source.onended = () => {
          damper.disconnect();
          if (--open) return;
          voices = voices.filter((other) => other !== voice);
          if (voiceOf.get(id) === voice) voiceOf.delete(id);
        };
      }
    },

    /**
     * Releases a key; a note whose key is released anew ends at the new time.
     *
     * @param {number | string} id
     * @param {number} when
     */
    noteOff(id, when) {
      const voice = voiceOf.get(id);
      if (!voice) return;
      voice.off = Math.max(when, voice.start + 0.01, context.currentTime);
      damp(voice);
    },

    /** Takes a note back: it does not begin, or ends at once. @param {number | string} id */
    cancel(id) {
      const voice = voiceOf.get(id);
      if (!voice) return;
      const now = context.currentTime;
      if (voice.start <= now) return cut(voice, now, 0.02);
      voice.isCut = true;
      voice.end = now;
      for (const {source} of voice.layers) source.stop(0);
      for (const other of voices) {
        if (other.struckBy !== voice) continue;
        other.struckBy = null;
        damp(other);
      }
    },

    /**
     * Presses or lifts the sustain pedal of a part.
     *
     * @param {boolean} down
     * @param {number} when
     * @param {number} part
     */
    pedal(down, when, part = 0) {
      const now = context.currentTime, time = Math.max(when, now);
      const known = pedals[part] ?? [];
      const passed = known.filter((change) => change[0] < now).slice(-1);
      const coming = known.filter((change) => change[0] >= now && change[0] !== time);
      pedals[part] = [...passed, ...coming];
      pedals[part].push([time, down]);
      pedals[part].sort((a, b) => a[0] - b[0]);
      for (const voice of voices) if (voice.part === part) damp(voice);
    },

    /** Ends all sound, and all that is to come. */
    panic() {
      pedals.length = 0;
      for (const id of [...voiceOf.keys()]) this.cancel(id);
      for (const voice of voices) if (!voice.isCut) cut(voice, context.currentTime, 0.02);
    },
  };
}

/** @param {Zone} zone */
function isOneLayer(zone) {
  return zone.lowVelocity <= 1 && zone.highVelocity === 127;
}

/**
 * Returns up to which frequency a note is heard: soft notes are darker.
 * @param {number} pitch
 * @param {number} force 0 to 1
 */
function brightness(pitch, force) {
  return 500 + 9000 * force ** 1.6 + 1.5 * 440 * 2 ** ((pitch - 69) / 12);
}

export {createPiano};
