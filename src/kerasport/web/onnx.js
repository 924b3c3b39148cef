// Runs ONNX models in the WebAssembly build of ONNX Runtime, as a page does.

import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import * as ort from 'onnxruntime-web'

/**
 * @import { WireTensor } from './tensors.js'
 */

/**
 * @typedef {object} Request
 * @property {string} model the path of an ONNX file
 * @property {WireTensor[][]} feeds batches, each in the order of the model's inputs
 */

ort.env.wasm.numThreads = 1
ort.env.logLevel = 'error'

const ARRAYS = {
  float32: Float32Array, int8: Int8Array, int16: Int16Array, int32: Int32Array, int64: BigInt64Array,
  uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, uint64: BigUint64Array, bool: Uint8Array,
}

/**
 * @param {WireTensor} wire
 * @returns {ort.Tensor}
 */
function decode({ dtype, shape, data }) {
  if (dtype === 'string') return new ort.Tensor('string', JSON.parse(data), shape)
  const bytes = new Uint8Array(Buffer.from(data, 'base64'))
  const values = new ARRAYS[/** @type {keyof typeof ARRAYS} */ (dtype)](bytes.buffer)
  return new ort.Tensor(/** @type {'float32'} */ (dtype), /** @type {Float32Array} */ (values), shape)
}

/**
 * @param {ort.Tensor} tensor
 * @returns {WireTensor}
 */
function encode({ type, dims, data }) {
  const shape = [...dims]
  if (type === 'string') return { dtype: type, shape, data: JSON.stringify(data) }
  if (!Object.hasOwn(ARRAYS, type)) throw new Error(`tensors of type ${type} cannot be exchanged`)
  const { buffer, byteOffset, byteLength } = /** @type {Float32Array} */ (data)
  return { dtype: type, shape, data: Buffer.from(buffer, byteOffset, byteLength).toString('base64') }
}

/**
 * @param {string} path
 * @returns {Promise<ort.InferenceSession>}
 */
async function open(path) {
  const weights = `${path}.data`
  const externalData = existsSync(weights)
    ? [{ path: basename(weights), data: new Uint8Array(await readFile(weights)) }]
    : []
  return ort.InferenceSession.create(new Uint8Array(await readFile(path)), {
    executionProviders: ['wasm'], externalData,
  })
}

/**
 * @param {Request} request
 * @returns {Promise<object>}
 */
async function run({ model, feeds }) {
  const session = await open(model)
  try {
    const results = []
    for (const feed of feeds) {
      const inputs = Object.fromEntries(session.inputNames.map((name, i) => [name, decode(feed[i])]))
      const outputs = await session.run(inputs)
      results.push(session.outputNames.map(name => encode(outputs[name])))
    }
    return { results }
  } finally {
    await session.release()
  }
}

/**
 * @param {string} line a request
 * @returns {Promise<string>} its answer, or the error
 */
export async function answer(line) {
  try {
    return JSON.stringify(await run(JSON.parse(line)))
  } catch (error) {
    return JSON.stringify({ error: error instanceof Error ? error.message : String(error) })
  }
}
