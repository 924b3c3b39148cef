// What the example pages share: TF.js and the model are loaded, drawings are taken, answers are shown.
// A classic script, since browsers load no modules from file:// URLs.

const TFJS = "node_modules/@tensorflow/tfjs/dist/tf.min.js" // after `npm ci --omit=dev` in this folder
const CDN = {
  src: "https://cdn.jsdelivr.net/npm/@tensorflow/tfjs@4.22.0/dist/tf.min.js",
  integrity: "sha384-vE8hbVJ4lezako5rlvE7bY0BVzWlFhZncPlckrqNwcUQpVtgbENTgZ8TBbnPjZre",
  crossOrigin: "anonymous",
}
const PAPER = 640 // pixels of the paper's side
const DOTS = 4 // dots along each side of a pixel that the model gets
const PEN = 20 // width of the pen; the model gets lines as thick as those it was trained on
const STEP = 16 // how far an arrow key moves the pen

const find = (id) => document.getElementById(id)

/** Run a page. `example` has: file, labels, size, max, top, lineWidth, fit(width, height), samples, sentence(label). */
async function run(example) {
  const view = makeView(example)
  try {
    await loadTfjs()
    const { model, source } = await loadModel(example, view)
    const classifier = makeClassifier(example, model)
    await classifier([...Array(example.size ** 2).fill(0)]) // the first run compiles the kernels
    view.ready(source, model)
    makePaper(example, view, classifier)
  } catch (error) {
    view.fail(error)
    throw error
  }
}

// ------------------------------------------------------------------------------------------------ TF.js and the model

/** An error that the page explains: a title, sentences, and a command to copy. */
class SetupError extends Error {
  constructor(title, { before = "", command = "", after = "", files = false } = {}) {
    super(title)
    Object.assign(this, { before, command, after, files })
  }
}

function loadScript(attributes) {
  return new Promise((resolve, reject) => {
    const script = Object.assign(document.createElement("script"), attributes)
    Object.assign(script, { onload: resolve, onerror: () => reject(new Error(`${script.src} did not load`)) })
    document.head.append(script)
  })
}

/** TF.js from node_modules, so that the page works offline; else from a CDN. */
async function loadTfjs() {
  await loadScript({ src: TFJS }).catch(() => loadScript(CDN)).catch(() => {
    throw new SetupError("TensorFlow.js was not found", {
      before: "It is not installed in this folder, and the CDN cannot be reached. To install it, type:",
      command: "npm ci --omit=dev --prefix examples",
      after: "This needs Node.js and works offline afterwards. Then reload this page.",
    })
  })
}

/** The model next to the page, the one that `?model=` names, or files that the user chooses. */
async function loadModel(example, view) {
  const stem = example.file.replace(/\.keras$/, "")
  const url = new URLSearchParams(location.search).get("model") ?? `${stem}_web/model.json`
  const answer = await fetch(url).catch(() => null)
  if (answer?.ok) return { model: await loadAs(await answer.json(), url), source: url }
  if (location.protocol !== "file:") {
    throw new SetupError("The model is not converted yet", {
      before: `There is no ${url} on this server. To convert the example, type:`,
      command: `kerasport convert examples/${example.file}`,
      after: "Then reload this page.",
    })
  }
  const page = location.pathname.split("/").pop()
  view.fail(new SetupError("Start a web server to open this page", {
    before: "You opened the page as a file, and browsers do not let such a page read the model next to it. Type:",
    command: "python -m http.server --directory examples",
    after: `Then open http://localhost:8000/${page}. Or choose all files of the folder ${stem}_web here:`,
    files: true,
  }))
  const files = await view.chosenFiles()
  const json = files.find((file) => file.name === "model.json")
  if (!json) throw new SetupError(`Those files have no model.json; reload the page and choose all files of ${stem}_web`)
  const handler = tf.io.browserFiles([json, ...files.filter((file) => file !== json && file.name.endsWith(".bin"))])
  return { model: await loadAs(JSON.parse(await json.text()), handler), source: `${stem}_web` }
}

const loadAs = ({ format }, source) =>
  format === "graph-model" ? tf.loadGraphModel(source) : tf.loadLayersModel(source)

/** A function from pixels to probabilities, and the milliseconds that the model took. */
function makeClassifier({ size }, model) {
  return async (pixels) => {
    const start = performance.now()
    const output = tf.tidy(() => model.predict(tf.tensor(pixels, [1, size, size, 1])))
    const probabilities = Array.from(await output.data())
    output.dispose()
    return { probabilities, milliseconds: performance.now() - start }
  }
}

// --------------------------------------------------------------------------------------------------- what a user sees

