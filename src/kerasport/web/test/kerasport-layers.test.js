import assert from 'node:assert/strict'
import test from 'node:test'
import * as core from '@tensorflow/tfjs-core'
import '@tensorflow/tfjs-backend-cpu'
import * as layers from '@tensorflow/tfjs-layers'
import { register } from '../kerasport-layers.js'

const tf = { ...core, ...layers }
register(tf)
await tf.setBackend('cpu')

const NAMES = [
  'Exponential', 'GeluTanh', 'HardShrink', 'HardSigmoid', 'HardSilu', 'HardTanh', 'LeakyRelu', 'LogSigmoid',
  'SoftShrink', 'SparsePlus', 'SparseSigmoid', 'Sparsemax', 'Squareplus', 'TanhShrink',
].map(name => `kerasport${name}`)

/**
 * @param {object} model_config
 * @returns {Promise<layers.LayersModel>}
 */
function load(model_config) {
  return tf.loadLayersModel({ load: async () => ({ modelTopology: { model_config } }) })
}

/**
 * @param {string} class_name
 * @param {object} [config]
 * @returns {object} a layer as model.json has it
 */
function layer(class_name, config = {}) {
  // as kerasport writes it: others take long, and more of TF.js
  return { class_name, config: { name: class_name.toLowerCase(), recurrent_initializer: 'zeros', ...config } }
}

/**
 * @param {object[]} behind
 * @param {(number | null)[]} [shape]
 * @returns {object} a Sequential
 */
function sequential(behind, shape = [null, 4, 3]) {
  const input = { class_name: 'InputLayer', config: { name: 'x', batch_input_shape: shape, dtype: 'float32' } }
  return { class_name: 'Sequential', config: { name: 'model', layers: [input, ...behind] } }
}

const GRU = layer('KerasportGRU', { units: 2, activation: 'tanh', recurrent_activation: 'kerasport_hard_sigmoid' })

/**
 * @param {layers.LayersModel} model
 */
function randomize(model) {
  model.setWeights(model.getWeights().map(({ shape }, seed) => tf.randomNormal(shape, 0, 0.7, 'float32', seed + 1)))
}

/**
 * @param {core.Tensor} a
 * @param {core.Tensor} b
 * @param {number} [tolerance]
 */
function assertClose(a, b, tolerance = 1e-6) {
  assert.deepEqual(a.shape, b.shape)
  const worst = tf.tidy(() => tf.max(tf.abs(tf.sub(a, b))).dataSync()[0])
  assert.ok(worst <= tolerance, `they differ by ${worst}`)
}

/**
 * @param {string} name
 * @returns {{ apply(x: core.Tensor): core.Tensor }} an activation
 */
function activation(name) {
  const [cls] = tf.serialization.SerializationMap.getMap().classNameMap[name]
  return /** @type {{ apply(x: core.Tensor): core.Tensor }} */ (/** @type {unknown} */ (new cls({})))
}

test('a second call does no harm, and nothing of TF.js is replaced', () => {
  const before = { ...tf.serialization.SerializationMap.getMap().classNameMap }
  register(tf)
  const after = tf.serialization.SerializationMap.getMap().classNameMap
  assert.deepEqual(Object.keys(after), Object.keys(before))
  for (const [name, [cls]] of Object.entries(before)) {
    if (!/kerasport/i.test(name)) assert.equal(after[name][0], cls)
  }
  // the names of layers that a page makes itself are counted from the start
  assert.equal(tf.layers.gru({ units: 1 }).name, 'gru_GRU1')
})

test('the activations are these', () => {
  const { classNameMap } = tf.serialization.SerializationMap.getMap()
  assert.deepEqual(Object.keys(classNameMap).filter(name => name.startsWith('kerasport')).sort(), NAMES)
})

test('gelu by tanh', () => {
  const given = [-3, -0.5, 0, 1, 2.5]
  const gelu = given.map(x => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))))
  assertClose(activation('kerasportGeluTanh').apply(tf.tensor1d(given)), tf.tensor1d(gelu))
})

for (const name of NAMES) {
  test(`${name} has the gradient of its numbers, and leaves no tensors behind`, () => {
    const { apply } = activation(name)
    // away from corners, and in the middle of the ranges that some of them have
    const x = tf.tensor2d([[-2.3, -0.7, 0.2, 0.9], [1.7, 1.45, 1.6, -4.4]])
    const weight = tf.tensor2d([[1, -2, 3, 0.5], [2, 1, -1, 4]])
    const tensors = tf.memory().numTensors
    const of = (/** @type {core.Tensor} */ at) => /** @type {core.Scalar} */ (tf.sum(tf.mul(weight, apply(at))))
    const [gradient] = tf.tidy(() => tf.grads(of)([x]))
    const step = 1e-2
    const numeric = tf.tidy(() => tf.tensor2d([...Array(8).keys()].map(index => {
      const moved = tf.reshape(tf.mul(step, tf.oneHot(tf.tensor1d([index], 'int32'), 8)), [2, 4])
      const rise = tf.sub(of(tf.add(x, moved)), of(tf.sub(x, moved)))
      return rise.dataSync()[0] / (2 * step)
    }), [2, 4]))
    assertClose(gradient, numeric, 5e-3)
    tf.dispose([gradient, numeric])
    assert.equal(tf.memory().numTensors, tensors)
  })
}

