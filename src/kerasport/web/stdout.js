// Reserves stdout for the answers. TF.js prints as well, and its lines go to stderr.

const write = process.stdout.write.bind(process.stdout)
process.stdout.write = process.stderr.write.bind(process.stderr)

/**
 * @param {string} line
 */
export function writeLine(line) {
  write(`${line}\n`)
}
