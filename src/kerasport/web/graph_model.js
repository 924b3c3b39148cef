// A graph-model, with the inputs and outputs of its signature.

/**
 * @import { Tensor } from '@tensorflow/tfjs-core'
 * @import { GraphModel } from '@tensorflow/tfjs-converter'
 * @import { Model, TensorInfo } from './models.js'
 */

/** @type {Record<string, string>} */
const DTYPES = {
  DT_FLOAT: 'float32',
  DT_INT32: 'int32',
  DT_BOOL: 'bool',
  DT_STRING: 'string',
  DT_COMPLEX64: 'complex64',
}

/**
 * @typedef {Record<string, { dtype: string, tensorShape: { dim?: { size: string }[] } }>} Entries
 * @typedef {{ inputs: Entries, outputs: Entries }} Signature as in model.json
 */

/**
 * @param {Entries} entries
 * @returns {TensorInfo[]}
 */
function tensorInfos(entries) {
  return Object.entries(entries).map(([name, { dtype, tensorShape }]) => ({
    name,
    dtype: DTYPES[dtype] ?? dtype,
    shape: (tensorShape.dim ?? []).map(({ size }) => Number(size) < 0 ? null : Number(size)),
  }))
}

/**
 * Run the model, with `executeAsync` if its graph needs that.
 *
 * @param {GraphModel} model
 * @param {Tensor[]} feed
 * @returns {Promise<Tensor[]>}
 */
async function execute(model, feed) {
  try {
    return [model.execute(feed)].flat()
  } catch (error) {
    // TF.js does not say whether a graph is asynchronous, but throws if `execute` runs one
    if (!String(error).includes('model.executeAsync()')) throw error
    return [await model.executeAsync(feed)].flat()
  }
}

/**
 * @param {GraphModel} model
 * @returns {Record<string, unknown>}
 */
function describeGraph(model) {
  return {
    format: 'graph-model',
    layers: [],
    weights: Object.entries(model.weights).map(([name, [{ dtype, shape }]]) => ({
      name, dtype, shape, trainable: false,
    })),
    trainable: 0,
    nonTrainable: Object.keys(model.weights).length,
  }
}

/**
 * @param {GraphModel} model
 * @returns {Model}
 */
export function openGraphModel(model) {
  const signature = /** @type {Signature | undefined} */ (model.modelSignature)
  if (!signature) throw new Error('the graph-model has no signature, so the order of its inputs is unknown')
  return {
    inputs: tensorInfos(signature.inputs),
    outputs: tensorInfos(signature.outputs),
    prepare: layers => {
      if (layers.length) throw new Error('a graph-model has no layers')
      return async feed => [await execute(model, feed)]
    },
    describe: () => describeGraph(model),
  }
}
