// The worker: a JSON line of a request on stdin, a JSON line of its answer on stdout, until stdin ends.

import { createInterface } from 'node:readline'
// before all that may print
import { writeLine } from './stdout.js'
import './parent.js'
import { answer } from './answer.js'

for await (const line of createInterface({ input: process.stdin })) writeLine(await answer(line))
