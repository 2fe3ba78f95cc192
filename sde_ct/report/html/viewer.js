// Linked axial panes with one cross-hair. The axes x, y, z of voxels are nearest to RAS+. On the
// screen the patient's right is on the left, and anterior is up.

const byId = (id) => document.getElementById(id);
const select = (selector) => [...document.querySelectorAll(selector)];
const figures = new Map(select("#panes figure").map((figure) => [figure.dataset.pane, figure]));
const state = { method: 0, choice: -1, at: [0, 0, 0], axis: 0, width: 400, level: 40 };
const colours = JSON.parse(byId("colours").textContent);
// Pixels are 32-bit RGBA, red in the lowest byte.
const maps = { error: pixelsOf(colours.error), spread: pixelsOf(colours.spread) };
const gray = Uint32Array.from({ length: 256 }, (_, level) => 0xff000000 + 0x010101 * level);
let patient; // the data of the current patient
let current; // the decoded voxels: mr, ct, mask, sct, spread (mr and spread may be null)
let request = 0; // number of the newest request; results of older ones are ignored

const hu = () => [state.level - state.width / 2, state.level + state.width / 2];
// For each pane, the value of voxel i, and the values that get the first and the last colour.
const panes = {
  mr: { value: (i) => current.mr[i] * patient.mr.scale, range: () => patient.mr.window },
  ct: { value: (i) => current.ct[i], range: hu },
  sct: { value: (i) => current.sct[i], range: hu },
  error: { value: (i) => current.sct[i] - current.ct[i], range: () => colours.errorWindow },
  spread: { value: (i) => current.spread[i], range: () => [0, patient.spreadTop] },
};
const index = (x, y, z) => (z * patient.shape[1] + y) * patient.shape[0] + x;

async function load() {
  const mine = ++request;
  byId("viewer").setAttribute("aria-busy", "true");
  const method = patient.methods[state.method];
  const sct = state.choice < 0 ? method.mean : method.draws[state.choice];
  const texts = { mr: patient.mr && patient.mr.data, ct: patient.ct, mask: patient.mask, sct, spread: method.spread };
  const count = patient.shape.reduce((a, b) => a * b);
  const decoding = Object.values(texts).map((text) => (text === null ? null : volume(text, count)));
  const voxels = await Promise.all(decoding);
  if (mine !== request) return;
  current = Object.fromEntries(Object.keys(texts).map((name, i) => [name, voxels[i]]));
  const mean = method.ofDraws > 1 ? `, mean of ${method.ofDraws}` : "";
  current.label = method.name + (state.choice < 0 ? mean : `, draw ${state.choice + 1}`);
  current.joint = jointHistogram(current);
  draw();
  byId("viewer").setAttribute("aria-busy", "false");
}

function choosePatient(number) {
  const before = patient && patient.methods[state.method].name;
  decoded.clear();
  clear();
  patient = JSON.parse(byId(`patient-${number}`).textContent);
  state.at = patient.shape.map((n) => Math.floor(n / 2));
  fill(byId("method"), patient.methods.map((method) => method.name));
  byId("slice").max = patient.shape[2];
  const same = patient.methods.findIndex((method) => method.name === before);
  const uncertain = patient.methods.findIndex((method) => method.spread);
  chooseMethod(Math.max(same < 0 ? uncertain : same, 0));
}

// While a patient is decoded, nothing of the previous one may be shown under its name.
function clear() {
  current = null;
  for (const canvas of select("#panes .picture canvas, .plots canvas")) {
    canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
    canvas.ariaLabel = "";
  }
  const texts = "#panes output, #position, #profile-text, #histogram-text";
  for (const text of select(texts)) text.textContent = "";
}

function chooseMethod(number) {
  const method = patient.methods[number];
  state.method = number;
  byId("method").value = number;
  state.choice = Math.min(state.choice, method.draws.length - 1);
  const mean = method.ofDraws > 1 ? `mean of ${method.ofDraws} draws` : "prediction";
  fill(byId("choice"), [mean, ...method.draws.map((_, i) => `draw ${i + 1}`)]);
  byId("choice").value = state.choice + 1;
  byId("choice").disabled = method.draws.length === 0;
  load();
}

function fill(list, texts) {
  list.replaceChildren(...texts.map((text, i) => new Option(text, i)));
}

function draw() {
  const [x, y, z] = state.at;
  const [nx, ny] = patient.shape;
  byId("slice").value = z + 1;
  const slice = `${patient.first + z + 1} of ${patient.depth}`; // of the whole volume
  byId("slice-text").textContent = slice;
  for (const [pane, figure] of figures) {
    figure.hidden = current[pane] === null;
    if (figure.hidden) continue;
    const find = (selector) => figure.querySelector(selector);
    drawPane(pane, find("canvas"), z);
    find(".picture").style.aspectRatio = `${nx * patient.spacing[0]} / ${ny * patient.spacing[1]}`;
    find(".down").style.left = `${(100 * (nx - x - 0.5)) / nx}%`;
    find(".across").style.top = `${(100 * (ny - y - 0.5)) / ny}%`;
    if (pane === "sct") find(".name").textContent = current.label;
    const value = panes[pane].value(index(x, y, z));
    const text = pane === "mr" ? `${+value.toPrecision(4)} a.u.` : `${value} HU`;
    find("output").textContent = text;
    find("canvas").ariaLabel = `${find(".name").textContent}, slice ${slice}: ${text} at the cross-hair`;
    if (find(".bar")) drawBar(find(".bar"), maps[pane], panes[pane].range());
  }
  byId("position").textContent = `${position()} · ${sliceError(z)}`;
  drawProfile();
  drawHistogram();
}

