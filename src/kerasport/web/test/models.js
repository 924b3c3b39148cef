// Tiny models in a directory that is deleted when the process ends.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * @typedef {object} Weight
 * @property {string} name
 * @property {number[]} shape
 * @property {number[]} values
 * @property {'float32' | 'int32'} [dtype]
 */

const root = mkdtempSync(join(tmpdir(), 'kerasport-'))
process.on('exit', () => rmSync(root, { recursive: true }))

/**
 * @param {object} json model.json without its manifest
 * @param {Weight[]} weights
 * @returns {string} the path of the model.json
 */
function writeModel(json, weights) {
  // paths may have a space, a percent sign and a hash
  const folder = mkdtempSync(join(root, 'a model 100%41 #'))
  const manifest = weights.map(({ name, shape, dtype = 'float32' }) => ({ name, shape, dtype }))
  const arrays = weights.map(({ values, dtype }) =>
    dtype === 'int32' ? new Int32Array(values) : new Float32Array(values))
  const weightsManifest = [{ paths: weights.length ? ['weights.bin'] : [], weights: manifest }]
  writeFileSync(join(folder, 'weights.bin'), Buffer.concat(arrays.map(({ buffer }) => Buffer.from(buffer))))
  writeFileSync(join(folder, 'model.json'), JSON.stringify({ ...json, weightsManifest }))
  return join(folder, 'model.json')
}

/**
 * @param {string} text
 * @returns {string} the path of a model.json of that text
 */
export function writeText(text) {
  const path = join(mkdtempSync(join(root, 'text-')), 'model.json')
  writeFileSync(path, text)
  return path
}

/**
 * @param {string} name
 * @param {number} width
 * @returns {object} an InputLayer
 */
export function inputLayer(name, width) {
  return {
    name, class_name: 'InputLayer', inbound_nodes: [],
    config: { name, batch_input_shape: [null, width], dtype: 'float32' },
  }
}

/**
 * @param {string} class_name
 * @param {string} name
 * @param {string[]} inputs the layers whose outputs it takes, in one call
 * @param {object} [config]
 * @returns {object} a layer
 */
export function layer(class_name, name, inputs, config = {}) {
  const inbound_nodes = inputs.length ? [inputs.map(input => [input, 0, 0, {}])] : []
  return { name, class_name, inbound_nodes, config: { name, ...config } }
}

/**
 * @param {string} name
 * @param {object[]} layers
 * @param {[string[], string[]]} ends names of the input and output layers
 * @returns {object} a functional model, which can be a layer of another one
 */
export function functional(name, layers, [inputs, outputs]) {
  const end = (/** @type {string} */ layer) => [layer, 0, 0]
  return {
    class_name: 'Functional', name,
    config: { name, layers, input_layers: inputs.map(end), output_layers: outputs.map(end) },
  }
}

/**
 * @param {object} model_config
 * @param {Weight[]} weights
 * @param {object} [extra] further keys of the model.json
 * @returns {string}
 */
export function writeLayersModel(model_config, weights, extra = {}) {
  return writeModel({ format: 'layers-model', modelTopology: { model_config }, ...extra }, weights)
}

/**
 * @param {string} name
 * @param {number[]} shape
 * @param {string} dtype
 * @returns {object} one entry of a signature
 */
function entry(name, shape, dtype) {
  return { name: `${name}:0`, dtype, tensorShape: { dim: shape.map(size => ({ size: String(size) })) } }
}

/**
 * A graph that takes `x` of shape [?, width].
 *
 * @param {object[]} nodes
 * @param {Record<string, string>} outputs key of the signature → node
 * @param {Weight[]} [weights]
 * @param {number} [width]
 * @returns {string}
 */
export function writeGraphModel(nodes, outputs, weights = [], width = 2) {
  const shape = { shape: { dim: [{ size: '-1' }, { size: String(width) }] } }
  const placeholder = { name: 'x', op: 'Placeholder', attr: { dtype: { type: 'DT_FLOAT' }, shape } }
  const constants = weights.map(({ name, dtype }) =>
    ({ name, op: 'Const', attr: { dtype: { type: dtype === 'int32' ? 'DT_INT32' : 'DT_FLOAT' } } }))
  const ends = Object.entries(outputs).map(([key, node]) => [key, entry(node, [-1, width], 'DT_FLOAT')])
  return writeModel({
    format: 'graph-model',
    modelTopology: { node: [placeholder, ...constants, ...nodes], versions: {} },
    signature: {
      inputs: { x: entry('x', [-1, width], 'DT_FLOAT') },
      outputs: Object.fromEntries(ends),
    },
  }, weights)
}
