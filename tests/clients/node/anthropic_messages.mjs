// Three turns with a tool call over Anthropic Messages. Arguments: base URL, nonce, "plain" or "stream".
// Prints what the SDK understood, as JSON.
import Anthropic from '@anthropic-ai/sdk'

const [baseURL, nonce, mode] = process.argv.slice(2)
const client = new Anthropic({ baseURL, apiKey: 'unused', maxRetries: 0 })
const schema = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] }
const tools = [{ name: 'weather', description: 'The weather of a city.', input_schema: schema }]
const system = `${nonce} You help.`
const messages = []

async function ask(content) {
  messages.push({ role: 'user', content })
  const request = { model: 'any', max_tokens: 512, system, messages, tools }
  const message =
    mode === 'stream' ? await client.messages.stream(request).finalMessage() : await client.messages.create(request)
  messages.push({ role: 'assistant', content: message.content })
  return message
}

function textOf(message) {
  return message.content.filter((block) => block.type === 'text').map((block) => block.text).join('')
}

const first = await ask('Hi')
const second = await ask('How is the weather in Zürich?')
const call = second.content.find((block) => block.type === 'tool_use')
const third = await ask([{ type: 'tool_result', tool_use_id: call.id, content: 'sunny' }])

console.log(
  JSON.stringify({
    texts: [first, second, third].map(textOf),
    ended: [first, second, third].map((message) => message.stop_reason),
    call: { name: call.name, arguments: call.input },
  }),
)