function drawPane(pane, canvas, z) {
  const [nx, ny] = patient.shape;
  const { value, range } = panes[pane];
  const [low, high] = range();
  const map = maps[pane]; // panes without a map are grey and not limited to the body
  const pixels = new Uint32Array(nx * ny);
  for (let row = 0, k = 0; row < ny; row++) {
    for (let column = 0; column < nx; column++, k++) {
      const i = index(nx - 1 - column, ny - 1 - row, z);
      const level = Math.round(255 * Math.min(1, Math.max(0, (value(i) - low) / (high - low))));
      pixels[k] = map && !current.mask[i] ? gray[colours.outside] : (map || gray)[level];
    }
  }
  put(canvas, pixels, nx, ny);
}

function drawBar(bar, map, [low, high]) {
  bar.firstElementChild.textContent = low;
  bar.lastElementChild.textContent = high;
  put(bar.querySelector("canvas"), map, 256, 1);
}

function put(canvas, pixels, width, height) {
  Object.assign(canvas, { width, height });
  const bytes = new Uint8ClampedArray(pixels.buffer);
  canvas.getContext("2d").putImageData(new ImageData(bytes, width, height), 0, 0);
}

// The voxel's index in the CT's file, from 0, and its position in the patient.
function position() {
  const at = [state.at[0], state.at[1], state.at[2] + patient.first];
  const size = [patient.shape[0], patient.shape[1], patient.depth];
  const file = patient.file.map(([axis, way]) => (way > 0 ? at[axis] : size[axis] - 1 - at[axis]));
  const mm = patient.affine.map((line) => line[0] * at[0] + line[1] * at[1] + line[2] * at[2] + line[3]);
  const named = mm.map((v, i) => `${(v < 0 ? "LPI" : "RAS")[i]} ${Math.abs(v).toFixed(1)}`).join(", ");
  return `Voxel ${file.join(", ")} of the CT’s file · ${named} mm`;
}

function sliceError(z) {
  let [sum, n] = [0, 0];
  for (let i = index(0, 0, z); i < index(0, 0, z + 1); i++) {
    if (!current.mask[i]) continue;
    sum += Math.abs(current.sct[i] - current.ct[i]);
    n++;
  }
  return n ? `MAE in this slice’s body ${(sum / n).toFixed(1)} HU` : "no body in this slice";
}

// Moves the cross-hair by a number of voxels; returns false if it is already at the edge.
function move(...steps) {
  if (!current) return false;
  const to = state.at.map((v, i) => Math.min(patient.shape[i] - 1, Math.max(0, v + (steps[i] || 0))));
  if (to.every((v, i) => v === state.at[i])) return false;
  state.at = to;
  draw();
  return true;
}

function point(event) {
  const picture = event.target.closest(".picture");
  if (!picture || !current || !event.buttons) return;
  const box = picture.getBoundingClientRect();
  const [nx, ny] = patient.shape;
  const column = Math.floor((nx * (event.clientX - box.left)) / box.width);
  const row = Math.floor((ny * (event.clientY - box.top)) / box.height);
  move(nx - 1 - column - state.at[0], ny - 1 - row - state.at[1]);
}

const KEYS = {
  ArrowLeft: [1, 0, 0],
  ArrowRight: [-1, 0, 0],
  ArrowUp: [0, 1, 0],
  ArrowDown: [0, -1, 0],
  PageUp: [0, 0, 1],
  PageDown: [0, 0, -1],
};
byId("patient").addEventListener("change", (e) => choosePatient(Number(e.target.value)));
byId("method").addEventListener("change", (e) => chooseMethod(Number(e.target.value)));
byId("choice").addEventListener("change", (e) => {
  state.choice = Number(e.target.value) - 1;
  load();
});
byId("slice").addEventListener("input", (e) => move(0, 0, e.target.value - 1 - state.at[2]));
for (const button of select(".presets button")) {
  button.addEventListener("click", () => {
    for (const [name, text] of Object.entries(button.dataset)) state[name] = Number(text);
    for (const other of button.parentElement.children) other.ariaPressed = String(other === button);
    if (current) draw();
  });
}
for (const kind of ["pointerdown", "pointermove"]) byId("panes").addEventListener(kind, point);
byId("panes").addEventListener("wheel", (e) => {
  // At the first and the last slice, the wheel scrolls the page.
  if (e.target.closest(".picture") && move(0, 0, -Math.sign(e.deltaY))) e.preventDefault();
}, { passive: false });
byId("panes").addEventListener("keydown", (e) => {
  if (!KEYS[e.key]) return;
  e.preventDefault();
  move(...KEYS[e.key]);
});
choosePatient(0);
