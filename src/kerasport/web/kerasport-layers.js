// SPDX-License-Identifier: Apache-2.0
//
// The companion of a layers-model written by kerasport: layers and activations of Keras that TF.js lacks.
//
//     import { register } from './web_model/kerasport-layers.js'
//     register(tf)
//     const model = await tf.loadLayersModel('web_model/model.json')
//
// `tf` is the TF.js of the page, from a script tag, a bundler or Node. The types are in kerasport-layers.d.ts.

/**
 * @import { Tensor } from '@tensorflow/tfjs-core'
 * @import { GRUCell } from '@tensorflow/tfjs-layers/dist/layers/recurrent.js'
 * @import { GRULayerArgs } from '@tensorflow/tfjs-layers'
 */

/**
 * @typedef {import('./kerasport-layers.js').TensorFlow} TensorFlow what the .d.ts file promises to callers
 * @typedef {(x: Tensor) => Tensor} Activation
 * @typedef {{ training?: boolean, mask?: Tensor, initialState?: Tensor[] }} CallOptions
 */

/**
 * Register the classes below with TF.js. Call it once, before loading the first model that needs them.
 *
 * The names of the classes are unique, so they replace no class of TF.js.
 *
 * @type {typeof import('./kerasport-layers.js').register}
 */
export function register(tf) {
  for (const [name, activation] of Object.entries(activations(tf))) registerActivation(tf, name, activation)
  registerGRU(tf)
}

/**
 * Activations of Keras that TF.js lacks or computes differently, by their names in Keras.
 *
 * @param {TensorFlow} tf
 * @returns {Record<string, Activation>}
 */
function activations(tf) {
  /** @type {Activation} */
  const hardSigmoid = x => tf.clipByValue(tf.add(tf.mul(x, 1 / 6), 0.5), 0, 1)
  return {
    exponential: x => tf.exp(x),
    gelu_tanh: x => {
      const inner = tf.mul(Math.sqrt(2 / Math.PI), tf.add(x, tf.mul(0.044715, tf.mul(x, tf.mul(x, x)))))
      return tf.mul(tf.mul(0.5, x), tf.add(1, tf.tanh(inner)))
    },
    hard_shrink: x => tf.where(tf.greaterEqual(0.5, tf.abs(x)), tf.zerosLike(x), x),
    hard_sigmoid: hardSigmoid,
    hard_silu: x => tf.mul(x, hardSigmoid(x)),
    hard_tanh: x => tf.clipByValue(x, -1, 1),
    leaky_relu: x => tf.leakyRelu(x, 0.2),
    log_sigmoid: x => tf.neg(tf.softplus(tf.neg(x))),
    soft_shrink: x => tf.sub(tf.relu(tf.sub(x, 0.5)), tf.relu(tf.sub(tf.neg(x), 0.5))),
    sparse_plus: x => tf.add(
      tf.square(tf.clipByValue(tf.add(tf.mul(0.5, x), 0.5), 0, 1)), tf.relu(tf.sub(x, 1))),
    sparse_sigmoid: x => tf.clipByValue(tf.add(tf.mul(0.5, x), 0.5), 0, 1),
    sparsemax: x => sparsemax(tf, x),
    squareplus: x => tf.mul(0.5, tf.add(x, tf.sqrt(tf.add(tf.mul(x, x), 4)))),
    tanh_shrink: x => tf.sub(x, tf.tanh(x)),
  }
}

/**
 * max(x - τ, 0) over the last axis, with the τ of Keras: the average over all running sums of the support. The paper
 * (Martins and Astudillo, 2016) uses only the last running sum.
 *
 * TopK has no gradient in TF.js, so this defines the gradient of the whole function.
 *
 * @param {TensorFlow} tf
 * @param {Tensor} x
 * @returns {Tensor}
 */
function sparsemax(tf, x) {
  const size = x.shape[x.rank - 1]
  const apply = tf.customGrad((...args) => {
    const [z, save] = /** @type {[Tensor, (kept: Tensor[]) => void]} */ (/** @type {unknown} */ (args))
    const { values, indices } = tf.topk(z, size)
    const running = tf.cumsum(values, z.rank - 1)
    const support = tf.cast(
      tf.greater(tf.sub(values, tf.div(tf.sub(running, 1), tf.range(1, size + 1))), 0), 'float32')
    const count = tf.sum(support, -1, true)
    const tau = tf.div(tf.sub(tf.sum(tf.mul(running, support), -1, true), 1), count)
    const value = tf.relu(tf.sub(z, tau))
    // the share of running sums that contain an element, which depends on its rank in descending order
    const rank = tf.topk(tf.neg(tf.cast(indices, 'float32')), size).indices
    const share = tf.div(tf.relu(tf.sub(count, tf.cast(rank, 'float32'))), count)
    save([value, share])
    /** @type {(dy: Tensor, saved: Tensor[]) => Tensor} */
    const gradFunc = (dy, saved) => {
      const through = tf.mul(dy, tf.step(saved[0]))
      return tf.sub(through, tf.mul(saved[1], tf.sum(through, -1, true)))
    }
    return { value, gradFunc }
  })
  return apply(x)
}

/**
 * Register an activation as kerasportName: TF.js converts the kerasport_name of model.json to camelCase.
 *
 * @param {TensorFlow} tf
 * @param {string} name
 * @param {Activation} activation
 */
function registerActivation(tf, name, activation) {
  tf.serialization.registerClass(class extends tf.serialization.Serializable {
    static className = `kerasport_${name}`.replace(/_(\w)/g, (_, letter) => letter.toUpperCase())

    /**
     * @param {Tensor} x
     * @returns {Tensor}
     */
    apply(x) {
      return tf.tidy(() => activation(x))
    }

    /** @returns {Record<string, never>} no options */
    getConfig() {
      return {}
    }
  })
}

