// The player as the page sees it: an AudioContext at a rate that the server offers, and the worklet in it. The server
// resamples, so what comes is what is played. It must be unlocked inside a user's gesture, or browsers keep it silent.

const OFFERED_HZ = [8000, 16000, 22050, 24000, 32000, 44100, 48000];
const FALLBACK_HZ = 48000; // for a device at 96 kHz, say: the browser then resamples for it
const PREROLL_S = 0.06; // a jitter buffer for the way from the socket to the audio thread
const START_WITHIN_MS = 3000;
const STOP_WITHIN_MS = 200; // a suspended audio thread does not answer

export class Player {
  #context = null;
  #node = null;
  #ready = null;
  #utterance = 0;
  #clock = null;
  #onClock = () => {};
  #onStopped = null;

  // Inside a gesture, before any await.
  unlock() {
    if (this.#context === null) {
      if (!("AudioWorkletNode" in globalThis)) throw new Error(whyNoWorklet());
      this.#context = contextAtOfferedRate();
      this.#ready = this.#load().catch((error) => {
        this.#context = null; // the next gesture tries again
        throw error;
      });
    }
    return Promise.all([this.#ready, within(START_WITHIN_MS, this.#context.resume())]);
  }

  get rateHz() {
    return this.#context.sampleRate;
  }

  // `onClock` hears some fifty times a second how far this utterance is.
  begin(onClock) {
    this.#utterance += 1;
    this.#clock = null;
    this.#onClock = onClock;
    this.#post("begin", { prerollSamples: Math.round(PREROLL_S * this.rateHz) });
  }

  play(pcm) {
    this.#node.port.postMessage({ type: "audio", utterance: this.#utterance, pcm }, [pcm]);
  }

  // All that can be spoken so far is here: silence from now on is no fault.
  waiting() {
    this.#post("waiting");
  }

  end() {
    this.#post("end");
  }

  // Silence. Resolves with the seconds that were played of this utterance.
  async stop() {
    const stopped = new Promise((resolve) => {
      this.#onStopped = resolve;
      setTimeout(resolve, STOP_WITHIN_MS);
    });
    this.#post("stop");
    await stopped;
    return (this.#clock?.played ?? 0) / this.rateHz;
  }

  // What is at the listener's ear now, in seconds of this utterance.
  get heardS() {
    if (this.#clock === null) return 0;
    const { played, lead, playing, timeS } = this.#clock;
    const since = playing ? Math.min((this.#context.currentTime - timeS) * this.rateHz, lead) : 0;
    return Math.max(0, (played + since) / this.rateHz - (playing ? this.latencyS : 0));
  }

  get latencyS() {
    return this.#context.outputLatency || this.#context.baseLatency || 0; // Safari knows the second one only
  }

  async #load() {
    await this.#context.audioWorklet.addModule(new URL("player_worklet.js", import.meta.url));
    this.#node = new AudioWorkletNode(this.#context, "player", { numberOfInputs: 0, outputChannelCount: [1] });
    this.#node.port.onmessage = ({ data }) => this.#take(data);
    this.#node.connect(this.#context.destination);
  }

  #post(type, fields = {}) {
    this.#node.port.postMessage({ type, utterance: this.#utterance, ...fields });
  }

  #take(clock) {
    if (clock.utterance !== this.#utterance) return;
    this.#clock = clock;
    this.#onClock(clock);
    if (clock.ended) this.#onStopped?.();
  }
}

function contextAtOfferedRate() {
  const own = new AudioContext({ latencyHint: "interactive" });
  if (OFFERED_HZ.includes(own.sampleRate)) return own;
  own.close();
  return new AudioContext({ latencyHint: "interactive", sampleRate: FALLBACK_HZ });
}

// A context that may not start waits for ever.
function within(ms, started) {
  const late = new Promise((_, reject) => {
    setTimeout(() => reject(new Error("the browser does not start audio; is there an output device?")), ms);
  });
  return Promise.race([started, late]);
}

function whyNoWorklet() {
  return globalThis.isSecureContext
    ? "this browser has no AudioWorklet; a current Chromium, Firefox or Safari has"
    : "browsers play streamed audio only on https or on localhost; serve with --ssl-certfile, or tunnel the port";
}
