// Loads a model from files, as a browser loads it from a server.

import { readFile } from 'node:fs/promises'
import { pathToFileURL } from 'node:url'
import * as tf from '@tensorflow/tfjs-core'
import { loadGraphModel } from '@tensorflow/tfjs-converter'
import * as layers from '@tensorflow/tfjs-layers'
import { register } from './kerasport-layers.js'
import { openGraphModel } from './graph_model.js'
import { openLayersModel } from './layers_model.js'

// our own companion, not the script next to the model, which could contain any code
register({ ...tf, ...layers })

/**
 * @typedef {object} TensorInfo
 * @property {string} name
 * @property {string} dtype
 * @property {(number | null)[]} shape
 */

/**
 * Maps a batch of inputs to the outputs of the model, followed by those of the requested layers.
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
 * Does what `fetch` does in a browser. The `fetch` of Node reads no files.
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
  // the loader of browsers, so that what fails there fails here
  const http = tf.io.http(pathToFileURL(path).href, { fetchFunc: fetchFile })
  const artifacts = await /** @type {Required<tf.io.IOHandler>} */ (http).load()
  const loaded = { load: async () => artifacts }
  return artifacts.format === 'graph-model'
    ? openGraphModel(await loadGraphModel(loaded))
    : openLayersModel(await layers.loadLayersModel(loaded))
}