/**
 * Register the GRU with `reset_after=True`, the default of Keras: it applies the reset gate after the product with the
 * recurrent kernel.
 *
 * @param {TensorFlow} tf
 */
function registerGRU(tf) {
  // TF.js does not export the class GRUCell, so take it from an instance
  const { constructor } = tf.layers.gruCell({ units: 1, name: 'kerasport_gru_cell' })
  const TfjsGRUCell = /** @type {typeof GRUCell} */ (constructor)

  /** One time step. Like the GRUCell of TF.js, but with a bias of shape [2, 3 · units]. */
  class KerasportGRUCell extends TfjsGRUCell {
    static className = 'KerasportGRUCell'

    /**
     * @param {GRULayerArgs} args
     */
    constructor(args) {
      // the class of TF.js throws on resetAfter: true
      super({ recurrentActivation: 'sigmoid', ...args, resetAfter: false })
    }

    /**
     * @param {(number | null)[]} inputShape of a step, [batch, features]
     */
    build(inputShape) {
      const features = inputShape[inputShape.length - 1]
      const width = 3 * this.units
      const { kernelInitializer, recurrentInitializer, biasInitializer } = this
      this.kernel = this.addWeight('kernel', [features, width], undefined,
        kernelInitializer, this.kernelRegularizer, true, this.kernelConstraint)
      this.recurrentKernel = this.addWeight('recurrent_kernel', [this.units, width], undefined,
        recurrentInitializer, this.recurrentRegularizer, true, this.recurrentConstraint)
      if (this.useBias) {
        this.bias = this.addWeight('bias', [2, width], undefined,
          biasInitializer, this.biasRegularizer, true, this.biasConstraint)
      }
      this.built = true
    }

    /**
     * @param {Tensor[]} inputs x [batch, features] and the state [batch, units]
     * @param {CallOptions} options
     * @returns {Tensor[]} the output, and the new state, which is the same
     */
    call([x, h], { training }) {
      return tf.tidy(() => {
        if (training) this.makeDropoutMasks(x, h)
        const [xUpdate, xReset, xCandidate] = this.product(x, this.dropoutMask, this.kernel.read(), 0)
        const [hUpdate, hReset, hCandidate] =
          this.product(h, this.recurrentDropoutMask, this.recurrentKernel.read(), 1)
        const update = this.recurrentActivation.apply(tf.add(xUpdate, hUpdate))
        const reset = this.recurrentActivation.apply(tf.add(xReset, hReset))
        const candidate = this.activation.apply(tf.add(xCandidate, tf.mul(reset, hCandidate)))
        const state = tf.add(tf.mul(update, h), tf.mul(tf.sub(1, update), candidate))
        return [state, state]
      })
    }

    /**
     * (mask · x) @ kernel + bias[row], split into update gate, reset gate and candidate, each [batch, units].
     *
     * @param {Tensor} x
     * @param {Tensor | Tensor[] | null} mask
     * @param {Tensor} kernel
     * @param {number} row
     * @returns {Tensor[]}
     */
    product(x, mask, kernel, row) {
      const kept = mask ? tf.mul(x, /** @type {Tensor} */ (mask)) : x
      const product = tf.matMul(kept, kernel)
      const sum = this.useBias ? tf.add(product, tf.slice(this.bias.read(), [row, 0], [1, -1])) : product
      return tf.split(sum, 3, 1)
    }

    /**
     * Create the dropout masks, which are the same in every time step of a batch.
     *
     * @param {Tensor} x
     * @param {Tensor} h
     */
    makeDropoutMasks(x, h) {
      if (this.dropout) this.dropoutMask ??= tf.keep(tf.dropout(tf.onesLike(x), this.dropout))
      if (this.recurrentDropout) {
        this.recurrentDropoutMask ??= tf.keep(tf.dropout(tf.onesLike(h), this.recurrentDropout))
      }
    }

    /** Forget the dropout masks, so that the next batch gets new ones. */
    forgetDropoutMasks() {
      tf.dispose([this.dropoutMask, this.recurrentDropoutMask].flat().filter(Boolean))
      Object.assign(this, { dropoutMask: null, recurrentDropoutMask: null })
    }

    /** @returns {import('@tensorflow/tfjs-core').serialization.ConfigDict} the config of an equal cell */
    getConfig() {
      return { ...super.getConfig(), resetAfter: true }
    }
  }

  /** Runs the cell over time. The RNN of TF.js handles masks, states and directions. */
  class KerasportGRU extends tf.layers.RNN {
    static className = 'KerasportGRU'

    /**
     * @param {GRULayerArgs} args
     */
    constructor(args) {
      super({ ...args, cell: new KerasportGRUCell(args) })
    }

    /**
     * @param {Tensor | Tensor[]} inputs
     * @param {CallOptions} options
     * @returns {Tensor | Tensor[]}
     */
    call(inputs, options) {
      const cell = /** @type {KerasportGRUCell} */ (this.cell)
      cell.forgetDropoutMasks()
      return super.call(inputs, options)
    }

    /**
     * RNN.fromConfig expects the config of a cell, but the options of this layer include those of its cell.
     *
     * @template {import('@tensorflow/tfjs-core').serialization.Serializable} T
     * @param {import('@tensorflow/tfjs-core').serialization.SerializableConstructor<T>} cls
     * @param {import('@tensorflow/tfjs-core').serialization.ConfigDict} config
     * @returns {T}
     */
    static fromConfig(cls, config) {
      return new cls(config)
    }
  }

  tf.serialization.registerClass(KerasportGRUCell)
  tf.serialization.registerClass(KerasportGRU)
}
