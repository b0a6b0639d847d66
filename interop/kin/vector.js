// Vector files: three lines of header, then name: hex.
import { readFileSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { unhex } from './bytes.js'

export function vectors(folder) {
  const dir = fileURLToPath(new URL(folder, import.meta.url))
  return readdirSync(dir).filter((f) => f.endsWith('.txt')).sort().map((file) => {
    const v = { name: file.slice(0, -4), fields: {} }
    readFileSync(dir + file, 'utf8').split('\n').forEach((line, i) => {
      const at = line.indexOf(':')
      if (at < 0) return
      const [key, value] = [line.slice(0, at), line.slice(at + 1).trim()]
      if (i < 3) v[key] = value
      else v.fields[key] = unhex(value)
    })
    return v
  })
}
