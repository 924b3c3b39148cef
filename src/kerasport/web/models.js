// Loads a model from files, just as a browser loads it from a server.

import { readFile } from 'node:fs/promises'
import { pathToFileURL } from 'node:url'
import * as tf from '@tensorflow/tfjs-core'
import { loadGraphModel } from '@tensorflow/tfjs-converter'
import * as layers from '@tensorflow/tfjs-layers'
import { register } from './kerasport-layers.js'
import { openGraphModel } from './graph_model.js'
import { openLayersModel } from './layers_model.js'

// as in a page of a model that needs it; not the script beside the model, which anybody may have written
register({ ...tf, ...layers })

/**
 * @typedef {object} TensorInfo
 * @property {string} name
 * @property {string} dtype
 * @property {(number | null)[]} shape
 */

/**
 * From one batch of the model's inputs to its outputs, and those of the layers asked for.
 *
 * @typedef {(feed: tf.Tensor[]) => Promise<tf.Tensor[][]>} Execute
 */

/**
 * @typedef {object} Model
 * @property {TensorInfo[]} inputs
 * @property {TensorInfo[]} outputs
 * @property {(layers: string[]) => Execute} prepare
 * @property {() => Record<string, unknown>} describe
 */

/**
 * What `fetch` does in a browser; that of Node reads no files.
 *
 * @param {RequestInfo | URL} url
 * @returns {Promise<Response>}
 */
async function fetchFile(url) {
  return new Response(new Uint8Array(await readFile(new URL(String(url)))))
}

/**
 * @param {string} path the path of a model.json
 * @returns {Promise<Model>}
 */
export async function openModel(path) {
  // the very loader of the browsers: what fails there fails here
  const http = tf.io.http(pathToFileURL(path).href, { fetchFunc: fetchFile })
  const artifacts = await /** @type {Required<tf.io.IOHandler>} */ (http).load()
  const loaded = { load: async () => artifacts }
  return artifacts.format === 'graph-model'
    ? openGraphModel(await loadGraphModel(loaded))
    : openLayersModel(await layers.loadLayersModel(loaded))
}
