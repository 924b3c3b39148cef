// Opens models in Netron: `node netron.js NETRON` takes one path a line on stdin and answers each with a line of JSON.
//
// NETRON is the directory with Netron's own sources, as its Python package installs them. Netron fetches the shards as
// its page does. Every node, attribute and tensor is read, as when somebody clicks on all of them.

import { readFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { createInterface } from 'node:readline'
import { writeLine } from '../stdout.js'

/**
 * A tensor, whose values may be in another file.
 *
 * @typedef {object} Stored
 * @property {() => unknown} [peek]
 * @property {() => Promise<unknown>} read
 */

/**
 * A graph, a function, or a node, which may be of a type that is a graph itself.
 *
 * @typedef {object} Part
 * @property {string} name
 * @property {Part} [type]
 * @property {Part[]} [nodes]
 * @property {{ value?: { initializer?: Stored }[] }[]} [inputs]
 * @property {{ value?: { initializer?: Stored }[] }[]} [outputs]
 * @property {{ type: string, value: Part & Stored }[]} [attributes]
 */

/**
 * @typedef {object} Opened
 * @property {string} format
 * @property {number} nodes
 * @property {Record<string, number>} tensors number of constants and weights by their element type and shape
 * @property {string[]} errors
 */

/**
 * @param {string} netron the directory of its sources
 * @returns {Promise<(path: string) => Promise<Opened>>}
 */
async function opener(netron) {
  const load = (/** @type {string} */ name) => import(pathToFileURL(join(netron, `${name}.js`)).href)
  const [base, view] = await Promise.all([load('base'), load('view')])

  return async path => {
    /** @type {Opened} */
    const opened = { format: '', nodes: 0, tensors: {}, errors: [] }
    const error = (/** @type {Error} */ raised) => opened.errors.push(raised.message)
    const stream = async (/** @type {string} */ file) => new base.BinaryStream(new Uint8Array(await readFile(file)))
    const host = { require: load, environment: () => undefined, exception: error }
    const context = {
      identifier: basename(path),
      entries: new Map(),
      stream: await stream(path),
      require: load,
      error,
      asset: (/** @type {string} */ name) => readFile(join(netron, name), 'utf8'),
      fetch: (/** @type {string} */ name) => stream(resolve(dirname(path), name)),
    }

    async function readTensor(/** @type {Stored} */ source) {
      if (source.peek && !source.peek()) await source.read()
      const tensor = new base.Tensor(source)
      const type = String(tensor.type)
      opened.tensors[type] = (opened.tensors[type] ?? 0) + 1
      // Netron knows no element type of the name `bool`, which the manifest of TF.js gives
      if (!tensor.empty && tensor.type.dataType !== '?') tensor.toString()
      return !tensor.empty || !tensor.type.shape.dimensions.every((/** @type {number} */ size) => size > 0)
    }

    function* tensorsOf(/** @type {Part} */ node) {
      for (const { value } of [...(node.inputs ?? []), ...(node.outputs ?? [])])
        for (const each of value ?? []) if (each?.initializer) yield each.initializer
      for (const { type, value } of node.attributes ?? []) if (type === 'tensor') yield value
    }

    /**
     * @param {Part} graph
     * @param {boolean} filled whether Netron looks for the values of constants, as it does outside of functions
     */
    async function readGraph(graph, filled) {
      for (const tensor of tensorsOf(graph))
        if (!(await readTensor(tensor)) && filled) throw new Error(`a tensor of ${graph.name} holds no values`)
      for (const { type, value } of graph.attributes ?? []) {
        if (value?.nodes) await readGraph(value, false)
        else if (type !== 'tensor') new view.Formatter(value, type).toString()
      }
      if (graph.type?.nodes) await readGraph(graph.type, false)
      for (const node of graph.nodes ?? []) {
        opened.nodes += 1
        if (!node.type?.name) throw new Error(`${node.name} has no type`)
        await readGraph(node, filled)
      }
    }

    try {
      const model = await new view.ModelFactoryService(host).open(context)
      opened.format = model.format
      for (const graph of model.modules) await readGraph(graph, true)
      for (const graph of model.functions ?? []) await readGraph(graph, false)
    } catch (raised) {
      error(/** @type {Error} */ (raised))
    }
    return opened
  }
}

const [netron] = process.argv.slice(2)
// without it this is the test runner, which starts every script in this directory
if (netron) {
  const open = await opener(netron)
  for await (const path of createInterface({ input: process.stdin })) writeLine(JSON.stringify(await open(path)))
}
