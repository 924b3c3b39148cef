// Tensors as JSON: dtype, shape, and the little-endian bytes of the values in base64. Strings are a JSON list.

import * as tf from '@tensorflow/tfjs-core'

/**
 * @typedef {object} WireTensor
 * @property {string} dtype
 * @property {number[]} shape
 * @property {string} data
 */

/** @type {Record<string, typeof Float32Array | typeof Int32Array | typeof Uint8Array>} */
const ARRAYS = { float32: Float32Array, int32: Int32Array, bool: Uint8Array }

/**
 * @param {string} dtype
 * @returns {asserts dtype is 'float32' | 'int32' | 'bool'}
 */
function checkDtype(dtype) {
  if (!Object.hasOwn(ARRAYS, dtype)) throw new Error(`tensors of dtype ${dtype} cannot be exchanged`)
}

/**
 * @param {WireTensor} wire
 * @returns {tf.Tensor}
 */
export function decode({ dtype, shape, data }) {
  if (dtype === 'string') return tf.tensor(JSON.parse(data), shape, dtype)
  checkDtype(dtype)
  // copy, since a Buffer may start at any byte of a shared pool, but a Float32Array must be aligned
  const bytes = new Uint8Array(Buffer.from(data, 'base64'))
  return tf.tensor(new ARRAYS[dtype](bytes.buffer), shape, dtype)
}

/**
 * @param {tf.Tensor} tensor
 * @returns {WireTensor}
 */
export function encode(tensor) {
  const { dtype, shape } = tensor
  if (dtype === 'string') return { dtype, shape, data: JSON.stringify(tensor.dataSync()) }
  checkDtype(dtype)
  const stored = tensor.dataSync()
  // the cpu backend casts without changing the values, so an int32 tensor may hold fractions
  const values = new ARRAYS[dtype](stored)
  if (dtype !== 'float32' && values.some((value, index) => value !== stored[index])) {
    throw new Error(`a tensor of dtype ${dtype} holds values of another dtype`)
  }
  return { dtype, shape, data: Buffer.from(values.buffer).toString('base64') }
}
