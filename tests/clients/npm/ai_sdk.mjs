// Speaks a text with the AI SDK's provider for OpenAI.
import { createOpenAI } from "@ai-sdk/openai";
import { experimental_generateSpeech as generateSpeech } from "ai";

const [url, text] = process.argv.slice(2);
const openai = createOpenAI({ baseURL: `${url}/v1`, apiKey: "any" });
const { audio } = await generateSpeech({ model: openai.speech("tts-1"), text, voice: "ash", outputFormat: "pcm" });
process.stdout.write(Buffer.from(audio.uint8Array));
