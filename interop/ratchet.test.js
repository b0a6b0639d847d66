// Every vector of the ratchet, through the second implementation.
import test from 'node:test'
import assert from 'node:assert/strict'
import { Refusal, hex, hmac, number, sha256 } from './kin/bytes.js'
import { decaps, kemKeys, publicKey } from './kin/keys.js'
import { vectors } from './kin/vector.js'
import * as bundle from './kin/bundle.js'
import * as handshake from './kin/handshake.js'
import * as ratchet from './kin/ratchet.js'
import * as state from './kin/state.js'
import { digits } from './kin/digits.js'

const same = (got, want, what) => assert.equal(hex(got), hex(want), what)

// all compares every named result with the file's field of that name.
function all(f, got) {
  for (const [name, value] of Object.entries(got)) if (f[name]) same(value, f[name], name)
}

// freshOf are the new keys that the file's own run drew.
function freshOf(f, after, peerSeed) {
  if (!f['step.dh2']) return undefined
  return { dh: f[after + '.dh'], kem_seed: f[after + '.kem_seed'], ct: f[after + '.ct'], ss: decaps(peerSeed, f[after + '.ct']) }
}

function halves(f, h) {
  if (!f['step.dh1']) return assert.equal(h, undefined)
  h.forEach((half, i) => {
    for (const name of ['dh', 'ss', 'turn', 'rk', 'ck', 'nhk']) same(half[name], f[`step.${name}${i + 1}`], `step.${name}${i + 1}`)
  })
}

const kinds = {
  bundle(f) {
    const b = bundle.parse(f.bundle)
    all(f, { ...b, h: sha256(b.B) })
    if (f.ikb) {
      all(f, { IKb: publicKey(f.ikb), OPKb: publicKey(f.opkb), RKb: publicKey(f.rkb), QEb: publicKey(f.qeb),
        ek_hs: kemKeys(f.ek_hs_seed).publicKey, ek_r: kemKeys(f.ek_r_seed).publicKey })
    }
    same(bundle.marshal(b), b.B)
  },
  blob(f) {
    const { padded } = bundle.openBlob(f.h, f.blob)
    all(f, { ...bundle.derive(f.h), bundle: padded })
  },
  handshake(f) {
    const got = handshake.accept(f, f.h, f.envelope, 0, freshOf(f, 'host', f['guest.kem_seed']))
    all(f, got)
    halves(f, got.halves)
    assert.deepEqual(state.show(got.next), state.show(state.read(f, 'host')))
    assert.equal(digits(got.AD), Buffer.from(f.digits).toString('latin1'))
    same(publicKey(f.ika), f.IKa)
    same(publicKey(f.eka), f.EKa)
  },
  seal(f) {
    const got = ratchet.sealMessage(state.read(f, 'before'), f.qe_public, f.plaintext)
    assert.equal(got.seq, number(f.seq))
    assert.deepEqual(state.show(got.next), state.show(state.read(f, 'after')))
    // What was sealed here opens to the same header and text as what the file has.
    same(ratchet.header(state.read(f, 'before')), f.header)
    for (const envelope of [got.envelope, f.envelope]) {
      const opened = openAsPeer(state.read(f, 'before'), f.qe, envelope)
      same(opened.plaintext, f.plaintext)
      assert.equal(opened.seq, number(f.seq))
    }
  },
  open(f) {
    const before = state.read(f, 'before')
    const shown = JSON.stringify(state.show(before))
    let got
    try {
      got = ratchet.openMessageEnvelope(before, f.qe, f.envelope, number(f.now), freshOf(f, 'after', f.peer_kem_seed))
    } catch (e) {
      assert.equal(e.seq, f.seq && number(f.seq))
      assert.equal(e.echo, f.echo && number(f.echo))
      assert.equal(JSON.stringify(state.show(before)), shown, 'a refused message changed the state')
      throw e
    }
    all(f, { plaintext: got.plaintext, hk: got.hk, header: got.header, mk: got.mk, k: got.k, com: got.com })
    assert.equal(got.seq, number(f.seq))
    assert.equal(got.echo, number(f.echo))
    halves(f, got.halves)
    assert.deepEqual(state.show(got.next), state.show(state.read(f, 'after')))
  },
  digits(f) {
    assert.equal(digits(f.AD), Buffer.from(f.digits).toString('latin1'))
  },
}

// openAsPeer opens what a state has sealed as its peer would in the same chain.
function openAsPeer(s, qe, envelope) {
  const peer = {
    ad: s.ad, tag_send: s.tag_recv, tag_recv: s.tag_send, recv_hk: s.send_hk, recv_ck: s.send_ck, recv_n: s.send_n, recv_nhk: new Uint8Array(32),
    recv_base: s.sent + 1 - s.send_n, recv_fixed: sha256(ratchet.header(s).slice(0, 2308)), recv_skipped: [], old: [], sent: Infinity,
  }
  if (s.send_n > 0) return ratchet.openMessageEnvelope(peer, qe, envelope, 0)
  // Message 0 of a chain: the peer is told that it has received the one before it.
  return ratchet.openMessageEnvelope({ ...peer, recv_n: 1, recv_skipped: [{ n: 0, mk: hmac(s.send_ck, Uint8Array.of(1)), when: 0 }] }, qe, envelope, 0)
}

for (const v of vectors('client/ratchet/testdata/vectors/')) {
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