test('a step of GRU, by hand', async () => {
  const model = await load(sequential([layer('KerasportGRU', {
    units: 1, activation: 'linear', recurrent_activation: 'linear', return_sequences: true,
  })], [null, 2, 1]))
  const weights = [[[0.2, 0.3, 0.5]], [[0.5, 0.25, -1]], [[0.1, 0.2, 0.3], [-0.1, 0.4, 0.5]]]
  model.setWeights(weights.map(values => tf.tensor2d(values)))
  let h = 0
  const wanted = [1, -0.5].map(x => {
    const [z, r] = [0.2 * x + 0.1 + 0.5 * h - 0.1, 0.3 * x + 0.2 + 0.25 * h + 0.4]
    const candidate = 0.5 * x + 0.3 + r * (-h + 0.5)
    h = z * h + (1 - z) * candidate
    return [h]
  })
  const made = /** @type {core.Tensor} */ (model.predict(tf.tensor3d([[[1], [-0.5]]])))
  assertClose(made, tf.tensor3d([wanted]))
})

test('predict leaves no tensors behind', async () => {
  const model = await load(sequential([GRU]))
  const x = tf.ones([2, 4, 3])
  tf.dispose(model.predict(x))
  const { numTensors } = tf.memory()
  for (let count = 0; count < 3; count++) tf.dispose(model.predict(x))
  assert.equal(tf.memory().numTensors, numTensors)
})

/** @type {Record<string, object[]>} */
const TRAINED = {
  'a GRU': [GRU],
  'a GRU without bias': [layer('KerasportGRU', { units: 2, use_bias: false })],
  'a GRU that drops': [layer('KerasportGRU', { units: 2, dropout: 0.4, recurrent_dropout: 0.3 })],
  'GRUs both ways': [layer('Bidirectional', { merge_mode: 'concat', layer: GRU })],
  'a cell': [layer('RNN', { cell: layer('KerasportGRUCell', { units: 2 }) })],
  'stacked cells': [layer('RNN', { cell: layer('StackedRNNCells', {
    cells: [layer('KerasportGRUCell', { units: 3 }), layer('GRUCell', { units: 2 })],
  }) })],
}

for (const [name, made] of Object.entries(TRAINED)) {
  test(`fit trains every weight of ${name}`, async () => {
    const model = await load(sequential([...made, layer('Dense', { units: 1, activation: 'kerasport_squareplus' })]))
    randomize(model)
    model.compile({ optimizer: 'sgd', loss: 'meanSquaredError' })
    const before = model.getWeights().map(weight => weight.clone())
    const x = tf.randomNormal([8, 4, 3], 0, 1, 'float32', 7)
    const { history } = await model.fit(x, tf.ones([8, 1]), { epochs: 4, batchSize: 8, shuffle: false, verbose: 0 })
    const losses = /** @type {number[]} */ (history.loss)
    assert.ok(losses[3] < losses[0] || name.includes('drops'), `losses ${losses}`)
    for (const [index, weight] of model.getWeights().entries()) {
      assert.ok(tf.max(tf.abs(tf.sub(weight, before[index]))).dataSync()[0] > 0, model.weights[index].name)
    }
    // what training drops, prediction does not
    const [once, again] = [model.predict(x), model.predict(x)].flat()
    assertClose(once, again, 0)
    // and no batch leaves anything, whatever its size
    const { numTensors } = tf.memory()
    const smaller = tf.slice(x, 0, 3)
    const labels = tf.ones([3, 1])
    await model.fit(smaller, labels, { epochs: 1, verbose: 0 })
    tf.dispose([smaller, labels])
    tf.dispose(model.predict(x))
    assert.equal(tf.memory().numTensors, numTensors)
  })

  test(`${name} is the same after save and load`, async () => {
    const model = await load(sequential(made))
    randomize(model)
    /** @type {core.io.ModelArtifacts[]} */
    const saved = []
    await model.save(tf.io.withSaveHandler(async artifacts => {
      saved.push(artifacts)
      return { modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: 'JSON' } }
    }))
    // as a file would hold it
    const modelTopology = JSON.parse(JSON.stringify(saved[0].modelTopology))
    const again = await tf.loadLayersModel({ load: async () => ({ ...saved[0], modelTopology }) })
    // but for the number in a name that TF.js does not save
    const [before, after] = [modelTopology, again.toJSON(null, false)].map(topology =>
      JSON.parse(JSON.stringify(topology).replace(/StackedRNNCells\d+/, 'StackedRNNCells')))
    assert.deepEqual(after, before)
    assert.deepEqual(again.weights.map(({ originalName }) => originalName), model.weights.map(w => w.originalName))
    const x = tf.randomNormal([2, 4, 3], 0, 1, 'float32', 3)
    assertClose(...(/** @type {[core.Tensor, core.Tensor]} */ ([model.predict(x), again.predict(x)].flat())), 0)
  })
}

test('a stateful GRU goes on where it was, until it is reset', async () => {
  const model = await load(sequential([layer('KerasportGRU', { units: 2, stateful: true })], [2, 4, 3]))
  randomize(model)
  const x = tf.randomNormal([2, 4, 3], 0, 1, 'float32', 3)
  const [first, second] = [model.predict(x), model.predict(x)].flat()
  assert.throws(() => assertClose(first, second))
  model.resetStates()
  assertClose(first, [model.predict(x)].flat()[0], 0)
})
