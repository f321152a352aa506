// Three turns with a tool call over OpenAI Responses, each continuing the one before by its id. Arguments: base URL,
// nonce, "plain" or "stream". Prints what the SDK understood, as JSON.
import OpenAI from 'openai'

const [baseURL, nonce, mode] = process.argv.slice(2)
const client = new OpenAI({ baseURL, apiKey: 'unused', maxRetries: 0 })
const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] }
const weather = { type: 'function', name: 'weather', description: 'The weather of a city.', parameters, strict: false }
const instructions = `${nonce} You help.`

async function ask(input, before) {
  const request = { model: 'any', instructions, input, tools: [weather], previous_response_id: before?.id }
  return mode === 'stream' ? client.responses.stream(request).finalResponse() : client.responses.create(request)
}

function textOf(response) {
  const contents = response.output.filter((item) => item.type === 'message').flatMap((item) => item.content)
  return contents.map((part) => part.text).join('')
}

const first = await ask('Hi')
const second = await ask('How is the weather in Zürich?', first)
const call = second.output.find((item) => item.type === 'function_call')
const third = await ask([{ type: 'function_call_output', call_id: call.call_id, output: 'sunny' }], second)

console.log(
  JSON.stringify({
    texts: [first, second, third].map(textOf),
    ended: [first, second, third].map((response) => response.status),
    call: { name: call.name, arguments: JSON.parse(call.arguments) },
  }),
)
