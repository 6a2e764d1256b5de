// Speaks a text with ElevenLabs' client as it streams, and asks for voices and subscription.
import { ElevenLabsClient } from "@elevenlabs/elevenlabs-js";

const [url, text] = process.argv.slice(2);
const client = new ElevenLabsClient({ baseUrl: url, environment: url, apiKey: "any" });
const { voices } = await client.voices.search();
await client.user.subscription.get();
const speech = await client.textToSpeech.stream(voices[0].voiceId, { text, outputFormat: "pcm_24000" });
for await (const piece of speech) process.stdout.write(piece);
