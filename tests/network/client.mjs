// A Bluesky client, as the client library of the reference implementation makes one. Reads one JSON object
// from standard input, signs in, makes one call, and prints one line of JSON.
//   in:  { service, identifier, password, proxy: {did, id}?, method: "procedure" | "query", nsid, params?, body?, lexicon? }
//   out: { status, data, error?, message?, sent: [{ method, path, status }] }   every exchange after signing in
// With `lexicon` (a lexicon document) the call goes through the library's typed client, which checks what
// comes back; without, through its plain fetch, as clients call methods that they have no lexicon for.
import { AtpAgent, XRPCError } from '@atproto/api'
import { json } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'

const { service, identifier, password, proxy, method, nsid, params, body, lexicon } = await json(process.stdin)

const sent = []
const recordingFetch = async (input, init) => {
  const request = new Request(input, init)
  const response = await fetch(request)
  sent.push({ method: request.method, path: new URL(request.url).pathname, status: response.status })
  return response
}

const agent = new AtpAgent({ service, fetch: recordingFetch })
await agent.login({ identifier, password })
sent.length = 0
// Within one second a PDS makes the same access token twice, and the library takes a session that it
// refreshed by then for one that it could not refresh.
await sleep(1000)
const caller = proxy ? agent.withProxy(proxy.id, proxy.did) : agent

async function throughLexicon() {
  caller.lex.add(lexicon)
  try {
    const { data } = await caller.call(nsid, params, body, body && { encoding: 'application/json' })
    return { status: 200, data }
  } catch (error) {
    if (!(error instanceof XRPCError)) throw error
    return { status: error.status, error: error.error, message: error.message }
  }
}

async function throughFetch() {
  const query = params ? `?${new URLSearchParams(params)}` : ''
  const request =
    method === 'query'
      ? { method: 'GET' }
      : { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
  const response = await caller.fetchHandler(`/xrpc/${nsid}${query}`, request)
  const data = await response.json()
  return { status: response.status, data, error: data.error, message: data.message }
}

const answer = lexicon ? await throughLexicon() : await throughFetch()
console.log(JSON.stringify({ ...answer, sent }))
