// What is seen of a speech while it sounds: waveform, highlighted text, read-outs; then what was spoken until the stop.

const $ = (id) => document.getElementById(id);
const ms = (value) => (value === null ? "–" : `${Math.round(value)} ms`);
const seconds = (value) => (value === null ? "–" : value < 1000 ? ms(value) : `${(value / 1000).toFixed(1)} s`);

export class Stage {
  #waveform;
  #player;
  #speech = null;
  #place = null;
  #frameAsked = null;

  constructor(waveform, player) {
    this.#waveform = waveform;
    this.#player = player;
  }

  onOver = () => {};

  // What a Speech tells.

  began(speech) {
    this.#speech = speech;
    this.#place = null;
    $("stopped").hidden = true;
    $("transcript").hidden = false;
    this.#highlight(-1);
    this.#waveform.begin(this.#player.rateHz);
    this.measured();
    this.#askFrame();
  }

  audio(pcm) {
    this.#waveform.add(pcm);
  }

  words(words) {
    const { transcript } = this.#speech;
    for (const word of words) this.#waveform.addWord(word, transcript.slice(word.start_char, word.end_char));
  }

  measured() {
    const { ttfaMs, heardMs, leadMs, lowestLeadMs, underruns, dryMs, rtf, charactersPerS } = this.#speech.measured;
    $("ttfa").textContent = ms(ttfaMs);
    $("ttfa-note").textContent = heardMs === null ? "from the first text sent" : `heard after ${ms(heardMs)}`;
    $("lead").textContent = ttfaMs === null ? "–" : seconds(leadMs);
    $("lead-note").textContent = lowestLeadMs === null ? "received, not played yet" : `lowest ${seconds(lowestLeadMs)}`;
    $("underruns").textContent = ttfaMs === null ? "–" : String(underruns);
    const dry = ttfaMs === null ? "gaps in the sound" : underruns ? `dry for ${ms(dryMs)}` : "never ran dry";
    $("underruns-note").textContent = dry;
    $("rtf").textContent = rtf === null ? "–" : rtf.toFixed(3);
    const rate = charactersPerS === null ? "making it / hearing it" : `${Math.round(charactersPerS)} characters/s`;
    $("rtf-note").textContent = rate;
  }

  over(outcome) {
    cancelAnimationFrame(this.#frameAsked);
    if (this.#speech !== null) this.#showEnd(outcome);
    if (outcome.kind === "stopped") this.#showStopped(outcome);
    this.onOver(outcome);
  }

  #showEnd({ kind, playedS }) {
    this.#waveform.draw(playedS ?? this.#player.heardS);
    this.measured();
    if (kind === "spoken") this.#highlight(null);
  }

  // `known`: whether the server can tell how far it came; a model without word times cannot.
  #showStopped({ spoken, remaining, known }) {
    $("transcript").hidden = true;
    $("stopped").hidden = false;
    $("spoken").textContent = known ? spoken : "This model does not tell how far it came.";
    $("remaining").textContent = remaining;
    $("rest").textContent = known ? "Speak the rest" : "Speak it again";
    $("rest").hidden = !remaining.trim();
  }

  #frame() {
    const heardS = this.#player.heardS;
    this.#waveform.draw(heardS);
    this.#highlight(this.#speech.transcript.wordAt(heardS));
    this.#askFrame();
  }

  #askFrame() {
    cancelAnimationFrame(this.#frameAsked);
    this.#frameAsked = requestAnimationFrame(() => this.#frame());
  }

  // The place of the word that sounds, -1 before the first; null: all has been spoken.
  #highlight(place) {
    if (place === this.#place) return;
    this.#place = place;
    const { transcript } = this.#speech;
    const all = transcript.characters.length;
    const [start, end] = place === null ? [all, all] : transcript.placeOf(place);
    $("heard").textContent = transcript.slice(0, start);
    $("now").textContent = transcript.slice(start, end);
    $("unheard").textContent = transcript.slice(end);
    const box = $("transcript");
    const below = $("now").offsetTop - box.offsetTop;
    if (below < box.scrollTop || below > box.scrollTop + box.clientHeight - 40) box.scrollTop = below - 40;
  }
}
