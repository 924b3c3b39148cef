// Answers one request to the worker.

import * as tf from '@tensorflow/tfjs-core'
import '@tensorflow/tfjs-backend-cpu'
import '@tensorflow/tfjs-backend-wasm'
import { openModel } from './models.js'
import { decode, encode } from './tensors.js'

/**
 * @import { Execute } from './models.js'
 * @import { WireTensor } from './tensors.js'
 */

/**
 * @typedef {object} Request
 * @property {string} model the path of a model.json
 * @property {string} [backend]
 * @property {WireTensor[][]} [feeds] batches, each in the order of the model's inputs
 * @property {string[]} [layers] layers whose outputs are returned as well
 * @property {number} [repeats] how many runs to time
 */

const WARM_UP = 3

/** @type {Record<string, (request: Request) => Promise<object>>} */
const METHODS = { run, describe, time }

/**
 * @param {string} backend
 */
async function startBackend(backend) {
  if (!await tf.setBackend(backend)) throw new Error(`backend ${backend} does not start`)
}

/**
 * @param {Execute} execute
 * @param {WireTensor[]} feed
 * @returns {Promise<WireTensor[][]>}
 */
async function runFeed(execute, feed) {
  // tf.tidy for asynchronous work
  tf.engine().startScope()
  try {
    const groups = await execute(feed.map(decode))
    return groups.map(tensors => tensors.map(encode))
  } finally {
    tf.engine().endScope()
  }
}

/**
 * @param {Request} request
 * @returns {Promise<object>}
 */
async function run({ model, backend = 'cpu', feeds = [], layers = [] }) {
  await startBackend(backend)
  const { inputs, outputs, prepare } = await openModel(model)
  const execute = prepare(layers)
  const groups = []
  for (const feed of feeds) groups.push(await runFeed(execute, feed))
  return {
    inputs,
    outputs,
    results: groups.map(([results]) => results),
    layers: groups.map(([, ...probes]) => Object.fromEntries(layers.map((name, i) => [name, probes[i]]))),
  }
}

/**
 * @param {Request} request
 * @returns {Promise<object>}
 */
async function describe({ model }) {
  await startBackend('cpu')
  const { inputs, outputs, describe } = await openModel(model)
  return { inputs, outputs, ...describe() }
}

/**
 * Milliseconds of each run of the first feed, after some warm-up runs.
 *
 * @param {Request} request
 * @returns {Promise<object>}
 */
async function time({ model, backend = 'cpu', feeds = [[]], repeats = 20 }) {
  await startBackend(backend)
  const { prepare } = await openModel(model)
  const execute = prepare([])
  const milliseconds = []
  for (let count = -WARM_UP; count < repeats; count++) {
    tf.engine().startScope()
    const feed = feeds[0].map(decode)
    const begin = performance.now()
    const [outputs] = await execute(feed)
    await Promise.all(outputs.map(output => output.data()))
    if (count >= 0) milliseconds.push(performance.now() - begin)
    tf.engine().endScope()
  }
  return { milliseconds }
}

/**
 * @param {string} line a request
 * @returns {Promise<string>} its answer, or the error
 */
export async function answer(line) {
  let id = null
  try {
    const request = JSON.parse(line)
    id = request.id
    if (!Object.hasOwn(METHODS, request.method)) throw new Error(`there is no method ${request.method}`)
    return JSON.stringify({ id, ...await METHODS[request.method](request) })
  } catch (error) {
    return JSON.stringify({ id, error: error instanceof Error ? error.message : String(error) })
  } finally {
    // this is the only way in TF.js to free all weights, states and half-loaded models
    tf.engine().reset()
  }
}
