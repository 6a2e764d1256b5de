// `parlando.v1` (docs/wire.md) over one WebSocket that is opened when needed and used again. Each utterance has a
// context of its own, so that nothing late of a stopped one is taken for the next. It knows neither page nor player.

const KEY_SUBPROTOCOL = "parlando.key."; // a browser's WebSocket can send no header
const TOKEN = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/; // what a subprotocol may be made of
const CONNECT_WITHIN_MS = 10_000;

// What went wrong, as the server or this file names it.
export class SpeechError extends Error {
  constructor(code, message, retryAfterS = null) {
    super(message);
    this.code = code;
    this.retryAfterS = retryAfterS;
  }
}

export class SpeechClient {
  #url;
  #key = "";
  #socket = null;
  #ended = null; // why the connection is no use any more
  #utterances = new Map();
  #sounding = null; // whose the binary messages are
  #count = 0;

  constructor(url) {
    this.#url = url;
  }

  // Resolves when messages can be sent. Another key needs another connection.
  async open(key = "") {
    if (this.#socket?.readyState === WebSocket.OPEN && this.#ended === null && this.#key === key) return;
    this.#socket?.close();
    if (key && !TOKEN.test(key)) {
      throw new SpeechError("invalid_api_key", "a browser cannot send a key with spaces or signs such as / = : in it");
    }
    this.#key = key;
    this.#socket = await connected(this.#url, ["parlando.v1", ...(key ? [KEY_SUBPROTOCOL + key] : [])]);
    const socket = this.#socket;
    this.#ended = null;
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code }) => {
      if (socket !== this.#socket) return;
      this.#fail(new SpeechError("connection_lost", `the connection was closed (${code})`));
    };
  }

  // `listener` has a method for each event: audio(pcm), words(words), waiting(), done(event), cancelled(event),
  // failed(error). The server may have refused the connection before there was a handler to tell: then it throws.
  start(settings, listener) {
    if (this.#ended !== null) throw this.#ended;
    this.#count += 1;
    const context = `u${this.#count}`;
    const send = (type, fields = {}) => {
      if (this.#utterances.has(context)) this.#send({ type, context, ...fields });
    };
    this.#utterances.set(context, listener);
    send("start", settings);
    return {
      append: (text) => send("append", { text }),
      end: () => send("end"),
      cancel: (playedMs) => send("cancel", { played_ms: playedMs }),
      // Its name is forgotten: nothing more of it is heard.
      abandon: () => {
        send("cancel");
        this.#utterances.delete(context);
      },
    };
  }

  #send(message) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #receive(data) {
    if (data instanceof ArrayBuffer) {
      this.#utterances.get(this.#sounding)?.audio(data);
      return;
    }
    const event = JSON.parse(data);
    const listener = this.#utterances.get(event.context);
    if (event.type === "audio") this.#sounding = event.context;
    else if (event.type === "error") this.#refused(event);
    else if (event.type === "words") listener?.words(event.words);
    else if (event.type === "waiting_for_text") listener?.waiting();
    else if (event.type === "done" || event.type === "cancelled") {
      this.#utterances.delete(event.context);
      listener?.[event.type](event);
    }
  }

  #refused({ code, message, context, retry_after_s }) {
    const error = new SpeechError(code, message, retry_after_s ?? null);
    if (context === undefined) {
      this.#fail(error); // about the connection; an idle one that is closed concerns no utterance
      return;
    }
    const listener = this.#utterances.get(context);
    this.#utterances.delete(context);
    this.#send({ type: "cancel", context }); // text behind a refused start would speak with defaults
    listener?.failed(error);
  }

  #fail(error) {
    this.#ended ??= error;
    const listeners = [...this.#utterances.values()];
    this.#utterances.clear();
    for (const listener of listeners) listener.failed(error);
  }
}

function connected(url, subprotocols) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, subprotocols);
    const late = setTimeout(() => socket.close(), CONNECT_WITHIN_MS);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      clearTimeout(late);
      resolve(socket);
    };
    socket.onclose = () => {
      clearTimeout(late);
      reject(new SpeechError("connection_failed", "the server does not answer on its WebSocket"));
    };
  });
}
