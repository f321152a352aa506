// The AI SDK of Vercel. Arguments: base URL, key, nonce, "plain" or "stream", the provider whose wire is spoken.
import { createAnthropic } from '@ai-sdk/anthropic'
import { createOpenAI } from '@ai-sdk/openai'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { generateText, isStepCount, jsonSchema, streamText, tool } from 'ai'

const [baseURL, apiKey, nonce, mode, provider] = process.argv.slice(2)
const model = {
  anthropic: () => createAnthropic({ baseURL: `${baseURL}/v1`, apiKey })('any'),
  'openai-chat': () => createOpenAI({ baseURL, apiKey }).chat('any'),
  'openai-compatible': () => createOpenAICompatible({ name: 'gateway', baseURL, apiKey })('any'),
  'openai-responses': () => createOpenAI({ baseURL, apiKey }).responses('any'),
}[provider]()
const weather = tool({
  description: 'The weather of a city.',
  inputSchema: jsonSchema({ type: 'object', properties: { city: { type: 'string' } }, required: ['city'] }),
  execute: async ({ city }) => `sunny in ${city}`,
})
const messages = []

for (const content of ['How is the weather in Zürich?', 'Thank you']) {
  messages.push({ role: 'user', content })
  const instructions = `${nonce} You help.`
  const request = { model, instructions, messages, tools: { weather }, stopWhen: isStepCount(5) }
  const result = mode === 'stream' ? streamText(request) : await generateText(request)
  console.log(await result.text)
  messages.push(...(await result.responseMessages))
}
