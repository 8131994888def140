"use strict";

// A small piano: strings are sums of decaying partials, computed when a key is first needed.

const STRING_RATE = 22050;  // Hz; enough for partials up to 9 kHz, at half the work.
const KEYS_PER_STRING = 3;  // Neighbouring keys share one, played a little faster or slower.
const MOST_SECONDS = 6;  // After this a string is silent enough.
const MOST_VOICES = 48;  // What a phone can compute; beyond them the oldest is cut short.
const LOUDNESS = 0.3;

class Piano {
  /** `context` is an AudioContext or OfflineAudioContext. */
  constructor(context) {
    this.context = context;
    this.strings = new Map();
    this.voices = [];
    // Many loud notes at once are held back rather than cut off.
    this.limiter = new DynamicsCompressorNode(context, {
      threshold: -10, knee: 6, ratio: 12, attack: 0.002, release: 0.15,
    });
    this.limiter.connect(context.destination);
  }

  /** Returns something to play notes through, all of which `hush` ends. */
  openBus() {
    const bus = new GainNode(this.context, {gain: LOUDNESS});
    bus.connect(this.limiter);
    return bus;
  }

  hush(bus) {
    bus.gain.setTargetAtTime(0, this.context.currentTime, 0.015);
    setTimeout(() => bus.disconnect(), 150);
  }

  /** Computes what `play` will need for a note. */
  prepare(note) {
    this.string(sharedKey(note.pitch));
  }

  /** Plays a note of unpackMusic at `time` of the context's clock, from `offset` seconds into it. */
  play(note, time, bus, offset = 0) {
    const {context} = this;
    const seconds = note.release - note.start - offset;
    const center = sharedKey(note.pitch);
    const rate = 2 ** ((note.pitch - center) / 12);
    const source = new AudioBufferSourceNode(context, {
      buffer: this.string(center), playbackRate: rate,
    });
    const force = note.velocity / 127, pitchHz = 440 * 2 ** ((note.pitch - 69) / 12);
    const tone = new BiquadFilterNode(context, {
      type: "lowpass", Q: 0, frequency: Math.min(10000, 500 + 7000 * force ** 1.6 + 1.5 * pitchHz),
    });
    const damper = new GainNode(context, {gain: force ** 1.6});
    // Low strings take longer to fall silent.
    damper.gain.setTargetAtTime(0, time + seconds, note.pitch < 48 ? 0.14 : 0.08);
    source.connect(tone).connect(damper).connect(bus);
    source.onended = () => damper.disconnect();
    source.start(time, offset * rate);
    const end = time + Math.min(seconds + 0.8, source.buffer.duration / rate);
    source.stop(end);
    this.voices = this.voices.filter((voice) => voice.end > time);
    if (this.voices.length >= MOST_VOICES) {
      const oldest = this.voices.shift();
      oldest.damper.gain.setTargetAtTime(0, time, 0.03);
      oldest.source.stop(time + 0.2);
    }
    this.voices.push({source, damper, end});
  }

  /** Returns the sound of a key as an AudioBuffer. */
  string(pitch) {
    let buffer = this.strings.get(pitch);
    if (!buffer) {
      const samples = stringSamples(pitch);
      buffer = this.context.createBuffer(1, samples.length, STRING_RATE);
      buffer.copyToChannel(samples, 0);
      this.strings.set(pitch, buffer);
    }
    return buffer;
  }
}

function sharedKey(pitch) {
  return Math.round(pitch / KEYS_PER_STRING) * KEYS_PER_STRING;
}

function stringSamples(pitch) {
  const pitchHz = 440 * 2 ** ((pitch - 69) / 12);
  // Time constants: from seconds in the bass to a tenth in the treble.
  const lasting = 2.6 * 2 ** (-(pitch - 45) / 16);
  const length = Math.min(MOST_SECONDS, Math.max(0.5, 5 * lasting));
  const samples = new Float32Array(Math.ceil(length * STRING_RATE));
  const stiffness = 0.00035 * 2 ** (Math.abs(pitch - 50) / 14);
  for (let n = 1; n <= 28; n++) {
    const hertz = n * pitchHz * Math.sqrt(1 + stiffness * n * n);
    if (hertz > 9000) break;
    // The hammer strikes at an eighth of the string, where the eighth partial has its node.
    const level = (Math.abs(Math.sin((n * Math.PI) / 8)) + 0.08) / n ** 1.25;
    const slow = lasting / (1 + 0.22 * (n - 1));
    // Strings of one key pull each other: loud and short at first, then soft and long.
    addPartial(samples, hertz, level * 0.7, slow * 0.35);
    addPartial(samples, hertz * 1.0004, level * 0.3, slow * 1.3);
  }
  finish(samples, pitch);
  return samples;
}

function addPartial(samples, hertz, level, timeConstant) {
  const angle = (2 * Math.PI * hertz) / STRING_RATE;
  const decay = Math.exp(-1 / (timeConstant * STRING_RATE));
  const feed = 2 * decay * Math.cos(angle), back = decay * decay;
  let before = 0, now = level * decay * Math.sin(angle);
  for (let i = 1; i < samples.length; i++) {
    samples[i] += now;
    const next = feed * now - back * before;
    before = now;
    now = next;
  }
}

/** Adds the knock of the hammer, softens beginning and end, and sets the peak to 1. */
function finish(samples, pitch) {
  const knock = Math.round(0.012 * STRING_RATE);
  let state = pitch + 1, low = 0;
  for (let i = 0; i < knock; i++) {
    state = (state * 16807) % 2147483647;
    low += 0.25 * (state / 1073741823.5 - 1 - low);
    samples[i] += 0.25 * low * (1 - i / knock);
  }
  const rise = Math.round(0.0015 * STRING_RATE), fall = Math.round(0.1 * STRING_RATE);
  let peak = 0;
  for (let i = 0; i < samples.length; i++) {
    samples[i] *= Math.min(1, i / rise, (samples.length - 1 - i) / fall);
    peak = Math.max(peak, Math.abs(samples[i]));
  }
  for (let i = 0; i < samples.length; i++) samples[i] /= peak;
}
