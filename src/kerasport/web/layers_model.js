// Runs a layers-model, and returns outputs of its layers.

import { model as createModel } from '@tensorflow/tfjs-layers'

/**
 * @import { LayersModel, SymbolicTensor } from '@tensorflow/tfjs-layers'
 * @import { Execute, Model, TensorInfo } from './models.js'
 */

/**
 * @param {SymbolicTensor} tensor an input or output of a model
 * @returns {TensorInfo}
 */
function tensorInfo({ sourceLayer, dtype, shape }) {
  return { name: sourceLayer.name, dtype, shape }
}

/**
 * The outputs of a layer's first call.
 *
 * @param {LayersModel} model
 * @param {string} name
 * @returns {SymbolicTensor[]}
 */
function layerOutputs({ inputs, outputs, layers }, name) {
  const layer = layers.find(candidate => candidate.name === name)
  if (!layer) throw new Error(`the model has no layer ${name}`)
  // the nodes of a sequential model exist only after its first run
  const { containerNodes } = createModel({ inputs, outputs })
  // a nested model also has a node outside of the model that calls it
  const call = layer.inboundNodes.find(node => node.outputTensors.every(({ sourceLayer, nodeIndex }) =>
    containerNodes.has(`${sourceLayer.name}_ib-${nodeIndex}`)))
  if (!call) throw new Error(`the outputs do not depend on layer ${name}`)
  return call.outputTensors
}

/**
 * @param {LayersModel} model
 * @param {string[]} layers
 * @returns {Execute}
 */
function executeLayers(model, layers) {
  const groups = [model.outputs, ...layers.map(name => layerOutputs(model, name))]
  // a set, because TF.js cannot return a tensor twice
  const outputs = [...new Set(groups.flat())]
  const probed = layers.length ? createModel({ inputs: model.inputs, outputs }) : model

  return async feed => {
    // run the whole feed at once: TF.js would split it into batches of 32
    const values = [probed.predict(feed, { batchSize: feed[0]?.shape[0] })].flat()
    return groups.map(group => group.map(tensor => values[probed.outputs.indexOf(tensor)]))
  }
}

/**
 * @param {LayersModel} model
 * @returns {Record<string, unknown>}
 */
function describeLayers(model) {
  const trainable = new Set(model.trainableWeights)
  return {
    format: 'layers-model',
    layers: model.layers.map(({ name }) => name),
    weights: model.weights.map(weight => ({
      name: weight.originalName,
      dtype: weight.dtype,
      shape: weight.shape,
      trainable: trainable.has(weight),
    })),
    trainable: trainable.size,
    nonTrainable: model.weights.length - trainable.size,
    optimizer: model.optimizer && {
      className: model.optimizer.getClassName(),
      config: model.optimizer.getConfig(),
    },
    loss: model.loss,
  }
}

/**
 * @param {LayersModel} model
 * @returns {Model}
 */
export function openLayersModel(model) {
  return {
    inputs: model.inputs.map(tensorInfo),
    outputs: model.outputs.map(tensorInfo),
    prepare: layers => executeLayers(model, layers),
    describe: () => describeLayers(model),
  }
}
