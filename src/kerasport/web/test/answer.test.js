import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test from 'node:test'
import * as tf from '@tensorflow/tfjs-core'
import { answer } from '../answer.js'
import {
  functional, inputLayer, layer, writeGraphModel, writeLayersModel, writeText,
} from './models.js'

const BACKENDS = ['cpu', 'wasm']

/**
 * @param {number[]} values
 * @param {number[]} shape
 * @returns {object} a float32 tensor of a request
 */
function wire(values, shape) {
  return { dtype: 'float32', shape, data: Buffer.from(new Float32Array(values).buffer).toString('base64') }
}

/**
 * @param {{ data: string }} tensor a float32 tensor of an answer
 * @returns {number[]}
 */
function numbers({ data }) {
  return [...new Float32Array(new Uint8Array(Buffer.from(data, 'base64')).buffer)]
}

/**
 * @param {object} request
 * @returns {Promise<any>}
 */
async function ask(request) {
  return JSON.parse(await answer(JSON.stringify({ id: 7, ...request })))
}

/**
 * @param {string} model
 * @param {object} [options]
 * @returns {Promise<any>} the answer for the feed [[1, 2]]
 */
function runModel(model, options = {}) {
  return ask({ method: 'run', model, backend: 'cpu', feeds: [[wire([1, 2], [1, 2])]], ...options })
}

const KERNEL = [1, 10, 2, 20] // (a, b) → (a + 2 b, 10 (a + 2 b))
const BIAS = [0.5, -0.5]

/**
 * @param {object} [extra]
 * @returns {string} the path of a model with one Dense layer, twice
 */
function denseModel(extra) {
  const model = functional('model', [
    inputLayer('x', 2),
    layer('Dense', 'first', ['x'], { units: 2 }),
    layer('Dense', 'second', ['first'], { units: 2, activation: 'relu', use_bias: false, trainable: false }),
  ], [['x'], ['second']])
  return writeLayersModel(model, [
    { name: 'first/kernel', shape: [2, 2], values: KERNEL },
    { name: 'first/bias', shape: [2], values: BIAS },
    { name: 'second/kernel', shape: [2, 2], values: [1, 0, 0, -1] },
  ], extra)
}

for (const backend of BACKENDS) {
  test(`a layers-model runs on ${backend}, with what its layers compute`, async () => {
    const feeds = [[wire([1, 2], [1, 2])], [wire([1, 2, 3, 4], [2, 2])]]
    const { id, inputs, outputs, results, layers } =
      await runModel(denseModel(), { backend, feeds, layers: ['second', 'x', 'first'] })
    assert.equal(id, 7)
    assert.deepEqual(inputs, [{ name: 'x', dtype: 'float32', shape: [null, 2] }])
    assert.deepEqual(outputs, [{ name: 'second', dtype: 'float32', shape: [null, 2] }])
    assert.deepEqual(results[1][0].shape, [2, 2])
    assert.deepEqual(numbers(results[0][0]), [5.5, 0])
    assert.deepEqual(numbers(results[1][0]), [5.5, 0, 11.5, 0])
    assert.deepEqual(numbers(layers[0].x[0]), [1, 2])
    assert.deepEqual(numbers(layers[0].first[0]), [5.5, 49.5])
    assert.deepEqual(numbers(layers[1].second[0]), [5.5, 0, 11.5, 0])
  })

  test(`a graph-model runs on ${backend}, its outputs in the order of the signature`, async () => {
    const float = { T: { type: 'DT_FLOAT' } }
    const model = writeGraphModel([
      { name: 'product', op: 'MatMul', input: ['x', 'kernel'], attr: float },
      { name: 'sum', op: 'AddV2', input: ['product', 'bias'], attr: float },
    ], { z: 'sum', a: 'product' }, [
      { name: 'kernel', shape: [2, 2], values: KERNEL },
      { name: 'bias', shape: [2], values: BIAS },
    ])
    const { inputs, outputs, results, layers } = await runModel(model, { backend })
    assert.deepEqual(inputs, [{ name: 'x', dtype: 'float32', shape: [null, 2] }])
    assert.deepEqual(outputs.map((/** @type {any} */ output) => output.name), ['z', 'a'])
    assert.deepEqual(results[0].map(numbers), [[5.5, 49.5], [5, 50]])
    assert.deepEqual(layers, [{}])
  })
}

test('a graph that can only run asynchronously runs', async () => {
  const model = writeGraphModel([
    { name: 'where', op: 'Where', input: ['x'] },
    // which the cpu backend does by name only
    { name: 'cast', op: 'Cast', input: ['where'], attr: { DstT: { type: 'DT_FLOAT' } } },
  ], { y: 'cast' })
  const { results } = await runModel(model)
  assert.deepEqual(results[0].map(numbers), [[0, 0, 0, 1]])
})

test('more than 32 samples are one batch', async () => {
  const model = functional('model', [inputLayer('x', 2), layer('Activation', 'y', ['x'], { activation: 'linear' })], [['x'], ['y']])
  const { results } = await runModel(writeLayersModel(model, []), { feeds: [[wire(Array(100).fill(1), [50, 2])]] })
  assert.deepEqual(results[0][0].shape, [50, 2])
})

