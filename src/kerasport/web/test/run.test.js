import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import test from 'node:test'
import { writeGraphModel } from './models.js'

const WORKER = fileURLToPath(new URL('../run.js', import.meta.url))

test('the worker writes answers and nothing else to stdout', () => {
  // TF.js prints a greeting on the cpu backend, and Print prints its operands
  const attr = { message: { s: 'aGVsbG8=' }, summarize: { i: '2' } }
  const model = writeGraphModel([{ name: 'y', op: 'Print', input: ['x', 'x'], attr }], { y: 'y' })
  const x = { dtype: 'float32', shape: [1, 2], data: 'AACAPwAAAEA=' }
  const requests = ['nonsense', JSON.stringify({ id: 2, method: 'run', model, backend: 'cpu', feeds: [[x]] })]
  const input = requests.join('\n')
  const { stdout, stderr, status } = spawnSync(process.execPath, [WORKER], { input, encoding: 'utf8' })
  const [failure, success, ...rest] = stdout.trimEnd().split('\n').map(line => JSON.parse(line))
  assert.equal(failure.id, null)
  assert.deepEqual(success.results, [[x]])
  assert.deepEqual(rest, [])
  assert.match(stderr, /hello/)
  assert.equal(status, 0)
})
