// Sockets on loopback.
import { once } from 'node:events'
import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

/** A server that listens on loopback; port 0 has the system choose one. */
export async function listen(port = 0) {
  const server = http.createServer()
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return server
}

/** The same on a port that was ours before: an outgoing connection of any process may sit on it for a moment. */
export async function listenAgain(port) {
  for (let attempt = 0; ; attempt++) {
    try {
      return await listen(port)
    } catch (error) {
      if (error.code !== 'EADDRINUSE' || attempt === 50) throw error
      await sleep(100)
    }
  }
}

export const originOf = (server) => `http://localhost:${server.address().port}`