/** The parts of the page that show something. */
function makeView({ labels, samples, size, max, top = labels.length, sentence }) {
  const answer = find("answer"), bars = find("bars"), seen = find("seen").getContext("2d")
  const icons = new Map(samples.map((sample) => [sample.label, sample.path ? svg(sample.path) : null]))
  bars.classList.toggle("compact", top > 8)
  bars.style.setProperty("--label", `${Math.max(...labels.map((label) => label.length)) * 0.55 + 0.8}rem`)
  const rows = Array.from({ length: top }, () => {
    const row = bars.appendChild(document.createElement("li"))
    row.innerHTML = '<span class="icon"></span><span class="label"></span><div class="track"><i></i></div><span class="number"></span>'
    if (![...icons.values()].some(Boolean)) {
      row.firstChild.remove()
      row.style.gridTemplateColumns = "var(--label) 1fr 4.7rem"
    }
    return row
  })

  function show(text, pixels = Array(size ** 2).fill(0), probabilities = labels.map(() => 0)) {
    answer.value = text
    paint(seen, pixels, size, max)
    const order = labels.map((_, i) => i)
    if (top < labels.length) order.sort((a, b) => probabilities[b] - probabilities[a])
    const best = Math.max(...probabilities)
    rows.forEach((row, i) => {
      const probability = probabilities[order[i]], label = labels[order[i]]
      row.querySelector(".icon")?.replaceChildren(icons.get(label)?.cloneNode(true) ?? "")
      row.querySelector(".label").textContent = label
      row.querySelector("i").style.transform = `scaleX(${probability})`
      row.querySelector(".number").textContent = `${(probability * 100).toFixed(1)} %`
      row.className = probability === best && best > 0 ? "best" : ""
    })
  }

  return {
    show,
    result(pixels, { probabilities, milliseconds }) {
      const best = Math.max(...probabilities), label = labels[probabilities.indexOf(best)]
      show(best > 0.5 ? `It looks like ${sentence(label)}` : `Not sure; perhaps ${sentence(label)}`, pixels, probabilities)
      find("latency").textContent = `Computed in ${milliseconds.toFixed(1)} ms on ${backendName()}`
    },
    idle() {
      show(find("setup").hidden ? "Draw, or choose a drawing" : "")
      find("latency").textContent = `Ready. The model runs on ${backendName()}`
    },
    ready(source, model) {
      find("setup").hidden = true
      for (const button of document.querySelectorAll("button")) button.disabled = false
      const weights = model.countParams?.() ?? Object.values(model.weights).flat().reduce((sum, { size }) => sum + size, 0)
      find("source").textContent = `${source}, ${weights.toLocaleString("en")} weights, TensorFlow.js ${tf.version_core}`
    },
    fail({ message, before = "", command = "", after = "", files = false }) {
      answer.value = "Not ready yet"
      find("latency").textContent = ""
      find("setup").hidden = false
      const copy = Object.assign(document.createElement("button"), { textContent: "Copy" })
      copy.onclick = async () => {
        await navigator.clipboard.writeText(command)
        copy.textContent = "Copied"
      }
      const box = make("div", "", "copy")
      box.append(make("pre", command), copy)
      find("setup").replaceChildren(
        make("h2", message), make("p", before), ...(command ? [box] : []), make("p", after),
        ...(files ? [Object.assign(make("label", "Choose files …", "file"), { id: "choose" })] : []))
    },
    /** The files that a user chooses on a page that cannot fetch any. */
    chosenFiles() {
      const input = Object.assign(document.createElement("input"), { type: "file", multiple: true })
      find("choose").append(input)
      return new Promise((resolve) => (input.onchange = () => resolve([...input.files])))
    },
  }
}

function make(tag, textContent, className = "") {
  return Object.assign(document.createElement(tag), { textContent, className })
}

const backendName = () => ({ webgl: "WebGL", webgpu: "WebGPU", cpu: "the CPU", wasm: "WebAssembly" })[tf.getBackend()]

/** Paths within 100×100 as a picture. */
function svg(paths) {
  const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg")
  picture.setAttribute("viewBox", "0 0 100 100")
  picture.setAttribute("aria-hidden", "true")
  picture.innerHTML = `<path d="${paths.join(" ")}"/>`
  return picture
}

/** Draw gray values, white on black. */
function paint(context, pixels, size, max) {
  const rgba = pixels.flatMap((gray) => [...Array(3).fill(gray * 255 / max), 255])
  context.putImageData(new ImageData(Uint8ClampedArray.from(rgba), size, size), 0, 0)
}

// ---------------------------------------------------------------------------------------------------------- the paper

/** The strokes as the model gets drawings: scaled, centered, and each pixel the share of its dots that are covered. */
function shrink(strokes, { size, max, lineWidth, fit }) {
  const side = size * DOTS
  const context = new OffscreenCanvas(side, side).getContext("2d", { willReadFrequently: true })
  const [xs, ys] = [0, 1].map((axis) => strokes.flat().map((point) => point[axis]))
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)]
  const [across, down] = fit(right - left, bottom - top)
  const place = [across, 0, 0, down, (side - across * (left + right)) / 2, (side - down * (top + bottom)) / 2]
  write(context, strokes, lineWidth * DOTS, "#fff", new DOMMatrix(place))
  const { data } = context.getImageData(0, 0, side, side)
  const pixels = Array(size ** 2).fill(0)
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const pixel = Math.floor(y / DOTS) * size + Math.floor(x / DOTS)
      pixels[pixel] += data[(y * side + x) * 4 + 3] / 255 * max / DOTS ** 2
    }
  }
  return pixels
}

