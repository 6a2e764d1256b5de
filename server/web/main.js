// The page: reads the form, starts and stops speeches, says how it stands. One speech at a time; a new one interrupts.

import { SpeechClient } from "./client.js";
import { Player } from "./player.js";
import { Problem } from "./problem.js";
import { Speech } from "./speech.js";
import { Stage } from "./stage.js";
import { Waveform } from "./waveform.js";

const $ = (id) => document.getElementById(id);
const socketUrl = new URL("v1/audio/speech/ws", document.baseURI);
socketUrl.protocol = socketUrl.protocol.replace("http", "ws");

const client = new SpeechClient(socketUrl);
const player = new Player();
const stage = new Stage(new Waveform($("waveform")), player);
const problem = new Problem();
let current = null; // the speech in progress

// Called inside a user's gesture and, up to `begin`, without a pause: else browsers keep the audio silent.
function speak(text) {
  problem.clear();
  current?.abandon();
  const wordEveryMs = $("by-word").checked ? Number($("interval").value) : null;
  const speech = new Speech({ client, player, text, wordEveryMs, view: stage });
  stage.onOver = (outcome) => over(speech, outcome, text);
  current = speech;
  stand("speaking", "Speaking…");
  speech.begin($("key").value.trim(), settings());
}

function settings() {
  const voices = new Set([$("voice").value, $("mixed").value].filter(Boolean)); // of two that share, the first speaks
  const sound = { speed: Number($("speed").value), pitch_semitones: Number($("pitch").value) };
  return { ...sound, ...(voices.size && { voice: [...voices].join("+") }) };
}

function over(speech, outcome, text) {
  if (speech !== current) return;
  current = null;
  const heard = `${(outcome.playedS ?? 0).toFixed(2)} s`;
  if (outcome.kind === "spoken") stand("spoken", [`Spoken: ${heard}`, ...outcome.warnings].join("; ") + ".");
  else if (outcome.kind === "stopped") stand("stopped", `Stopped after ${heard}.`);
  else {
    stand("failed", "Not spoken.");
    problem.show(outcome.error, () => speak(text));
    if (outcome.error.code === "invalid_api_key") askForKey();
  }
}

function stand(state, text) {
  document.body.dataset.state = state;
  $("status").textContent = text;
  const stoppable = state === "speaking";
  if (!stoppable && document.activeElement === $("stop")) $("speak").focus(); // a disabled button loses the keyboard
  $("stop").disabled = !stoppable;
}

function askForKey() {
  $("key-field").hidden = false;
  $("key").focus();
}

async function fillVoices() {
  try {
    const answer = await fetch("v1/audio/voices");
    if (!answer.ok) throw new Error(`the list of voices answered ${answer.status}`);
    const { voices } = await answer.json();
    const options = () => voices.map(({ id, name }) => new Option(name, id));
    $("voice").replaceChildren(...options());
    $("mixed").append(...options());
    const describe = () => {
      $("voice-note").textContent = voices[$("voice").selectedIndex].description;
    };
    $("voice").addEventListener("change", describe);
    describe();
  } catch (error) {
    const again = () => {
      problem.clear();
      fillVoices();
    };
    problem.show({ code: "connection_failed", message: error.message }, again);
  }
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  speak($("text").value);
});
$("rest").addEventListener("click", () => speak($("remaining").textContent));
$("stop").addEventListener("click", () => current?.stop());
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") current?.stop();
  else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault(); // some fields submit by themselves
    $("form").requestSubmit();
  }
});
for (const mode of document.querySelectorAll('input[name="mode"]')) {
  mode.addEventListener("change", () => {
    $("interval-field").hidden = !$("by-word").checked;
  });
}
$("speed").addEventListener("input", () => {
  $("speed-shown").textContent = `${Number($("speed").value).toFixed(2)}×`;
});
$("pitch").addEventListener("input", () => {
  const semitones = Number($("pitch").value);
  const unit = Math.abs(semitones) === 1 ? "semitone" : "semitones";
  $("pitch-shown").textContent = semitones ? `${semitones > 0 ? "+" : "−"}${Math.abs(semitones)} ${unit}` : "as it is";
});
$("interval").addEventListener("input", () => {
  $("interval-shown").textContent = `${$("interval").value} ms`;
});
for (const control of [$("speed"), $("pitch"), $("interval")]) control.dispatchEvent(new Event("input")); // browsers restore forms
$("interval-field").hidden = !$("by-word").checked;
fillVoices();
