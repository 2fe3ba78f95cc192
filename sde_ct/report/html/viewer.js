// Linked axial panes with one cross-hair. Voxels x, y, z have axes nearest to RAS+; on the screen
// the patient's right is on the left and anterior is up.

const byId = (id) => document.getElementById(id);
const panes = new Map(
  [...document.querySelectorAll("#panes figure")].map((figure) => [figure.dataset.pane, figure]),
);
const state = { patient: 0, method: 0, choice: -1, at: [0, 0, 0], axis: 0, width: 400, level: 40 };
const colours = JSON.parse(byId("colours").textContent);
const maps = { error: lookup(colours.error), spread: lookup(colours.spread) };
let patient; // the data of the patient shown
let shown; // its voxels: mr, ct, mask, sct, spread (mr and spread may be null)
let turn = 0; // of the newest request: an older one that is decoded later is dropped

const index = (x, y, z) => (z * patient.shape[1] + y) * patient.shape[0] + x;
const count = () => patient.shape[0] * patient.shape[1] * patient.shape[2];

function voxels(text) {
  return text === null ? null : volume(text, count());
}

async function load() {
  const mine = ++turn;
  byId("viewer").setAttribute("aria-busy", "true");
  const method = patient.methods[state.method];
  const text = state.choice < 0 ? method.mean : method.draws[state.choice];
  const mr = patient.mr && patient.mr.data;
  const all = await Promise.all([mr, patient.ct, patient.mask, text, method.spread].map(voxels));
  if (mine !== turn) return;
  shown = Object.fromEntries(["mr", "ct", "mask", "sct", "spread"].map((name, i) => [name, all[i]]));
  const mean = method.ofDraws > 1 ? `, mean of ${method.ofDraws}` : "";
  shown.label = method.name + (state.choice < 0 ? mean : `, draw ${state.choice + 1}`);
  shown.joint = joint(shown);
  draw();
  byId("viewer").setAttribute("aria-busy", "false");
}

function choosePatient(number) {
  const before = patient && patient.methods[state.method].name;
  state.patient = number;
  decoded.clear();
  clear();
  patient = JSON.parse(byId(`patient-${number}`).textContent);
  state.at = patient.shape.map((n) => Math.floor(n / 2));
  fill(byId("method"), patient.methods.map((method) => method.name));
  const same = patient.methods.findIndex((method) => method.name === before);
  byId("slice").max = patient.shape[2];
  const uncertain = patient.methods.findIndex((method) => method.spread);
  chooseMethod(Math.max(same < 0 ? uncertain : same, 0));
}

