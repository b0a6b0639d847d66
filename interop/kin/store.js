// A profile of the test peer: one JSON file, replaced whole and synced at each
// commit. Nothing in it is encrypted.
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { hex, unhex } from './bytes.js'

const write = (_, v) => v instanceof Uint8Array ? { bytes: hex(v) } : v
const read = (_, v) => v && typeof v.bytes === 'string' ? unhex(v.bytes) : v

export class Store {
  constructor(dir) {
    this.dir = dir
    this.path = join(dir, 'profile.json')
    this.data = existsSync(this.path) ? JSON.parse(readFileSync(this.path, 'utf8'), read) : null
  }

  commit() {
    mkdirSync(this.dir, { recursive: true, mode: 0o700 })
    const whole = this.path + '.new'
    const file = openSync(whole, 'w', 0o600)
    writeSync(file, JSON.stringify(this.data, write))
    fsyncSync(file)
    closeSync(file)
    renameSync(whole, this.path)
    const dir = openSync(this.dir, 'r')
    fsyncSync(dir)
    closeSync(dir)
  }
}
