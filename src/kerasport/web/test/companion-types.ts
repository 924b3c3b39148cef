// Callers of the companion, as TypeScript sees them. This file is type-checked and never run.

import * as core from '@tensorflow/tfjs-core'
import * as layers from '@tensorflow/tfjs-layers'
import { register, type TensorFlow } from '../kerasport-layers.js'

// The exports of @tensorflow/tfjs, which a script tag makes the global `tf`.
declare const tf: typeof core & typeof layers & { version: { tfjs: string } }

register(tf)
register({ ...core, ...layers })
const nothing: void = register(tf)
const part: TensorFlow = tf

// @ts-expect-error TF.js without its layers
register(core)
// @ts-expect-error no TF.js
register()
// @ts-expect-error not TF.js
register({ layers: {} })

export { nothing, part }
