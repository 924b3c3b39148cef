// Ends this process when the one that started it is gone: a killed Python cannot say so, and while a model runs nobody
// sees that stdin has ended. A thread looks, since the main one may compute for minutes.

import { Worker } from 'node:worker_threads'

const SECOND = 1000
const watch = `
const { workerData } = require('node:worker_threads')
setInterval(() => {
  let gone = process.ppid !== workerData // another one adopts orphans; but not on Windows
  try {
    process.kill(workerData, 0)
  } catch (error) {
    gone ||= error.code === 'ESRCH'
  }
  if (gone) process.kill(process.pid, 'SIGKILL')
}, ${SECOND})
`

new Worker(watch, { eval: true, workerData: process.ppid }).unref()
