// docs/protocol.md, Link and Queue commands, over a real websocket.
import WebSocket from 'ws'
import nacl from 'tweetnacl'
import { Refusal, join, number, u64 } from './bytes.js'
import { connect, frameLength, openFrame, sealFrame } from './link.js'
import { command, parseAnswer, types } from './commands.js'

const most = 65809

// RelayError is an ERROR from the relay. A "wait" code says how many seconds.
export class RelayError extends Error {
  constructor(code, wait) {
    super(`the relay refuses: code ${code}, wait ${wait} s`)
    Object.assign(this, { code, wait, toWait: [4, 5, 6, 16, 17].includes(code) })
  }
}

// dial tries a relay's hosts in their order.
export async function dial({ hosts, fingerprint }) {
  let failed
  for (const url of hosts) {
    try {
      return await new Promise((up, down) => new Conn(url, fingerprint, up, down))
    } catch (e) {
      // A wrong relay is not a reason to try another host.
      if (e instanceof Refusal) throw e
      failed = e
    }
  }
  throw failed
}

class Conn {
  constructor(url, fingerprint, up, down) {
    Object.assign(this, { sealed: 0, opened: 0, corr: nacl.randomBytes(16), count: 0, asked: new Map(), events: [] })
    this.ws = new WebSocket(url, 'kin.v1', { perMessageDeflate: false, maxPayload: most, handshakeTimeout: 20000 })
    this.ws.binaryType = 'nodebuffer'
    this.closed = new Promise((done) => this.ws.on('close', done))
    const end = (e) => {
      down(e)
      this.dead ??= e
      for (const { reject } of this.asked.values()) reject(e)
      this.asked.clear()
    }
    this.ws.on('error', end)
    this.ws.on('close', () => end(new Error('the connection ended')))
    this.ws.on('message', (data, binary) => {
      try {
        if (!binary) throw new Error('a text message from the relay')
        const bytes = new Uint8Array(data)
        if (this.link) return this.frames(bytes)
        this.link = connect(bytes, fingerprint)
        this.ws.send(this.link.answer)
        up(this)
      } catch (e) {
        end(e)
        this.ws.terminate()
      }
    })
  }

  // frames takes one websocket message apart.
  frames(bytes) {
    for (let at = 0; at < bytes.length;) {
      const n = frameLength(bytes[at])
      const { type, body } = openFrame(this.link.s2c, this.opened++, bytes.slice(at, at + n))
      at += n
      const fields = parseAnswer(type, body)
      if (fields) this.answer(type, Object.fromEntries(fields), fields)
    }
  }

  answer(type, a, fields) {
    if (type === 0x87 || type === 0x88) return this.events.push({ type, ...a })
    const count = number(a.corr)
    const asked = this.asked.get(count)
    this.asked.delete(count)
    if (!asked) return
    if (type === 0x82) asked.reject(new RelayError(number(a.code), number(a.wait)))
    else asked.resolve({ ...a, all: fields })
  }

  send(type, values, keys) {
    const { sid, hello } = this.link
    this.ws.send(sealFrame(this.link.c2s, this.sealed++, type, command(type, values, { sid, RA: hello.RA, keys })))
  }

  // ask sends a command and waits for its answer; keys are the queues' private keys.
  ask(name, values, keys) {
    if (this.dead) return Promise.reject(this.dead)
    const count = ++this.count
    return new Promise((resolve, reject) => {
      this.asked.set(count, { resolve, reject })
      this.send(types[name], { corr: join(this.corr, u64(count)), ...values }, keys)
    })
  }

  ack(handle, sequence) {
    if (!this.dead) this.send(types.ACK, { handle, sequence }, [])
  }

  // close waits for the relay's close frame: ACKs before it were then carried out.
  close() {
    this.ws.close()
    return this.closed
  }
}
