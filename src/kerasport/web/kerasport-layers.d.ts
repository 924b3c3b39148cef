// SPDX-License-Identifier: Apache-2.0
//
// Types of kerasport-layers.js, for TypeScript and for editors. A page does not load this file.

import type * as core from '@tensorflow/tfjs-core'
import type * as layers from '@tensorflow/tfjs-layers'

/**
 * The part of TF.js that the companion uses. All of these have it:
 *
 * - the global `tf` of a page that loads TF.js with a script tag;
 * - `import * as tf from '@tensorflow/tfjs'`, or from `@tensorflow/tfjs-node`;
 * - `{ ...core, ...layers }`, for pages that import only `@tensorflow/tfjs-core` and `@tensorflow/tfjs-layers`.
 */
export type TensorFlow =
  & Pick<typeof core,
    | 'abs' | 'add' | 'cast' | 'clipByValue' | 'cumsum' | 'customGrad' | 'dispose' | 'div' | 'dropout' | 'exp'
    | 'greater' | 'greaterEqual' | 'keep' | 'leakyRelu' | 'matMul' | 'mul' | 'neg' | 'onesLike' | 'range' | 'relu'
    | 'serialization' | 'slice' | 'softplus' | 'split' | 'sqrt' | 'square' | 'step' | 'sub' | 'sum' | 'tanh'
    | 'tidy' | 'topk' | 'where' | 'zerosLike'>
  & { layers: Pick<typeof layers.layers, 'RNN' | 'gruCell'> }

/**
 * Register the layers and activations of Keras that TF.js lacks: `GRU` with `reset_after=True`, and activations such
 * as `hard_sigmoid` of Keras 3. Call it once, before the page loads the first model that needs them.
 *
 * The names of the classes are unique (`KerasportGRU`, `kerasportHardSigmoid`), so they replace no class of TF.js.
 *
 * @param tf The TF.js of the page.
 * @example
 * import { register } from './web_model/kerasport-layers.js'
 * register(tf)
 * const model = await tf.loadLayersModel('web_model/model.json')
 */
export function register(tf: TensorFlow): void
