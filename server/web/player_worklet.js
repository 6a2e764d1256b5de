// The player on the audio thread: a ring buffer that grows, and the clock of what has been played. It plays one
// utterance at a time. It knows no sockets, words or rates: one sample in is one sample out.
//
//     [read, write)  waits to be played    "lead"
//     dry            nothing waits, more is to come: an underrun, unless there was no text to speak
//
// in:  begin {utterance, prerollSamples}, audio {pcm}, waiting, end, stop
// out: {utterance, timeS, playing, played, lead, lowestLead, underruns, drySamples, ended, stopped}

const FIRST_CAPACITY = 1 << 18; // samples, a power of two
const REPORT_EVERY_QUANTA = 8; // of 128 samples: about 50 reports a second
const DECAY_PER_SAMPLE = 0.98; // what sounds when samples run out dies away instead of clicking
const FULL_SCALE = 32768;

class Player extends AudioWorkletProcessor {
  constructor() {
    super();
    this.ring = new Int16Array(FIRST_CAPACITY);
    this.level = 0; // of the last sample out
    this.begin({ utterance: 0, prerollSamples: 0 });
    this.ended = true;
    this.port.onmessage = ({ data }) => this.take(data);
  }

  begin({ utterance, prerollSamples }) {
    Object.assign(this, { utterance, prerollSamples, read: 0, write: 0, quanta: 0 });
    Object.assign(this, { playing: false, begun: false, excused: false, complete: false });
    Object.assign(this, { stopping: false, ended: false, stopped: false });
    Object.assign(this, { underruns: 0, drySamples: 0, lowestLead: null });
  }

  take(message) {
    if (message.type === "begin") this.begin(message);
    else if (message.utterance !== this.utterance || this.ended) return; // of one that is over
    else if (message.type === "audio") this.add(new Int16Array(message.pcm));
    else if (message.type === "waiting") this.excused = true;
    else if (message.type === "end") this.complete = true;
    else if (message.type === "stop") this.stopping = true;
  }

  get lead() {
    return this.write - this.read;
  }

  add(pcm) {
    if (this.playing) this.lowestLead = Math.min(this.lowestLead ?? Infinity, this.lead);
    this.excused = false;
    this.grow(this.lead + pcm.length);
    const at = this.write & (this.ring.length - 1);
    const fits = Math.min(pcm.length, this.ring.length - at);
    this.ring.set(pcm.subarray(0, fits), at);
    this.ring.set(pcm.subarray(fits), 0);
    this.write += pcm.length;
  }

  grow(samples) {
    if (samples <= this.ring.length) return;
    let capacity = this.ring.length;
    while (capacity < samples) capacity *= 2;
    const larger = new Int16Array(capacity);
    for (let place = this.read; place < this.write; place += 1) {
      larger[place & (capacity - 1)] = this.ring[place & (this.ring.length - 1)];
    }
    this.ring = larger;
  }

  // Calls of the audio thread, one for each quantum. Returning true keeps the node alive.
  process(_inputs, outputs) {
    const out = outputs[0][0];
    if (this.ended) {
      this.fade(out, 0);
      return true;
    }
    const known = this.lead >= this.prerollSamples || this.complete || this.excused;
    if (!this.playing && !this.stopping && this.lead > 0 && known) this.playing = this.begun = true;
    const count = this.playing ? Math.min(this.lead, out.length) : 0;
    for (let i = 0; i < count; i += 1) out[i] = this.ring[(this.read + i) & (this.ring.length - 1)] / FULL_SCALE;
    this.read += count;
    if (count > 0) this.level = out[count - 1];
    this.fade(out, count);
    this.account(out, count);
    return true;
  }

  fade(out, from) {
    for (let i = from; i < out.length; i += 1) out[i] = this.level *= DECAY_PER_SAMPLE;
  }

  account(out, count) {
    this.quanta += 1;
    let due = this.quanta % REPORT_EVERY_QUANTA === 0;
    if (this.stopping) {
      for (let i = 0; i < count; i += 1) out[i] *= 1 - i / count; // the last quantum, so that the stop does not click
      this.level = 0;
      this.ended = this.stopped = due = true;
    } else if (this.complete && this.lead === 0) {
      this.ended = due = true;
    } else if (this.begun && count < out.length && !this.excused) {
      if (this.playing) {
        this.underruns += 1;
        this.lowestLead = 0;
      }
      this.drySamples += out.length - count;
    }
    if (count < out.length || this.ended) this.playing = false;
    if (due) this.report();
  }

  report() {
    const { utterance, playing, lead, lowestLead, underruns, drySamples, ended, stopped } = this;
    const timeS = currentTime + 128 / sampleRate; // when the next quantum begins
    const clock = { utterance, timeS, playing, played: this.read, lead, lowestLead, underruns, drySamples };
    this.port.postMessage({ ...clock, ended, stopped });
  }
}

registerProcessor("player", Player);
