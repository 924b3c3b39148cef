// Takes stdout for the answers. TF.js prints too, and one line of it between them would be one too many.

const write = process.stdout.write.bind(process.stdout)
process.stdout.write = process.stderr.write.bind(process.stderr)

/**
 * @param {string} line
 */
export function writeLine(line) {
  write(`${line}\n`)
}
