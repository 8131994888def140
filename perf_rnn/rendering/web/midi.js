"use strict";

// The notes and pedals of a MIDI file.

/**
 * Reads a MIDI file (Uint8Array).
 *
 * Returns {notes, pedal}: notes are {start, end, release, pitch, velocity, isDrum}, in seconds, in
 * order of start; `end` is where the key goes up and `release` where the damper falls, later if
 * the pedal is down. pedal is [[start, end], ...]. `seconds` closes what is open at the end.
 */
function readMidi(bytes, seconds) {
  const {events, toSeconds} = midiEvents(bytes);
  const notes = [], pedal = [];
  const open = new Map(), held = new Map(), pedalDown = new Map();
  const lift = (channel, time) => {
    pedal.push([pedalDown.get(channel), time]);
    pedalDown.delete(channel);
    for (const note of held.get(channel) ?? []) note.release ??= time;
    held.delete(channel);
  };
  for (const {tick, status, first, second} of events) {
    const kind = status >> 4, channel = status & 15, key = channel * 128 + first;
    const time = toSeconds(tick);
    if (kind === 9 && second) {
      // A key struck again under the pedal cuts off the string's earlier sound.
      for (const note of held.get(channel) ?? []) {
        if (note.pitch === first) note.release ??= time;
      }
      const note = {tick, start: time, pitch: first, velocity: second, isDrum: channel === 9};
      notes.push(note);
      open.set(key, [...(open.get(key) ?? []), note]);
    } else if (kind === 8 || kind === 9) {
      // Of several notes on one key, a release ends all that were struck before that moment.
      const still = [];
      for (const note of open.get(key) ?? []) {
        if (note.tick === tick) { still.push(note); continue; }
        note.end = time;
        if (pedalDown.has(channel)) held.set(channel, [...(held.get(channel) ?? []), note]);
        else note.release = time;
      }
      open.set(key, still);
    } else if (kind === 11 && first === 64) {
      if (second >= 64 && !pedalDown.has(channel)) pedalDown.set(channel, time);
      else if (second < 64 && pedalDown.has(channel)) lift(channel, time);
    }
  }
  for (const channel of [...pedalDown.keys()]) lift(channel, seconds);
  for (const note of notes) {
    note.end ??= seconds;
    note.release ??= note.end;
  }
  return {notes: notes.sort((a, b) => a.start - b.start), pedal};
}

/** Returns the events of all tracks by time, and a function from ticks to seconds. */
function midiEvents(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const numTracks = view.getUint16(10), division = view.getInt16(12);
  const events = [], tempos = [];
  let at = 8 + view.getUint32(4);
  for (let track = 0; track < numTracks && at + 8 <= bytes.length; track++) {
    const end = Math.min(at + 8 + view.getUint32(at + 4), bytes.length);
    if (view.getUint32(at) !== 0x4d54726b) { at = end; track--; continue; }
    at += 8;
    let tick = 0, running = 0;
    const number = () => {
      let value = 0, byte;
      do { byte = bytes[at++]; value = value * 128 + (byte & 127); } while (byte > 127);
      return value;
    };
    while (at < end) {
      tick += number();
      const status = bytes[at] > 127 ? bytes[at++] : running;
      if (status === 0xff) {
        const type = bytes[at++], length = number();
        if (type === 0x51) {
          tempos.push({tick, tempo: (bytes[at] << 16) | (bytes[at + 1] << 8) | bytes[at + 2]});
        }
        at += length;
      } else if (status >= 0xf0) {
        at += number();
      } else {
        running = status;
        const first = bytes[at++];
        const isShort = status >> 4 === 12 || status >> 4 === 13;
        events.push({tick, status, first, second: isShort ? 0 : bytes[at++]});
      }
    }
    at = end;
  }
  events.sort((a, b) => a.tick - b.tick);
  return {events, toSeconds: tickClock(tempos, division)};
}

/** Returns a function from ticks, asked for in rising order, to seconds. */
function tickClock(tempos, division) {
  if (division < 0) {  // Frames of a film instead of beats.
    const ticksPerSecond = -(division >> 8) * (division & 255);
    return (tick) => tick / ticksPerSecond;
  }
  tempos.sort((a, b) => a.tick - b.tick);
  let next = 0, tickBefore = 0, secondsBefore = 0, secondsPerTick = 0.5 / division;
  return (tick) => {
    for (; next < tempos.length && tempos[next].tick <= tick; next++) {
      secondsBefore += (tempos[next].tick - tickBefore) * secondsPerTick;
      tickBefore = tempos[next].tick;
      secondsPerTick = tempos[next].tempo / 1e6 / division;
    }
    return secondsBefore + (tick - tickBefore) * secondsPerTick;
  };
}
