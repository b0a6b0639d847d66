// Every vector of the link, its frames and commands, and the texts.
import test from 'node:test'
import assert from 'node:assert/strict'
import { Refusal, hex, number } from './kin/bytes.js'
import { publicKey } from './kin/keys.js'
import { vectors } from './kin/vector.js'
import { accept, openFrame, parseHello, sealFrame } from './kin/link.js'
import { parseAnswer, parseCommand, verify } from './kin/commands.js'
import { parseAddress, parseGrant, parseInvite } from './kin/texts.js'

const same = (got, want, what) => assert.equal(hex(got), hex(want), what)
const text = (b) => Buffer.from(b).toString('utf8')

const kinds = {
  hello(f) {
    parseHello(f.hello, f.pin)
  },
  link(f) {
    const keys = accept(f)
    same(keys.sid, f.sid, 'sid')
    for (let i = 1; f[`c2s${i}.wire`]; i++) {
      const { type, body } = openFrame(keys.c2s, i - 1, f[`c2s${i}.wire`])
      assert.equal(type, f[`c2s${i}.type`][0])
      same(body, f[`c2s${i}.body`])
      const command = parseCommand(type, body)
      if (f[`c2s${i}.key`]) verify(command, keys.sid, f.ra, publicKey(f[`c2s${i}.key`]))
    }
    for (let i = 1; f[`s2c${i}.wire`]; i++) {
      const [type, body] = [f[`s2c${i}.type`][0], f[`s2c${i}.body`]]
      assert.ok(parseAnswer(type, body))
      same(sealFrame(keys.s2c, i - 1, type, body), f[`s2c${i}.wire`])
    }
  },
  frame(f) {
    const { type, body } = openFrame(f.key, number(f.counter), f.wire)
    assert.equal(type, f.type[0])
    same(body, f.body)
    same(sealFrame(f.key, number(f.counter), type, body), f.wire)
  },
  command(f) {
    same(parseCommand(f.type[0], f.body).signed, f.signed)
  },
  answer(f) {
    assert.ok(parseAnswer(f.type[0], f.body))
  },
  invite(f) {
    const i = parseInvite(text(f.text))
    same(i.h, f.h)
    same(i.fingerprint, f.fingerprint)
    assert.equal(i.hosts.join(' '), text(f.hosts))
  },
  address(f) {
    const a = parseAddress(text(f.text))
    same(a.fingerprint, f.fingerprint)
    assert.equal(a.hosts.join(' '), text(f.hosts))
  },
  grant(f) {
    same(parseGrant(text(f.text)), f.grant)
  },
}

for (const v of vectors('protocol/testdata/vectors/')) {
  test(`${v.name}: ${v.comment}`, () => {
    const run = () => kinds[v.kind](v.fields)
    if (v.expect === 'ok') return run()
    assert.throws(run, (e) => {
      if (!(e instanceof Refusal)) throw e
      assert.equal(e.message, v.expect)
      return true
    })
  })
}
