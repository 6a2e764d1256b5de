// The text of one utterance and the times of its words: which word sounds now, what was spoken when it stopped. The
// server counts characters as Unicode does, JavaScript counts halves of surrogate pairs; here are characters.

const SAME_S = 1e-6;

export class Transcript {
  words = []; // {start_char, end_char, start_s, end_s}, times never go back

  constructor(text) {
    this.characters = Array.from(text);
  }

  slice(start, end) {
    return this.characters.slice(start, end).join("");
  }

  // The place in `words` of the last word that has begun by then; -1 before the first.
  wordAt(seconds) {
    let place = this.words.length - 1;
    while (place >= 0 && this.words[place].start_s > seconds) place -= 1;
    return place;
  }

  // [start, end) of a word in characters; nothing at the beginning for -1.
  placeOf(place) {
    const word = this.words[place];
    return word === undefined ? [0, 0] : [word.start_char, word.end_char];
  }

  // [spoken, remaining], together exactly the text: spoken ends at the last word that had ended by then.
  split(seconds) {
    let place = this.words.length - 1;
    while (place >= 0 && this.words[place].end_s > seconds + SAME_S) place -= 1;
    const end = place < 0 ? 0 : this.words[place].end_char;
    return [this.slice(0, end), this.slice(end)];
  }
}

// Pieces of a word each, with the white space behind it; together exactly the text.
export function wordsOf(text) {
  return text.match(/\s*\S+\s*/g) ?? [];
}
