// Three turns with a tool call over OpenAI chat. Arguments: base URL, nonce, "plain" or "stream".
// Prints what the SDK understood, as JSON.
import OpenAI from 'openai'

const [baseURL, nonce, mode] = process.argv.slice(2)
const client = new OpenAI({ baseURL, apiKey: 'unused', maxRetries: 0 })
const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] }
const tools = [{ type: 'function', function: { name: 'weather', description: 'The weather of a city.', parameters } }]
const messages = [{ role: 'system', content: `${nonce} You help.` }]

async function ask(message) {
  messages.push(message)
  const request = { model: 'any', messages, tools }
  const completion =
    mode === 'stream'
      ? await client.chat.completions.stream(request).finalChatCompletion()
      : await client.chat.completions.create(request)
  const [choice] = completion.choices
  messages.push(choice.message)
  return { choice, ended: choice.finish_reason }
}

const first = await ask({ role: 'user', content: 'Hi' })
const second = await ask({ role: 'user', content: 'How is the weather in Zürich?' })
const [call] = second.choice.message.tool_calls
const third = await ask({ role: 'tool', tool_call_id: call.id, content: 'sunny' })

console.log(
  JSON.stringify({
    texts: [first, second, third].map(({ choice }) => choice.message.content ?? ''),
    ended: [first, second, third].map(({ ended }) => ended),
    call: { name: call.function.name, arguments: JSON.parse(call.function.arguments) },
  }),
)
