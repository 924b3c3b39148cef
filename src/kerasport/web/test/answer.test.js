import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test from 'node:test'
import { answer } from '../answer.js'
import {
  functional, inputLayer, layer, writeGraphModel, writeLayersModel, writeText,
} from './models.js'

/**
 * @import { TensorInfo } from '../models.js'
 * @import { WireTensor } from '../tensors.js'
 */

/**
 * @typedef {object} Answer everything that an answer may hold
 * @property {number} id
 * @property {string} error
 * @property {TensorInfo[]} inputs
 * @property {TensorInfo[]} outputs
 * @property {WireTensor[][]} results
 * @property {Record<string, WireTensor[]>[]} layers
 */

const BACKENDS = ['cpu', 'wasm']

/**
 * @param {number[]} values
 * @param {number[]} shape
 * @returns {WireTensor}
 */
function wire(values, shape) {
  return { dtype: 'float32', shape, data: Buffer.from(new Float32Array(values).buffer).toString('base64') }
}

/**
 * @param {WireTensor} tensor a float32 tensor of an answer
 * @returns {number[]}
 */
function numbers({ data }) {
  return [...new Float32Array(new Uint8Array(Buffer.from(data, 'base64')).buffer)]
}

/**
 * @param {object} request
 * @returns {Promise<Answer>}
 */
async function ask(request) {
  return JSON.parse(await answer(JSON.stringify({ id: 7, ...request })))
}

/**
 * @param {string} model
 * @param {object} [options]
 * @returns {Promise<Answer>} the answer for the feed [[1, 2]]
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
  test(`a layers-model runs on ${backend}, and returns outputs of its layers`, async () => {
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
    assert.deepEqual(outputs.map(output => output.name), ['z', 'a'])
    assert.deepEqual(results[0].map(numbers), [[5.5, 49.5], [5, 50]])
    assert.deepEqual(layers, [{}])
  })
}

test('a graph that can only run asynchronously runs', async () => {
  const model = writeGraphModel([
    { name: 'where', op: 'Where', input: ['x'] },
    // on the cpu backend this does not change the values
    { name: 'cast', op: 'Cast', input: ['where'], attr: { DstT: { type: 'DT_FLOAT' } } },
  ], { y: 'cast' })
  const { results } = await runModel(model)
  assert.deepEqual(results[0].map(numbers), [[0, 0, 0, 1]])
})

test('more than 32 samples are one batch', async () => {
  const feeds = [[wire(Array(100).fill(1), [50, 2])]]
  const { results } = await runModel(denseModel(), { feeds })
  assert.deepEqual(results[0][0].shape, [50, 2])
})

test('a layer that is a model gives the outputs of its first call', async () => {
  const double = functional('double', [inputLayer('d', 2), layer('Add', 'sum', ['d', 'd'])], [['d'], ['sum']])
  const called = { ...double, inbound_nodes: [[['x', 0, 0, {}]], [['double', 1, 0, {}]]] }
  const same = layer('Activation', 'same', [], { activation: 'linear' })
  const last = { ...same, inbound_nodes: [[['double', 2, 0, {}]]] }
  const outer = functional('model', [inputLayer('x', 2), called, last], [['x'], ['same']])
  const twice = await runModel(writeLayersModel(outer, []), { layers: ['double'] })
  assert.deepEqual(numbers(twice.results[0][0]), [4, 8])
  assert.deepEqual(numbers(twice.layers[0].double[0]), [2, 4])

  // the first layer of a sequential model has no call
  const sequential = { class_name: 'Sequential', config: { name: 'model', layers: [double, same] } }
  const nested = await runModel(writeLayersModel(sequential, []), { layers: ['double', 'same'] })
  assert.deepEqual(numbers(nested.layers[0].double[0]), [2, 4])
  assert.deepEqual(numbers(nested.layers[0].same[0]), [2, 4])
})

test('a model is described by its weights, layers and training', async () => {
  const trainingConfig = {
    optimizer_config: { class_name: 'Adam', config: { learning_rate: 0.25, beta_1: 0.5, beta_2: 0.75, epsilon: 1 } },
    loss: 'mean_squared_error', metrics: [],
  }
  const description = await ask({ method: 'describe', model: denseModel({ trainingConfig }) })
  const input = { name: 'x', dtype: 'float32', shape: [null, 2] }
  assert.deepEqual(description, {
    id: 7,
    format: 'layers-model',
    inputs: [input],
    outputs: [{ ...input, name: 'second' }],
    layers: ['x', 'first', 'second'],
    weights: [
      { name: 'first/kernel', dtype: 'float32', shape: [2, 2], trainable: true },
      { name: 'first/bias', dtype: 'float32', shape: [2], trainable: true },
      { name: 'second/kernel', dtype: 'float32', shape: [2, 2], trainable: false },
    ],
    trainable: 2,
    nonTrainable: 1,
    optimizer: {
      className: 'Adam',
      config: { learningRate: 0.25, beta1: 0.5, beta2: 0.75, epsilon: 1 },
    },
    loss: 'meanSquaredError',
  })

  const graph = writeGraphModel([{ name: 'y', op: 'AddV2', input: ['x', 'one'] }], { y: 'y' }, [
    { name: 'one', shape: [], values: [1], dtype: 'int32' },
  ])
  assert.deepEqual(await ask({ method: 'describe', model: graph }), {
    id: 7,
    format: 'graph-model',
    inputs: [input],
    outputs: [{ ...input, name: 'y' }],
    layers: [],
    weights: [{ name: 'one', dtype: 'int32', shape: [], trainable: false }],
    trainable: 0,
    nonTrainable: 1,
  })
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
  const cast = { name: 'y', op: 'Cast', input: ['x'], attr: { DstT: { type: 'DT_COMPLEX64' } } }
  assert.match((await runModel(writeGraphModel([cast], { y: 'y' }))).error, /complex64 cannot be exchanged/)
})

for (const backend of BACKENDS) {
  test(`memory does not grow on ${backend}, whatever happens`, async () => {
    const size = 1 << 20
    const state = layer('SimpleRNN', 'rnn', [], {
      units: 2, stateful: true, use_bias: false, batch_input_shape: [1, 1, size / 2],
    })
    const model = { class_name: 'Sequential', config: [state] }
    const kernel = { name: 'rnn/kernel', shape: [size / 2, 2], values: Array(size).fill(0) }
    const recurrent = { name: 'rnn/recurrent_kernel', shape: [2, 2], values: KERNEL }
    const sound = writeLayersModel(model, [kernel, recurrent])
    const misfit = writeLayersModel(model, [kernel, { ...recurrent, name: 'nobody/kernel' }])
    const graph = writeGraphModel([{ name: 'y', op: 'AddV2', input: ['x', 'kernel'] }], { y: 'y' }, [
      { ...kernel, name: 'kernel' },
    ])
    const everything = async () => {
      const feeds = [[wire(Array(size / 2).fill(1), [1, 1, size / 2])]]
      assert.ok((await runModel(sound, { backend, feeds, layers: ['rnn'] })).results)
      assert.match((await runModel(misfit, { backend })).error, /nobody/)
      assert.match((await runModel(graph, { backend, feeds: [[]] })).error, /0 input tensors/)
    }

    for (let warmUp = 0; warmUp < 10; warmUp++) await everything()
    const before = process.memoryUsage.rss()
    for (let repeat = 0; repeat < 20; repeat++) await everything()
    // three times 4 MiB of weights each would be 240 MiB
    assert.ok(process.memoryUsage.rss() - before < 100 << 20)
  })
}
