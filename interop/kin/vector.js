// Vector files: three lines of header, then name: hex.
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { unhex } from './bytes.js'

// vectors are all files of a folder below the repository, made by the Go and by the
// second implementation.
export function vectors(folder) {
  const root = fileURLToPath(new URL('../../', import.meta.url))
  const files = (dir) => existsSync(root + dir) ? readdirSync(root + dir).filter((f) => f.endsWith('.txt')).sort().map((f) => dir + f) : []
  return [...files(folder), ...files(folder + 'interop/')].map((path) => {
    const v = { name: path.slice(folder.length, -4), fields: {} }
    readFileSync(root + path, 'utf8').split('\n').forEach((line, i) => {
      const at = line.indexOf(':')
      if (at < 0) return
      const [key, value] = [line.slice(0, at), line.slice(at + 1).trim()]
      if (i < 3) v[key] = value
      else v.fields[key] = unhex(value)
    })
    return v
  })
}
