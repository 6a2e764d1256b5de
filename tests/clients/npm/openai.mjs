// Speaks a text with OpenAI's client; the samples go to standard output.
import OpenAI from "openai";

const [url, text] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "any" });
const answer = await client.audio.speech.create({ model: "tts-1", voice: "ash", input: text, response_format: "pcm" });
process.stdout.write(Buffer.from(await answer.arrayBuffer()));
