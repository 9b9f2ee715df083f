// The PLC directory, in memory.
import plcServer from '@did-plc/server'
import { listen, originOf } from './listen.mjs'

const { PlcServer, Database } = plcServer

// The released directory writes keys in documents as they were written before `Multikey`, which is what
// the public directory writes today. In a did:key both are one text.
const toMultikey = ({ did, verificationMethods, alsoKnownAs, services }) => ({
  '@context': ['https://www.w3.org/ns/did/v1', 'https://w3id.org/security/multikey/v1'],
  id: did,
  alsoKnownAs,
  verificationMethod: Object.entries(verificationMethods).map(([id, key]) => ({
    id: `${did}#${id}`,
    type: 'Multikey',
    controller: did,
    publicKeyMultibase: key.slice('did:key:'.length),
  })),
  service: Object.entries(services).map(([id, { type, endpoint }]) => ({
    id: `#${id}`,
    type,
    serviceEndpoint: endpoint,
  })),
})

/** Starts a directory; the DIDs in `legacyDocuments` get documents of the older form. */
export async function startDirectory() {
  const { app } = PlcServer.create({ db: Database.mock() })
  const server = await listen()
  const url = originOf(server)
  const legacyDocuments = new Set()

  server.on('request', async (request, response) => {
    const did = request.url.slice(1)
    const isDocument = request.method === 'GET' && /^did:plc:[a-z2-7]+$/.test(did)
    if (!isDocument || legacyDocuments.has(did)) return app(request, response)
    try {
      const data = await fetch(`${url}/${did}/data`)
      // What is not there, or no longer, is for the directory itself to say.
      if (!data.ok) return app(request, response)
      const document = JSON.stringify(toMultikey(await data.json()))
      response.writeHead(200, { 'content-type': 'application/did+ld+json; charset=utf-8' }).end(document)
    } catch (error) {
      response.writeHead(500).end(`${error}`)
    }
  })
  return { url, legacyDocuments }
}
