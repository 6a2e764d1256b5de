// What went wrong, in words for a person: a title by the error's code, then the server's own message. Where trying
// again can help there is a button for it; when the server says how long to wait, it counts down first.

const TITLES = {
  no_text: "There is no text",
  no_audio: "No audio in this browser",
  unspeakable_text: "There is nothing to pronounce",
  text_too_long: "The text is too long",
  message_too_big: "The text is too long",
  overloaded: "The server is busy",
  quota_exceeded: "The quota of this key is used up",
  not_ready: "The server is starting",
  draining: "The server is stopping",
  invalid_api_key: "This server asks for an API key",
  origin_not_allowed: "This page's address is not allowed",
  connection_failed: "No connection",
  connection_lost: "The connection was lost",
};
const FINAL = [
  "no_text", "unspeakable_text", "text_too_long", "message_too_big", "invalid_api_key", "origin_not_allowed",
  "invalid_parameter",
];

export class Problem {
  #box = document.querySelector("#problem");
  #title = document.querySelector("#problem-title");
  #text = document.querySelector("#problem-text");
  #again = document.querySelector("#again");
  #timer = null;

  #onAgain = null;

  constructor() {
    this.#again.addEventListener("click", () => this.#onAgain());
  }

  // `onAgain`: what did not work.
  show({ code, message, retryAfterS }, onAgain) {
    clearInterval(this.#timer);
    this.#onAgain = onAgain;
    this.#title.textContent = TITLES[code] ?? "That did not work";
    this.#text.textContent = message.charAt(0).toUpperCase() + message.slice(1) + (/[.!?]$/.test(message) ? "" : ".");
    this.#again.hidden = FINAL.includes(code);
    this.#box.dataset.code = code;
    this.#box.hidden = false;
    this.#count(Math.ceil(retryAfterS ?? 0));
  }

  clear() {
    clearInterval(this.#timer);
    this.#box.hidden = true;
  }

  #count(seconds) {
    const until = performance.now() + 1000 * seconds;
    const tell = () => {
      const left = Math.ceil((until - performance.now()) / 1000);
      this.#again.disabled = left > 0;
      this.#again.textContent = left > 0 ? `Try again in ${left} s` : "Try again";
      if (left <= 0) clearInterval(this.#timer);
    };
    this.#timer = setInterval(tell, 200);
    tell();
  }
}