test('layers that are models, or called twice, or first in a sequential model give their first outputs', async () => {
  const double = functional('double', [inputLayer('d', 2), layer('Add', 'sum', ['d', 'd'])], [['d'], ['sum']])
  const called = { ...double, inbound_nodes: [[['x', 0, 0, {}]], [['double', 1, 0, {}]]] }
  const outer = functional('model', [inputLayer('x', 2), called], [['x'], []])
  Object.assign(outer, { config: { .../** @type {any} */ (outer).config, output_layers: [['double', 2, 0]] } })
  const twice = await runModel(writeLayersModel(outer, []), { layers: ['double'] })
  assert.deepEqual(numbers(twice.results[0][0]), [4, 8])
  assert.deepEqual(numbers(twice.layers[0].double[0]), [2, 4])

  const sequential = { class_name: 'Sequential', config: { name: 'model', layers: [double, layer('Activation', 'same', [], { activation: 'linear' })] } }
  const nested = await runModel(writeLayersModel(sequential, []), { layers: ['double', 'same'] })
  assert.deepEqual(numbers(nested.layers[0].double[0]), [2, 4])
  assert.deepEqual(numbers(nested.layers[0].same[0]), [2, 4])
})

test('a model tells its weights, layers and training', async () => {
  const trainingConfig = {
    optimizer_config: { class_name: 'Adam', config: { learning_rate: 0.25, beta_1: 0.5, beta_2: 0.75, epsilon: 1 } },
    loss: 'mean_squared_error', metrics: [],
  }
  const description = await ask({ method: 'describe', model: denseModel({ trainingConfig }) })
  assert.equal(description.format, 'layers-model')
  assert.deepEqual(description.layers, ['x', 'first', 'second'])
  assert.deepEqual(description.weights, [
    { name: 'first/kernel', dtype: 'float32', shape: [2, 2], trainable: true },
    { name: 'first/bias', dtype: 'float32', shape: [2], trainable: true },
    { name: 'second/kernel', dtype: 'float32', shape: [2, 2], trainable: false },
  ])
  assert.deepEqual([description.trainable, description.nonTrainable], [2, 1])
  assert.equal(description.optimizer.className, 'Adam')
  assert.equal(description.optimizer.config.learningRate, 0.25)
  assert.equal(description.loss, 'meanSquaredError')

  const graph = writeGraphModel([{ name: 'y', op: 'AddV2', input: ['x', 'one'] }], { y: 'y' }, [
    { name: 'one', shape: [], values: [1], dtype: 'int32' },
  ])
  const { weights, optimizer } = await ask({ method: 'describe', model: graph })
  assert.deepEqual(weights, [{ name: 'one', dtype: 'int32', shape: [], trainable: false }])
  assert.equal(optimizer, undefined)
})

test('what a browser refuses is refused', async () => {
  const { error } = await runModel(writeText('{"format": "layers-model", "modelTopology": {"x": NaN}}'))
  assert.match(error, /Failed to parse model JSON/)
  const model = denseModel()
  rmSync(join(dirname(model), 'weights.bin'))
  assert.match((await runModel(model)).error, /no such file.*weights\.bin/)
  assert.match((await runModel(join(dirname(model), 'none.json'))).error, /no such file/)
})

test('errors are answers', async () => {
  assert.deepEqual(Object.keys(JSON.parse(await answer('{'))), ['id', 'error'])
  assert.deepEqual(await ask({ method: 'toString' }), { id: 7, error: 'there is no method toString' })
  assert.match((await runModel(denseModel(), { backend: 'webgl' })).error, /webgl/)
  assert.match((await runModel(denseModel(), { layers: ['third'] })).error, /no layer third/)
  assert.match((await runModel(denseModel(), { feeds: [[]] })).error, /Expected to see 1 Tensor/)
  const graph = writeGraphModel([{ name: 'y', op: 'Relu', input: ['x'] }], { y: 'y' })
  assert.match((await runModel(graph, { layers: ['y'] })).error, /has no layers/)
  const strings = writeGraphModel([{ name: 'y', op: 'Cast', input: ['x'], attr: { DstT: { type: 'DT_COMPLEX64' } } }], { y: 'y' })
  assert.match((await runModel(strings)).error, /complex64 cannot be exchanged/)
})

test('memory does not grow, whatever happens', async () => {
  const rnn = { class_name: 'Sequential', config: [{
    class_name: 'SimpleRNN',
    config: { name: 'rnn', units: 1, stateful: true, use_bias: false, batch_input_shape: [1, 2, 1] },
  }] }
  const stateful = writeLayersModel(rnn, [
    { name: 'rnn/kernel', shape: [1, 1], values: [1] },
    { name: 'rnn/recurrent_kernel', shape: [1, 1], values: [1] },
  ])
  const loop = writeGraphModel([
    { name: 'where', op: 'Where', input: ['x'] },
    { name: 'y', op: 'Cast', input: ['where'], attr: { DstT: { type: 'DT_FLOAT' } } },
    { name: 'sum', op: 'AddV2', input: ['y', 'one'] },
  ], { y: 'sum' }, [{ name: 'one', shape: [], values: [1] }])
  const misfit = writeLayersModel(functional('model', [inputLayer('x', 2)], [['x'], ['x']]), [
    { name: 'nobody/kernel', shape: [2, 2], values: KERNEL },
  ])

  for (const backend of BACKENDS) {
    const before = tf.memory().numTensors
    assert.ok((await runModel(denseModel(), { backend, layers: ['first'] })).results)
    assert.ok((await runModel(loop, { backend })).results)
    assert.match((await runModel(misfit, { backend })).error, /nobody/)
    assert.match((await runModel(denseModel(), { backend, feeds: [[wire([1, 2], [1, 2])], [wire([1], [1, 1])]] })).error, /shape/)
    assert.ok((await ask({ method: 'describe', model: denseModel() })).weights)
    const rnnRun = await runModel(stateful, { backend, feeds: [[wire([1, 2], [1, 2, 1])], [wire([1, 2], [1, 2, 1])]] })
    assert.equal(rnnRun.error, undefined)
    assert.equal(tf.memory().numTensors, before)
  }
})
