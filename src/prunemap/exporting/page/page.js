/* The page: pictures in, classes and speed out. The networks run in worker.js. */
const SHOWN_CLASSES = 5;
const SHOW_EVERY_MS = 150;
const CAMERA_WAIT_MS = 100;
const at = (id) => document.getElementById(id);
const info = await (await fetch("page.json")).json();
const [channels, height, width] = info.inputShape;
const small = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
let isPaused = false, stream, shownAt = 0;

/* The middle of the picture, as large as fits, on the scale that the network was trained with; (C, H, W). */
function classify(source, sourceWidth, sourceHeight) {
  const scale = Math.max(width / sourceWidth, height / sourceHeight);
  const [cutWidth, cutHeight] = [width / scale, height / scale];
  const cut = [(sourceWidth - cutWidth) / 2, (sourceHeight - cutHeight) / 2, cutWidth, cutHeight];
  const shown = at("shown").getContext("2d");
  for (const canvas of [small, shown]) {
    canvas.imageSmoothingQuality = "high";
    canvas.fillStyle = "white"; /* behind pictures with holes */
    canvas.fillRect(0, 0, canvas.canvas.width, canvas.canvas.height);
    canvas.drawImage(source, ...cut, 0, 0, canvas.canvas.width, canvas.canvas.height);
  }
  worker.postMessage({ input: normalised(small.getImageData(0, 0, width, height).data) });
}

function normalised(pixels) {
  const size = width * height, input = new Float32Array(channels * size);
  for (let channel = 0; channel < channels; channel++) {
    for (let i = 0; i < size; i++) {
      const [red, green, blue] = pixels.subarray(4 * i, 4 * i + 3);
      const value = channels === 1 ? 0.299 * red + 0.587 * green + 0.114 * blue : pixels[4 * i + channel];
      input[channel * size + i] = (value / 255 - info.mean[channel]) / info.std[channel];
    }
  }
  return input;
}

const isHidden = () => document.hidden;
const updateRunning = () => worker.postMessage({ isRunning: !isPaused && !isHidden() });

function say(text, isBad = false) {
  at("status").textContent = text;
  at("status").classList.toggle("bad", isBad);
}

async function showPicture(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  classify(image, image.naturalWidth, image.naturalHeight);
}

function press(button) {
  for (const other of at("pictures").children) other.setAttribute("aria-pressed", other === button);
}

function addPictures() {
  for (const { file, name } of info.pictures) {
    const button = document.createElement("button"), image = document.createElement("img");
    [button.type, button.title, image.src, image.alt] = ["button", name, file, name];
    button.append(image);
    button.onclick = () => {
      stopCamera();
      press(button);
      return showPicture(file);
    };
    at("pictures").append(button);
  }
}

function stopCamera() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = undefined;
  at("camera").setAttribute("aria-pressed", "false");
}

async function startCamera() {
  if (!navigator.mediaDevices) throw new Error("the camera needs https, or http://localhost");
  const video = at("video");
  stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  at("camera").setAttribute("aria-pressed", "true");
  press(undefined);
  video.srcObject = stream;
  await video.play();
  while (stream) {
    if (!isPaused && !isHidden()) classify(video, video.videoWidth, video.videoHeight);
    await new Promise((resolve) => setTimeout(resolve, CAMERA_WAIT_MS));
  }
  video.srcObject = null;
}

function shares(scores) {
  const top = Math.max(...scores), powers = Array.from(scores, (score) => Math.exp(score - top));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

function showClasses(pruned, dense) {
  const order = pruned.map((_, k) => k).sort((a, b) => pruned[b] - pruned[a]).slice(0, SHOWN_CLASSES);
  const rows = order.map((k) => {
    const row = document.createElement("li");
    const [name, share] = [document.createElement("span"), document.createElement("span")];
    name.textContent = info.classes[k];
    share.textContent = `${(100 * pruned[k]).toFixed(0)} %`;
    row.append(name, share, ...[pruned, dense].map((each) => bar(each[k])));
    return row;
  });
  at("classes").replaceChildren(...rows);
}

function bar(share) {
  const [outer, inner] = [document.createElement("div"), document.createElement("i")];
  outer.className = "bar";
  inner.style.width = `${100 * share}%`;
  outer.append(inner);
  return outer;
}

function showRound(found) {
  const now = performance.now();
  if (now - shownAt < SHOW_EVERY_MS) return;
  shownAt = now;
  showClasses(shares(found.pruned.scores), shares(found.dense.scores));
  if (!found.dense.rounds || !found.pruned.rounds) return;
  for (const name of ["dense", "pruned"]) {
    at(`${name}-ms`).textContent = found[name].ms.toPrecision(3);
    at(`${name}-fps`).textContent = Math.round(1000 / found[name].ms).toLocaleString("en");
  }
  at("faster").textContent = `${(found.dense.ms / found.pruned.ms).toFixed(1)}x`;
  document.body.dataset.state = "timed";
}

function showReady(about) {
  const parts = Object.entries(about).map(([name, { check }]) => {
    const result = check.passed ? "checked" : "WRONG";
    return `${name} ${result} against ${check.madeBy} (error ${check.maxRelativeError.toExponential(1)})`;
  });
  const isBad = Object.values(about).some(({ check }) => !check.passed);
  say(`WebAssembly ${about.pruned.variant} · ${parts.join(" · ")}`, isBad);
}

const RECEIVERS = {
  progress: ({ name, loaded, total }) => say(`Loading ${name}: ${Math.round((100 * loaded) / total)} %`),
  ready: ({ about }) => showReady(about),
  round: ({ found }) => showRound(found),
  failed: ({ message }) => say(message, true),
};

worker.onmessage = ({ data }) => RECEIVERS[data.kind](data);
worker.onerror = (event) => say(`The worker could not start: ${event.message ?? "unknown reason"}`, true);
addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  stopCamera();
  say(event.reason.message, true);
});
document.addEventListener("visibilitychange", updateRunning);
at("camera").onclick = () => (stream ? stopCamera() : startCamera());
at("pause").onclick = () => {
  isPaused = !isPaused;
  at("pause").setAttribute("aria-pressed", isPaused);
  updateRunning();
};
at("file").onchange = async ({ target }) => {
  const [file] = target.files;
  if (!file) return;
  stopCamera();
  press(undefined);
  const url = URL.createObjectURL(file);
  await showPicture(url).finally(() => URL.revokeObjectURL(url));
};

at("about").textContent = `${info.network}: ${info.classes.length} classes, ${width}x${height} pixels.`;
for (const name of ["dense", "pruned"]) at(`${name}-size`).textContent = `${(info.weightBytes[name] / 1e3).toFixed(0)} kB of weights`;
addPictures();
if (info.pictures.length) at("pictures").firstElementChild.click();
updateRunning();