// Nothing of the patient before may stand under the name of the next while that is decoded.
function clear() {
  shown = null;
  for (const canvas of document.querySelectorAll("#panes .picture canvas, .plots canvas")) {
    canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
    canvas.ariaLabel = "";
  }
  const texts = "#panes output, #position, #profile-text, #histogram-text";
  for (const text of document.querySelectorAll(texts)) text.textContent = "";
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

function fill(select, texts) {
  select.replaceChildren(...texts.map((text, i) => new Option(text, i)));
}

// What a pane holds in a voxel, and its colour there.
const read = {
  mr: (i) => shown.mr[i] * patient.mr.slope,
  ct: (i) => shown.ct[i],
  sct: (i) => shown.sct[i],
  error: (i) => shown.sct[i] - shown.ct[i],
  spread: (i) => shown.spread[i],
};

function range(pane) {
  if (pane === "mr") return patient.mr.window;
  if (pane === "error") return colours.errorWindow;
  if (pane === "spread") return [0, patient.spreadTop];
  return [state.level - state.width / 2, state.level + state.width / 2];
}

const absent = (pane) => (pane === "mr" || pane === "spread") && shown[pane] === null;

function draw() {
  const [x, y, z] = state.at;
  const [nx, ny] = patient.shape;
  byId("slice").value = z + 1;
  const slice = `${patient.first + z + 1} of ${patient.depth}`; // of the volume, all shown or not
  byId("slice-text").textContent = slice;
  for (const [pane, figure] of panes) {
    figure.hidden = absent(pane);
    if (figure.hidden) continue;
    drawPane(pane, figure.querySelector("canvas"), z);
    const picture = figure.querySelector(".picture");
    picture.style.aspectRatio = `${nx * patient.spacing[0]} / ${ny * patient.spacing[1]}`;
    figure.querySelector(".down").style.left = `${(100 * (nx - x - 0.5)) / nx}%`;
    figure.querySelector(".across").style.top = `${(100 * (ny - y - 0.5)) / ny}%`;
    const value = read[pane](index(x, y, z));
    const text = pane === "mr" ? `${+value.toPrecision(4)} a.u.` : `${value} HU`;
    const name = pane === "sct" ? shown.label : figure.querySelector(".name").textContent;
    if (pane === "sct") figure.querySelector(".name").textContent = name;
    figure.querySelector("output").textContent = text;
    figure.querySelector("canvas").ariaLabel = `${name}, slice ${slice}: ${text} at the cross-hair`;
    bar(pane, figure);
  }
  byId("position").textContent = `${where()} · ${sliceError(z)}`;
  drawProfile();
  drawHistogram();
}

function drawPane(pane, canvas, z) {
  const [nx, ny] = patient.shape;
  const [low, high] = range(pane);
  const map = maps[pane];
  const image = new ImageData(nx, ny);
  for (let row = 0, out = 0; row < ny; row++) {
    for (let column = 0; column < nx; column++, out += 4) {
      const i = index(nx - 1 - column, ny - 1 - row, z);
      const share = Math.min(1, Math.max(0, (read[pane](i) - low) / (high - low)));
      const level = Math.round(255 * share);
      const outside = map && !shown.mask[i];
      for (let c = 0; c < 3; c++) {
        image.data[out + c] = outside ? colours.outside : map ? map[3 * level + c] : level;
      }
      image.data[out + 3] = 255;
    }
  }
  canvas.width = nx;
  canvas.height = ny;
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function bar(pane, figure) {
  const place = figure.querySelector(".bar");
  if (!place) return;
  const [low, high] = range(pane);
  place.firstElementChild.textContent = low;
  place.lastElementChild.textContent = high;
  const image = new ImageData(256, 1);
  for (let i = 0; i < 256; i++) {
    image.data.set([...maps[pane].subarray(3 * i, 3 * i + 3), 255], 4 * i);
  }
  place.querySelector("canvas").getContext("2d").putImageData(image, 0, 0);
}

// The voxel as the CT's file counts it from 0, and its place in the patient.
function where() {
  const at = [state.at[0], state.at[1], state.at[2] + patient.first];
  const size = [patient.shape[0], patient.shape[1], patient.depth];
  const file = patient.file.map(([axis, way]) => (way > 0 ? at[axis] : size[axis] - 1 - at[axis]));
  const mm = patient.affine.map((line) => line[0] * at[0] + line[1] * at[1] + line[2] * at[2] + line[3]);
  const named = mm.map((v, i) => `${(v < 0 ? "LPI" : "RAS")[i]} ${Math.abs(v).toFixed(1)}`).join(", ");
  return `Voxel ${file.join(", ")} of the CT’s file · ${named} mm`;
}

function sliceError(z) {
  let sum = 0;
  let n = 0;
  for (let i = index(0, 0, z); i < index(0, 0, z + 1); i++) {
    if (shown.mask[i]) {
      sum += Math.abs(shown.sct[i] - shown.ct[i]);
      n++;
    }
  }
  return n ? `MAE in this slice’s body ${(sum / n).toFixed(1)} HU` : "no body in this slice";
}

function move(...steps) {
  if (!shown) return;
  const to = state.at.map((v, i) => Math.min(patient.shape[i] - 1, Math.max(0, v + (steps[i] || 0))));
  if (to.every((v, i) => v === state.at[i])) return false;
  state.at = to;
  draw();
  return true;
}

function point(event) {
  const picture = event.target.closest(".picture");
  if (!picture || !shown || !event.buttons) return;
  const box = picture.getBoundingClientRect();
  const [nx, ny] = patient.shape;
  const column = Math.floor((nx * (event.clientX - box.left)) / box.width);
  const row = Math.floor((ny * (event.clientY - box.top)) / box.height);
  move(nx - 1 - column - state.at[0], ny - 1 - row - state.at[1]);
}

function press(group, chosen) {
  for (const button of group.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button === chosen));
  }
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
for (const button of document.querySelectorAll("[data-width]")) {
  button.addEventListener("click", () => {
    Object.assign(state, { width: Number(button.dataset.width), level: Number(button.dataset.level) });
    press(button.parentElement, button);
    if (shown) draw();
  });
}
for (const button of document.querySelectorAll("[data-axis]")) {
  button.addEventListener("click", () => {
    state.axis = Number(button.dataset.axis);
    press(button.parentElement, button);
    if (shown) drawProfile();
  });
}
byId("panes").addEventListener("pointerdown", point);
byId("panes").addEventListener("pointermove", point);
byId("panes").addEventListener("wheel", (e) => {
  // At the first and the last slice the page scrolls on.
  if (e.target.closest(".picture") && move(0, 0, -Math.sign(e.deltaY))) e.preventDefault();
}, { passive: false });
byId("panes").addEventListener("keydown", (e) => {
  if (!KEYS[e.key]) return;
  e.preventDefault();
  move(...KEYS[e.key]);
});
choosePatient(0);
