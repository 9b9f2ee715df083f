// One reference PDS on loopback, that can be stopped and started again on the same port and data.
import { PDS, envToCfg, envToSecrets } from '@atproto/pds'
import crypto from 'node:crypto'
import { once } from 'node:events'
import fs from 'node:fs/promises'
import path from 'node:path'
import { listen, listenAgain, originOf } from './listen.mjs'

export class Pds {
  // Signing keys that tests put in the place of those that the PDS made, by DID. The PDS itself only
  // knows secp256k1 keys; kept here, a P-256 key serves as well.
  #keys = new Map()
  #server
  #pds

  /** Starts a PDS whose accounts have handles under `handleDomain` (which begins with a dot). */
  static async start({ handleDomain, plcUrl, directory }) {
    const pds = new Pds()
    pds.#server = await listen()
    const { port } = pds.#server.address()
    pds.handleDomain = handleDomain
    pds.url = originOf(pds.#server)
    pds.did = `did:web:localhost%3A${port}`
    pds.adminPassword = crypto.randomBytes(16).toString('hex')
    const blobs = path.join(directory, 'blobs')
    await fs.mkdir(blobs, { recursive: true })
    pds.settings = {
      port,
      hostname: 'localhost',
      serviceDid: pds.did,
      serviceHandleDomains: [handleDomain],
      dataDirectory: directory,
      blobstoreDiskLocation: blobs,
      blobUploadLimit: 50 * 1024 * 1024,
      didPlcUrl: plcUrl,
      plcRotationKeyK256PrivateKeyHex: crypto.randomBytes(32).toString('hex'),
      adminPassword: pds.adminPassword,
      jwtSecret: crypto.randomBytes(16).toString('hex'),
      inviteRequired: false,
      rateLimitsEnabled: false,
      logEnabled: false,
      // Lets it proxy to, and resolve did:web at, plain http on loopback.
      devMode: true,
      disableSsrfProtection: true,
      bskyAppViewUrl: 'https://appview.invalid',
      bskyAppViewDid: 'did:web:appview.invalid',
      modServiceUrl: 'https://moderator.invalid',
      modServiceDid: 'did:web:moderator.invalid',
    }
    await pds.#serve()
    return pds
  }

  /** What a test needs to know of it. */
  get description() {
    const { url, did, handleDomain, adminPassword } = this
    return { url, did, handleDomain, adminPassword }
  }

  get running() {
    return this.#pds !== undefined
  }

  /** The PDS's own parts (accounts, actor store, sequencer, PLC client). */
  get context() {
    if (!this.#pds) throw new Error(`${this.url} is stopped`)
    return this.#pds.ctx
  }

  async #serve() {
    const pds = await PDS.create(envToCfg(this.settings), envToSecrets(this.settings))
    const { actorStore } = pds.ctx
    const madeByPds = actorStore.keypair.bind(actorStore)
    actorStore.keypair = async (did) => this.#keys.get(did) ?? madeByPds(did)
    // What `PDS.start` does, but on a socket that was listening before the PDS had to know its port.
    await pds.ctx.sequencer.start()
    this.#server.keepAliveTimeout = 90_000
    this.#server.on('request', pds.app)
    this.#pds = pds
  }

  /** Refuses connections from now on, and cuts those that are open. */
  async stop() {
    const pds = this.#pds
    if (!pds) return
    this.#pds = undefined
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server.closeAllConnections()
    await closed
    await pds.destroy()
  }

  async startAgain() {
    if (this.#pds) return
    this.#server = await listenAgain(this.settings.port)
    await this.#serve()
  }

  /** Has the PDS sign with `keypair` for an account, beginning with a commit that changes nothing else. */
  async replaceKey(did, keypair) {
    const { actorStore, sequencer } = this.context
    this.#keys.set(did, keypair)
    const sync = await actorStore.transact(did, async (account) => {
      await account.repo.processWrites([])
      return account.repo.getSyncEventData()
    })
    await sequencer.sequenceIdentity(did)
    await sequencer.sequenceSync(did, sync)
  }
}
