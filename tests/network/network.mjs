// A real AT Protocol network on loopback: the PLC directory (in memory) and two reference PDSes.
// Prints one line of JSON when it is up. Ends when its standard input does, so that it never outlives
// the process that started it. Every port is chosen by the system.
import { Secp256k1Keypair } from '@atproto/crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { json } from 'node:stream/consumers'
import { actions } from './control.mjs'
import { startDirectory } from './directory.mjs'
import { listen, originOf } from './listen.mjs'
import { Pds } from './pds.mjs'

const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'at-functions-network-'))
process.on('exit', () => fs.rmSync(directory, { recursive: true, force: true }))
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit())
process.stdin.on('close', () => process.exit()).resume()

const network = {
  directory: await startDirectory(),
  rotationKey: await Secp256k1Keypair.create(),
  pdses: [],
  handles: new Map(),
  started: 0,
  async startPds() {
    const name = String.fromCharCode('a'.charCodeAt(0) + this.started++)
    const pds = await Pds.start({
      handleDomain: `.${name}.test`,
      plcUrl: this.directory.url,
      directory: path.join(directory, name),
    })
    this.pdses.push(pds)
    return pds
  },
}

const reply = (response, status, body) => {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

// A PDS answers only for handles that it holds; this answers for all of them.
async function resolveHandle(response, handle) {
  const told = network.handles.get(handle)
  if (told) return reply(response, 200, { did: told })
  for (const pds of network.pdses.filter((pds) => pds.running)) {
    const account = await pds.context.accountManager.getAccount(handle)
    if (account) return reply(response, 200, { did: account.did })
  }
  reply(response, 400, { error: 'InvalidRequest', message: 'Unable to resolve handle' })
}

const perform = actions(network)
const control = await listen()
control.on('request', async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://localhost')
  try {
    if (pathname === '/xrpc/com.atproto.identity.resolveHandle') {
      return await resolveHandle(response, searchParams.get('handle'))
    }
    const action = pathname.slice(1)
    if (request.method !== 'POST' || !Object.hasOwn(perform, action)) {
      return reply(response, 404, { error: `no such action: ${request.method} ${pathname}` })
    }
    reply(response, 200, (await perform[action](await json(request))) ?? {})
  } catch (error) {
    // An error of the directory's client holds the directory's own words.
    reply(response, 400, { error: `${error}`, detail: error.data ?? error.error })
  }
})

const [a, b] = [await network.startPds(), await network.startPds()]
console.log(
  JSON.stringify({
    plcUrl: network.directory.url,
    controlUrl: originOf(control),
    pdses: [a.description, b.description],
  }),
)
