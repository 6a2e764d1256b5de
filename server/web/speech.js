// One utterance from the first text sent to the last sample played: feeds the text, passes audio on to the player,
// keeps what is measured. It ends once, with one outcome: spoken, stopped or failed. It touches no element of the page.

import { SpeechError } from "./client.js";
import { Transcript, wordsOf } from "./transcript.js";

export class Speech {
  measured = {
    ttfaMs: null, // from the first text sent to the first audio received
    heardMs: null, // to the first sample at the loudspeaker
    leadMs: null,
    lowestLeadMs: null, // while more was to come
    underruns: 0,
    dryMs: 0,
    rtf: null, // unknown where the text was made to wait
    charactersPerS: null,
  };
  #client;
  #player;
  #view;
  #text;
  #pieces;
  #wordEveryMs;
  #utterance = null;
  #sentCharacters = 0;
  #timer = null;
  #firstTextMs = null;
  #audioSamples = 0;
  #stopping = false;
  #complete = false; // the server has nothing more to say
  #warnings = []; // what of the text was left out
  #playedS = null; // once it was stopped
  #over = false;

  // `view` hears began(speech), audio(pcm), words(words), measured(), over(outcome). `wordEveryMs` is null for the
  // whole text at once.
  constructor({ client, player, text, wordEveryMs, view }) {
    this.#client = client;
    this.#player = player;
    this.#text = text;
    this.#view = view;
    this.#wordEveryMs = wordEveryMs;
    this.#pieces = wordEveryMs === null ? [text] : wordsOf(text);
    this.transcript = new Transcript(text);
  }

  async begin(key, settings) {
    try {
      if (!this.#text.trim()) throw new SpeechError("no_text", "type something to say");
      const unlocked = this.#player.unlock(); // first of all: this is still the user's gesture
      await Promise.all([unlocked, this.#client.open(key)]);
      if (this.#over) return;
      this.#player.begin((clock) => this.#onClock(clock));
      this.#view.began(this);
      this.#utterance = this.#client.start({ ...settings, sample_rate: this.#player.rateHz }, this);
      this.#firstTextMs = performance.now();
      this.#feed();
    } catch (error) {
      this.failed(error instanceof SpeechError ? error : new SpeechError("no_audio", error.message));
    }
  }

  // The listener interrupts: silence first, then the server hears how far it came.
  async stop() {
    if (this.#over || this.#stopping) return;
    this.#stopping = true;
    clearTimeout(this.#timer);
    if (this.#utterance === null) {
      this.#finish({ kind: "stopped", playedS: 0, spoken: "", remaining: this.#text });
      return;
    }
    this.#playedS = await this.#player.stop();
    if (this.#complete) this.#stopped(...this.transcript.split(this.#playedS)); // nothing is left to cancel
    else this.#utterance.cancel(1000 * this.#playedS);
  }

  // Another speech takes over; nothing of this one is shown any more.
  abandon() {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    if (this.#utterance === null) return;
    this.#utterance.abandon();
    this.#player.stop();
  }

  #feed() {
    const piece = this.#pieces.shift();
    this.#utterance.append(piece);
    this.#sentCharacters += Array.from(piece).length;
    if (this.#pieces.length === 0) this.#utterance.end();
    else this.#timer = setTimeout(() => this.#feed(), this.#wordEveryMs);
  }

  // -- what the client hears from the server -------------------------------------------------------------------------

  audio(pcm) {
    if (this.#stopping) return;
    const elapsedMs = performance.now() - this.#firstTextMs;
    this.measured.ttfaMs ??= elapsedMs;
    this.#audioSamples += pcm.byteLength / 2;
    if (this.#wordEveryMs === null) this.measured.rtf = elapsedMs / 1000 / (this.#audioSamples / this.#player.rateHz);
    this.#view.audio(new Int16Array(pcm.slice(0))); // a copy: the player takes the buffer away
    this.#player.play(pcm);
  }

  words(words) {
    this.transcript.words.push(...words);
    this.#view.words(words);
  }

  waiting() {
    this.#player.waiting();
  }

  done({ warnings }) {
    this.#complete = true;
    this.#warnings = warnings ?? [];
    const elapsedS = (performance.now() - this.#firstTextMs) / 1000;
    this.measured.charactersPerS = this.transcript.characters.length / elapsedS;
    if (!this.#stopping) this.#player.end();
    else if (this.#playedS !== null) this.#stopped(...this.transcript.split(this.#playedS)); // before the cancel came
  }

  cancelled({ text_spoken, text_remaining, text_accuracy }) {
    const remaining = text_remaining + this.transcript.slice(this.#sentCharacters);
    this.#stopped(text_spoken, remaining, text_accuracy !== "unknown");
  }

  failed(error) {
    clearTimeout(this.#timer);
    if (this.#utterance !== null) this.#player.stop();
    this.#finish({ kind: "failed", error });
  }

  // -- what the player tells -----------------------------------------------------------------------------------------

  #onClock({ played, lead, lowestLead, underruns, drySamples, ended, stopped }) {
    const measured = this.measured;
    const asMs = (samples) => (1000 * samples) / this.#player.rateHz;
    if (played > 0) {
      const sinceTextMs = performance.now() - this.#firstTextMs;
      measured.heardMs ??= Math.max(measured.ttfaMs, sinceTextMs - asMs(played) + 1000 * this.#player.latencyS);
    }
    Object.assign(measured, { leadMs: asMs(lead), underruns, dryMs: asMs(drySamples) });
    if (lowestLead !== null) measured.lowestLeadMs = asMs(lowestLead);
    this.#view.measured();
    if (ended && !stopped && !this.#stopping) this.#finish({ kind: "spoken", playedS: asMs(played) / 1000, warnings: this.#warnings });
  }

  #stopped(spoken, remaining, known = true) {
    this.#finish({ kind: "stopped", playedS: this.#playedS, spoken, remaining, known });
  }

  #finish(outcome) {
    if (this.#over) return;
    this.#over = true;
    this.#view.over(outcome);
  }
}
