// The worker: reads requests from stdin and writes answers to stdout, one line of JSON each.

import { createInterface } from 'node:readline'
// imported first, since other modules may print
import { writeLine } from './stdout.js'
import './parent.js'
import { answer } from './answer.js'

for await (const line of createInterface({ input: process.stdin })) writeLine(await answer(line))
