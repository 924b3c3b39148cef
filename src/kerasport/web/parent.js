// Ends this process when its parent has ended. A killed Python process cannot tell us, and while a model runs nobody
// reads that stdin has ended. A thread checks, since the main thread may compute for minutes.

import { Worker } from 'node:worker_threads'

const SECOND = 1000
const watch = `
const { workerData } = require('node:worker_threads')
setInterval(() => {
  let gone = process.ppid !== workerData // orphans get another parent, except on Windows
  try {
    process.kill(workerData, 0)
  } catch (error) {
    gone ||= error.code === 'ESRCH'
  }
  if (gone) process.kill(process.pid, 'SIGKILL')
}, ${SECOND})
`

new Worker(watch, { eval: true, workerData: process.ppid }).unref()
