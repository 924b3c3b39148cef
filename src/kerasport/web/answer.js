// What the worker does for one request.

import * as tf from '@tensorflow/tfjs-core'
import '@tensorflow/tfjs-backend-cpu'
import '@tensorflow/tfjs-backend-wasm'
import { openModel } from './models.js'
import { decode, encode } from './tensors.js'

/**
 * @import { Execute, Model } from './models.js'
 * @import { WireTensor } from './tensors.js'
 */

/**
 * @typedef {object} Request
 * @property {string} model the path of a model.json
 * @property {string} [backend]
 * @property {WireTensor[][]} [feeds] batches, each in the order of the model's inputs
 * @property {string[]} [layers] layers whose outputs are wanted, too
 */

/** @type {Record<string, (request: Request) => Promise<object>>} */
const METHODS = { run, describe }

/**
 * The result of `work`, with the tensors freed that it made: `tf.tidy` knows no work that awaits.
 *
 * @template T
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
async function tidy(work) {
  tf.engine().startScope()
  try {
    return await work()
  } finally {
    tf.engine().endScope()
  }
}

/**
 * @template T
 * @param {string} path
 * @param {(model: Model) => Promise<T>} work
 * @returns {Promise<T>}
 */
async function withModel(path, work) {
  const model = await openModel(path)
  try {
    return await work(model)
  } finally {
    model.close()
  }
}

/**
 * @param {Request} request
 * @returns {Promise<object>}
 */
async function run({ model: path, backend = 'cpu', feeds = [], layers = [] }) {
  if (!await tf.setBackend(backend)) throw new Error(`backend ${backend} does not start`)
  return withModel(path, async ({ inputs, outputs, prepare }) => {
    const execute = prepare(layers)
    const groups = []
    for (const feed of feeds) groups.push(await tidy(() => runFeed(execute, feed)))
    return {
      inputs,
      outputs,
      results: groups.map(([results]) => results),
      layers: groups.map(([, ...probes]) => Object.fromEntries(layers.map((name, i) => [name, probes[i]]))),
    }
  })
}

/**
 * @param {Execute} execute
 * @param {WireTensor[]} feed
 * @returns {Promise<WireTensor[][]>}
 */
async function runFeed(execute, feed) {
  const groups = await execute(feed.map(decode))
  return groups.map(tensors => tensors.map(encode))
}

/**
 * @param {Request} request
 * @returns {Promise<object>}
 */
async function describe({ model: path }) {
  await tf.setBackend('cpu')
  return withModel(path, async ({ inputs, outputs, describe }) => ({ inputs, outputs, ...describe() }))
}

/**
 * @param {string} line a request
 * @returns {Promise<string>} its answer, which tells the error if there was one
 */
export async function answer(line) {
  let id = null
  try {
    const request = JSON.parse(line)
    id = request.id
    if (!Object.hasOwn(METHODS, request.method)) throw new Error(`there is no method ${request.method}`)
    return JSON.stringify({ id, ...await tidy(() => METHODS[request.method](request)) })
  } catch (error) {
    return JSON.stringify({ id, error: error instanceof Error ? error.message : String(error) })
  } finally {
    // the weights of layers-models outlive any scope
    tf.disposeVariables()
  }
}
