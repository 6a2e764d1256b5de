// What is seen of one speech while it sounds: waveform, highlighted text, read-outs, and what was spoken when it stopped.

const $ = (id) => document.getElementById(id);
const ms = (value) => (value === null ? "–" : `${Math.round(value)} ms`);
const seconds = (value) => (value === null ? "–" : value < 1000 ? ms(value) : `${(value / 1000).toFixed(1)} s`);

export class Stage {
  #waveform;
  #player;
  #speech = null;
  #place = null;
  #drawing = false;

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
    if (!this.#drawing) requestAnimationFrame(() => this.#frame());
    this.#drawing = true;
  }

  audio(pcm) {
    this.#waveform.add(pcm);
  }

  words(words) {
    for (const word of words) this.#waveform.addWord(word, this.#speech.transcript.slice(word.start_char, word.end_char));
  }

  measured() {
    const { ttfaMs, heardMs, leadMs, lowestLeadMs, underruns, dryMs, rtf, charactersPerS } = this.#speech.measured;
    $("ttfa").textContent = ms(ttfaMs);
    if (heardMs !== null) $("ttfa-note").textContent = `heard after ${ms(heardMs)}`;
    $("lead").textContent = seconds(leadMs);
    if (lowestLeadMs !== null) $("lead-note").textContent = `lowest ${seconds(lowestLeadMs)}`;
    $("underruns").textContent = leadMs === null ? "–" : String(underruns);
    $("underruns-note").textContent = underruns ? `dry for ${ms(dryMs)}` : "times the player ran dry";
    $("rtf").textContent = rtf === null ? "–" : rtf.toFixed(3);
    if (charactersPerS !== null) $("rtf-note").textContent = `${Math.round(charactersPerS)} characters/s`;
  }

  over(outcome) {
    if (this.#speech !== null) this.#halt(outcome);
    this.onOver(outcome);
  }

  #halt({ kind, playedS, spoken, remaining }) {
    this.#drawing = false;
    this.#waveform.draw(playedS ?? this.#player.heardS);
    this.measured();
    if (kind === "spoken") this.#highlight(null);
    if (kind !== "stopped") return;
    $("transcript").hidden = true;
    $("stopped").hidden = false;
    $("spoken").textContent = spoken;
    $("remaining").textContent = remaining;
    $("rest").hidden = !remaining.trim();
  }

  #frame() {
    if (!this.#drawing) return;
    const heardS = this.#player.heardS;
    this.#waveform.draw(heardS);
    this.#highlight(this.#speech.transcript.wordAt(heardS));
    requestAnimationFrame(() => this.#frame());
  }

  // The place of the word that sounds, -1 before the first; null: all has been said.
  #highlight(place) {
    if (place === this.#place) return;
    this.#place = place;
    const { transcript } = this.#speech;
    const all = transcript.characters.length;
    const [start, end] = place === null ? [all, all] : transcript.placeOf(place);
    $("said").textContent = transcript.slice(0, start);
    $("now").textContent = transcript.slice(start, end);
    $("unsaid").textContent = transcript.slice(end);
    const box = $("transcript");
    const below = $("now").offsetTop - box.offsetTop;
    if (below < box.scrollTop || below > box.scrollTop + box.clientHeight - 40) box.scrollTop = below - 40;
  }
}