function write(context, strokes, lineWidth, strokeStyle, matrix) {
  const path = new Path2D(), placed = new Path2D()
  for (const points of strokes) {
    path.moveTo(...points[0])
    for (const point of points) path.lineTo(...point) // also to the first, so that a dot shows
  }
  placed.addPath(path, matrix)
  context.clearRect(0, 0, context.canvas.width, context.canvas.height)
  Object.assign(context, { lineWidth, lineCap: "round", lineJoin: "round", strokeStyle }).stroke(placed)
}

/** Points along paths within 100×100, as strokes on the paper. */
function strokesOf(paths) {
  return paths.map((d) => {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path")
    path.setAttribute("d", d)
    const length = path.getTotalLength(), count = Math.max(2, Math.ceil(length / 2))
    return Array.from({ length: count + 1 }, (_, i) => {
      const { x, y } = path.getPointAtLength(length * i / count)
      return [x, y].map((along) => PAPER * (0.1 + 0.8 * along / 100))
    })
  })
}

/** What someone does on the page: drawing with mouse, finger or keys, and choosing a sample. */
function makePaper(example, view, classifier) {
  const canvas = find("paper"), paper = canvas.getContext("2d")
  let strokes = [] // each a list of points [x, y]
  let sample = null // one that is pixels, and its picture
  let pen = null // where the keys have moved the pen, and whether it is down
  let latest = 0

  function redraw() {
    write(paper, strokes, PEN, getComputedStyle(canvas).color)
    if (sample) Object.assign(paper, { imageSmoothingEnabled: false }).drawImage(sample.picture, 0, 0, PAPER, PAPER)
    if (pen && document.activeElement === canvas) {
      paper.beginPath()
      paper.arc(pen.x, pen.y, 14, 0, 7)
      Object.assign(paper, { lineWidth: 4, strokeStyle: pen.down ? "#e11d48" : "#888" }).stroke()
    }
    find("undo").disabled = find("clear").disabled = !strokes.length && !sample
  }

  async function changed() {
    redraw()
    const number = ++latest
    if (!sample && !strokes.length) return view.idle()
    const pixels = sample?.pixels ?? shrink(strokes, example)
    const result = await classifier(pixels)
    if (number === latest) view.result(pixels, result)
  }

  function replace(drawn, chosen = null) {
    strokes = drawn
    sample = chosen
    pen = null
    return changed()
  }

  for (const { label, path, pixels } of example.samples) {
    const button = document.createElement("button")
    if (path) {
      button.append(svg(path), label)
      button.onclick = () => replace(strokesOf(path))
    } else {
      const picture = Object.assign(document.createElement("canvas"), { width: example.size, height: example.size })
      paint(picture.getContext("2d"), pixels, example.size, example.max)
      button.append(picture, label)
      button.onclick = () => replace([], { picture, pixels })
    }
    find("samples").append(button)
  }

  find("clear").onclick = () => replace([])
  find("undo").onclick = () => replace(strokes.slice(0, -1))

  canvas.onpointerdown = (event) => {
    canvas.setPointerCapture(event.pointerId)
    if (sample) replace([])
    pen = null
    strokes.push([])
    canvas.onpointermove(event)
  }
  canvas.onpointermove = (event) => {
    if (!canvas.hasPointerCapture(event.pointerId)) return // it only hovers
    strokes.at(-1).push([event.offsetX, event.offsetY].map((along) => along * PAPER / canvas.clientWidth))
    redraw()
  }
  canvas.onlostpointercapture = changed

  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }
  const inside = (along) => Math.min(PAPER, Math.max(0, along))
  canvas.onkeydown = (event) => {
    const move = moves[event.key]
    if (event.key === "z" && (event.ctrlKey || event.metaKey)) find("undo").click()
    else if (event.key === "Delete" || event.key === "Backspace") find("clear").click()
    else if (!move && event.key !== " ") return
    else {
      if (sample) replace([])
      pen ??= { x: PAPER / 2, y: PAPER / 2, down: false }
      if (move) Object.assign(pen, { x: inside(pen.x + STEP * move[0]), y: inside(pen.y + STEP * move[1]) })
      else if ((pen.down = !pen.down)) strokes.push([[pen.x, pen.y]])
      if (move && pen.down) strokes.at(-1).push([pen.x, pen.y])
      changed()
    }
    event.preventDefault()
  }
  canvas.onfocus = canvas.onblur = redraw
  matchMedia("(prefers-color-scheme: dark)").onchange = redraw
  replace([])
}
