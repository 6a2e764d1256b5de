// The live waveform: left of the play head what was heard, right of it what waits to be played, words below their
// sound. Bars are peaks of 25 ms. It draws only what it is told, and reads its colours from the page's style.

const PIXELS_PER_S = 160;
const BAR_S = 0.025;
const BAR_PX = 2.5;
const HEAD_AT = 0.4; // of the width
const WORDS_PX = 26; // of the height, below the bars
const STILL_S = 0.25; // steps of the picture for those who want little motion

export class Waveform {
  #canvas;
  #peaks = [];
  #words = [];
  #rateHz = 1;
  #samples = 0;
  #atS = 0;
  #colours = {};
  #calm = matchMedia("(prefers-reduced-motion: reduce)");

  constructor(canvas) {
    this.#canvas = canvas;
    const restyle = () => {
      const style = getComputedStyle(document.documentElement);
      for (const name of ["accent", "ahead", "ink", "quiet", "line"]) {
        this.#colours[name] = style.getPropertyValue(`--${name}`);
      }
      this.draw(this.#atS);
    };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);
    new ResizeObserver(restyle).observe(canvas);
  }

  begin(rateHz) {
    this.#peaks = [];
    this.#words = [];
    this.#samples = 0;
    this.#rateHz = rateHz;
    this.draw(0);
  }

  add(pcm) {
    for (const sample of pcm) {
      const bar = Math.floor(this.#samples / this.#rateHz / BAR_S);
      this.#peaks[bar] = Math.max(this.#peaks[bar] ?? 0, Math.abs(sample) / 32768);
      this.#samples += 1;
    }
  }

  addWord(word, text) {
    this.#words.push({ ...word, text });
  }

  draw(atS) {
    this.#atS = this.#calm.matches ? Math.floor(atS / STILL_S) * STILL_S : atS;
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const pixel = devicePixelRatio || 1;
    if (this.#canvas.width !== Math.round(width * pixel)) this.#canvas.width = Math.round(width * pixel);
    if (this.#canvas.height !== Math.round(height * pixel)) this.#canvas.height = Math.round(height * pixel);
    const draw = this.#canvas.getContext("2d");
    draw.setTransform(pixel, 0, 0, pixel, 0, 0);
    draw.clearRect(0, 0, width, height);
    const head = Math.round(width * HEAD_AT);
    const xOf = (seconds) => head + (seconds - this.#atS) * PIXELS_PER_S;
    this.#drawBars(draw, xOf, width, height - WORDS_PX);
    this.#drawWords(draw, xOf, width, height);
    draw.fillStyle = this.#colours.ink;
    draw.fillRect(head - 0.75, 6, 1.5, height - WORDS_PX - 8);
  }

  #drawBars(draw, xOf, width, height) {
    const middle = height / 2;
    const first = Math.floor(this.#atS / BAR_S - (width * HEAD_AT) / (PIXELS_PER_S * BAR_S));
    const count = Math.ceil(width / (PIXELS_PER_S * BAR_S)) + 1;
    draw.lineCap = "round";
    draw.lineWidth = BAR_PX;
    for (let bar = first; bar < first + count; bar += 1) {
      const peak = this.#peaks[bar];
      const atS = (bar + 0.5) * BAR_S;
      const x = xOf(atS);
      const half = Math.max(0.4, Math.sqrt(peak ?? 0) * (middle - 8)); // square root: quiet speech shows too
      draw.strokeStyle = this.#colours[peak === undefined ? "line" : atS <= this.#atS ? "accent" : "ahead"];
      draw.beginPath();
      draw.moveTo(x, middle - half);
      draw.lineTo(x, middle + half);
      draw.stroke();
    }
  }

  #drawWords(draw, xOf, width, height) {
    draw.font = "13px system-ui, sans-serif";
    draw.textBaseline = "alphabetic";
    let free = -Infinity; // right edge of the last one drawn
    for (const { text, start_s, end_s } of this.#words) {
      const x = Math.max(xOf(start_s), free);
      const extent = draw.measureText(text).width;
      if (x + extent > 0 && x < width) {
        draw.fillStyle = this.#colours[start_s > this.#atS ? "quiet" : end_s > this.#atS ? "accent" : "ink"];
        draw.fillText(text, x, height - 7);
      }
      free = x + extent + 6;
    }
  }
}
