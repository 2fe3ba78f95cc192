// The two plots beside the panes: HU along a line, and CT against synthetic CT.

const HU = [-1000, 2000];
const BINS = 120;
const BOX = { left: 120, right: 1200, top: 24, bottom: 580 };

function axes(canvas, xs, ys, xTitle, yTitle, box) {
  const g = canvas.getContext("2d");
  g.setTransform(1, 0, 0, 1, 0, 0);
  g.clearRect(0, 0, canvas.width, canvas.height);
  const x = (v) => box.left + ((v - xs[0]) / (xs[1] - xs[0])) * (box.right - box.left);
  const y = (v) => box.bottom - ((v - ys[0]) / (ys[1] - ys[0])) * (box.bottom - box.top);
  g.font = "26px system-ui, sans-serif";
  g.fillStyle = "#4a5560";
  g.strokeStyle = "#dfe4e8";
  g.lineWidth = 2;
  g.textAlign = "center";
  for (const v of ticks(xs)) {
    line(g, [[x(v), box.top], [x(v), box.bottom]]);
    g.fillText(v, x(v), box.bottom + 36);
  }
  g.fillText(xTitle, (box.left + box.right) / 2, box.bottom + 80);
  g.textAlign = "right";
  for (const v of ticks(ys)) {
    line(g, [[box.left, y(v)], [box.right, y(v)]]);
    g.fillText(v, box.left - 12, y(v) + 9);
  }
  g.save();
  g.translate(box.left - 92, (box.top + box.bottom) / 2);
  g.rotate(-Math.PI / 2);
  g.textAlign = "center";
  g.fillText(yTitle, 0, 0);
  g.restore();
  return { g, x, y };
}

const tenths = (v) => (Math.round(10 * v) / 10 || 0).toFixed(1); // never -0.0

function ticks([low, high]) {
  const rough = (high - low) / 6;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= rough);
  const values = [];
  for (let v = Math.ceil(low / step) * step; v <= high + 1e-9; v += step) values.push(Math.round(v));
  return values;
}

function line(g, points) {
  g.beginPath();
  points.forEach(([x, y]) => g.lineTo(x, y));
  g.stroke();
}

function drawProfile() {
  const axis = state.axis;
  const n = patient.shape[axis];
  const step = patient.spacing[axis];
  const cells = Array.from({ length: n }, (_, k) => {
    const at = [...state.at];
    at[axis] = n - 1 - k; // as on the screen: from the right, from the front
    return index(...at);
  });
  const spread = state.choice < 0 && current.spread;
  const ends = cells.flatMap((i) => {
    const s = spread ? spread[i] : 0;
    return [current.ct[i], current.sct[i] - s, current.sct[i] + s];
  });
  const ys = [Math.min(...ends, -100), Math.max(...ends, 100)];
  const from = axis ? "front" : "patient’s right";
  const canvas = byId("profile");
  const { g, x, y } = axes(canvas, [0, n * step], ys, `mm from the ${from}`, "HU", BOX);
  const mm = (k) => x((k + 0.5) * step);
  if (spread) {
    const above = cells.map((i, k) => [mm(k), y(current.sct[i] + spread[i])]);
    const below = cells.map((i, k) => [mm(k), y(current.sct[i] - spread[i])]).reverse();
    g.fillStyle = "rgba(0, 114, 178, 0.2)";
    g.beginPath();
    [...above, ...below].forEach(([a, b]) => g.lineTo(a, b));
    g.fill();
  }
  const here = mm(n - 1 - state.at[axis]);
  g.strokeStyle = "#9aa5ae";
  line(g, [[here, BOX.top], [here, BOX.bottom]]);
  g.lineWidth = 4;
  g.strokeStyle = "#1d252c";
  line(g, cells.map((i, k) => [mm(k), y(current.ct[i])]));
  g.strokeStyle = "#0072b2";
  g.setLineDash([14, 7]);
  line(g, cells.map((i, k) => [mm(k), y(current.sct[i])]));
  g.setLineDash([]);
  const band = spread ? "; band: one standard deviation of the draws" : "";
  const text = `Black: CT. Blue, dashed: ${current.label}${band}.`;
  byId("profile-text").textContent = text;
  const mae = cells.reduce((sum, i) => sum + Math.abs(current.sct[i] - current.ct[i]), 0) / n;
  canvas.ariaLabel = `HU along the cross-hair from the ${from}. ${text} Mean difference along the line ${mae.toFixed(0)} HU.`;
}

// Counts of body voxels [CT bin, synthetic CT bin] over the slices of the page, and their figures.
function jointHistogram({ ct, sct, mask }) {
  const counts = new Float64Array(BINS * BINS);
  const bin = (hu) => Math.min(BINS - 1, Math.max(0, Math.floor((BINS * (hu - HU[0])) / (HU[1] - HU[0]))));
  let n = 0, a = 0, b = 0, aa = 0, bb = 0, ab = 0;
  for (let i = 0; i < ct.length; i++) {
    if (!mask[i]) continue;
    counts[bin(sct[i]) * BINS + bin(ct[i])]++;
    n++;
    a += ct[i];
    b += sct[i];
    aa += ct[i] * ct[i];
    bb += sct[i] * sct[i];
    ab += ct[i] * sct[i];
  }
  // Not finite where one of the two is the same everywhere.
  const correlation = (n * ab - a * b) / Math.sqrt((n * aa - a * a) * (n * bb - b * b));
  return { counts, n, bias: (b - a) / n, correlation };
}

function drawHistogram() {
  const { counts, n, bias, correlation } = current.joint;
  const canvas = byId("histogram");
  const side = { ...BOX, left: 342, right: 342 + BOX.bottom - BOX.top };
  const { g, x, y } = axes(canvas, HU, HU, "CT (HU)", `${current.label} (HU)`, side);
  const top = Math.log1p(counts.reduce((most, c) => Math.max(most, c), 0));
  const width = (side.right - side.left) / BINS;
  const hu = (k) => HU[0] + (k * (HU[1] - HU[0])) / BINS;
  counts.forEach((c, k) => {
    if (!c) return;
    const level = Math.round(255 * (1 - (0.15 + 0.85 * (Math.log1p(c) / top))));
    const pixel = maps.spread[level];
    g.fillStyle = `rgb(${pixel & 255}, ${(pixel >> 8) & 255}, ${(pixel >> 16) & 255})`;
    g.fillRect(x(hu(k % BINS)), y(hu(Math.floor(k / BINS) + 1)), width + 0.5, width + 0.5);
  });
  g.strokeStyle = "#4a5560";
  g.setLineDash([10, 8]);
  line(g, [[x(HU[0]), y(HU[0])], [x(HU[1]), y(HU[1])]]);
  g.setLineDash([]);
  const i = index(...state.at);
  const clip = (v) => Math.min(HU[1], Math.max(HU[0], v));
  g.lineWidth = 4;
  g.strokeStyle = "#0072b2";
  g.beginPath();
  g.arc(x(clip(current.ct[i])), y(clip(current.sct[i])), 11, 0, 2 * Math.PI);
  g.stroke();
  const related = Number.isFinite(correlation) ? `Correlation ${correlation.toFixed(3)}, mean` : "Mean";
  const text = n
    ? `${n.toLocaleString("en")} body voxels of the slices here, darker where more (logarithmic); ring: the cross-hair. ` +
      `${related} error ${tenths(bias)} HU.`
    : "No body in the slices here.";
  byId("histogram-text").textContent = text;
  canvas.ariaLabel = `Joint histogram of CT and ${current.label}. ${text}`;
}
