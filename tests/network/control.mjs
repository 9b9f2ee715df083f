// What tests ask of the network that XRPC does not offer: one function an action, `POST /<action>`.
import { AtpAgent } from '@atproto/api'
import { P256Keypair, Secp256k1Keypair } from '@atproto/crypto'
import * as plc from '@did-plc/lib'

/** The actions on `network` (`{ directory, rotationKey, pdses, handles, startPds }`), by name. */
export function actions(network) {
  const directory = new plc.Client(network.directory.url)

  const pdsAt = (url) => {
    const pds = network.pdses.find((pds) => pds.url === url)
    if (!pds) throw new Error(`there is no PDS at ${url}`)
    return pds
  }

  const home = async (did) => {
    const { services } = await directory.getDocumentData(did)
    return pdsAt(services.atproto_pds.endpoint)
  }

  // The key, among those held here, that the directory takes operations on this DID from.
  const rotationKey = async (did) => {
    const { rotationKeys } = await directory.getDocumentData(did)
    const running = network.pdses.filter((pds) => pds.running)
    const held = [network.rotationKey, ...running.map((pds) => pds.context.plcRotationKey)]
    const key = held.find((key) => rotationKeys.includes(key.did()))
    if (!key) throw new Error(`no rotation key of ${did} is held here`)
    return key
  }

  return {
    /** One more PDS, for a test that stops it: the first two belong to all. */
    async startPds() {
      return (await network.startPds()).description
    },

    async stopPds({ url }) {
      await pdsAt(url).stop()
    },

    async startPdsAgain({ url }) {
      await pdsAt(url).startAgain()
    },

    /** Registers a did:plc for an account that lives at `pds`, which need not be one of ours, or exist. */
    async createIdentity({ handle, pds, signingKey }) {
      const signer = network.rotationKey
      const rotationKeys = [signer.did()]
      return { did: await directory.createDid({ signingKey, handle, pds, rotationKeys, signer }) }
    },

    /** Changes what the directory alone says of a DID: any of its signing key (did:key), handle, PDS. */
    async updateIdentity({ did, signingKey, handle, pds }) {
      const signer = await rotationKey(did)
      if (signingKey) await directory.updateAtprotoKey(did, signer, signingKey)
      if (handle) await directory.updateHandle(did, signer, handle)
      if (pds) await directory.updatePds(did, signer, pds)
    },

    /** A new signing key of `curve` for an account: in the directory, and in its PDS unless `directoryOnly`. */
    async rotateKey({ did, curve, directoryOnly }) {
      const keypair = await { k256: Secp256k1Keypair, p256: P256Keypair }[curve].create()
      await directory.updateAtprotoKey(did, await rotationKey(did), keypair.did())
      if (!directoryOnly) await (await home(did)).replaceKey(did, keypair)
      return { signingKey: keypair.did() }
    },

    /** Has the directory write this DID's document as directories did before `Multikey`. */
    async writeLegacyDocument({ did }) {
      network.directory.legacyDocuments.add(did)
    },

    async tombstone({ did }) {
      await directory.tombstone(did, await rotationKey(did))
    },

    /** Has the network's handle resolver answer `did` for `handle`, or, without a DID, forget what it was told. */
    async setHandle({ handle, did }) {
      if (did) network.handles.set(handle, did)
      else network.handles.delete(handle)
    },

    /**
     * Moves an account to the PDS at `to`, as a migrating client does it: account, repo, blobs, identity,
     * then live there and not here. The token that the old PDS would send by mail is taken from it.
     */
    async migrate({ did, password, email, handle, to }) {
      const [oldHome, newHome] = [await home(did), pdsAt(to)]
      const old = new AtpAgent({ service: oldHome.url })
      await old.login({ identifier: did, password })
      const { data: auth } = await old.com.atproto.server.getServiceAuth({
        aud: newHome.did,
        lxm: 'com.atproto.server.createAccount',
      })
      const moved = new AtpAgent({ service: newHome.url })
      await moved.com.atproto.server.createAccount(
        { did, handle, email, password },
        { headers: { authorization: `Bearer ${auth.token}` }, encoding: 'application/json' },
      )
      await moved.login({ identifier: handle, password })

      const { data: car } = await old.com.atproto.sync.getRepo({ did })
      await moved.com.atproto.repo.importRepo(car, { encoding: 'application/vnd.ipld.car' })
      let cursor
      do {
        const { data: missing } = await moved.com.atproto.repo.listMissingBlobs({ cursor })
        for (const { cid } of missing.blobs) {
          const blob = await old.com.atproto.sync.getBlob({ did, cid })
          await moved.com.atproto.repo.uploadBlob(blob.data, { encoding: blob.headers['content-type'] })
        }
        cursor = missing.cursor
      } while (cursor)

      const { data: credentials } = await moved.com.atproto.identity.getRecommendedDidCredentials()
      const token = await oldHome.context.accountManager.createEmailToken(did, 'plc_operation')
      const { data: signed } = await old.com.atproto.identity.signPlcOperation({ token, ...credentials })
      await moved.com.atproto.identity.submitPlcOperation({ operation: signed.operation })
      await moved.com.atproto.server.activateAccount()
      await old.com.atproto.server.deactivateAccount({})
    },
  }
}
