// The two plots below the panes: HU along a line, and CT against synthetic CT.

const HU = [-1000, 2000];
const BINS = 120;
const BOX = { left: 120, right: 1200, top: 24, bottom: 580 };
const SQUARE = { ...BOX, left: 342, right: 342 + BOX.bottom - BOX.top };
const BLUE = "#0072b2";

// Draws axes with the ranges `xs` and `ys` inside `box`. Returns the context, functions from a value
// to its pixel along each axis, and a function that draws a line through points.
function drawAxes(canvas, xs, ys, xTitle, yTitle, box) {
  const g = canvas.getContext("2d");
  g.reset();
  const x = (v) => box.left + ((v - xs[0]) / (xs[1] - xs[0])) * (box.right - box.left);
  const y = (v) => box.bottom - ((v - ys[0]) / (ys[1] - ys[0])) * (box.bottom - box.top);
  const line = (points, strokeStyle, lineWidth = 2, dashes = []) => {
    Object.assign(g, { strokeStyle, lineWidth });
    g.setLineDash(dashes);
    g.beginPath();
    points.forEach(([a, b]) => g.lineTo(x(a), y(b)));
    g.stroke();
  };
  Object.assign(g, { font: "26px system-ui, sans-serif", fillStyle: "#4a5560", textAlign: "center" });
  for (const v of ticks(xs)) {
    line(ys.map((end) => [v, end]), "#dfe4e8");
    g.fillText(v, x(v), box.bottom + 36);
  }
  g.fillText(xTitle, (box.left + box.right) / 2, box.bottom + 80);
  g.textAlign = "right";
  for (const v of ticks(ys)) {
    line(xs.map((end) => [end, v]), "#dfe4e8");
    g.fillText(v, box.left - 12, y(v) + 9);
  }
  g.save();
  g.translate(box.left - 92, (box.top + box.bottom) / 2);
  g.rotate(-Math.PI / 2);
  g.textAlign = "center";
  g.fillText(yTitle, 0, 0);
  g.restore();
  return { g, x, y, line };
}

function ticks([low, high]) {
  const rough = (high - low) / 6;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= rough);
  const first = Math.ceil(low / step);
  const count = Math.floor(high / step + 1e-9) - first + 1;
  return Array.from({ length: count }, (_, k) => Math.round((first + k) * step));
}

function drawProfile() {
  const { axis, at } = state;
  const n = patient.shape[axis];
  const step = patient.spacing[axis];
  // In the order of the screen: from the patient's right, or from the front.
  const voxels = Array.from({ length: n }, (_, k) => index(...at.with(axis, n - 1 - k)));
  const mm = (k) => (k + 0.5) * step;
  const spread = state.choice < 0 && current.spread;
  const edge = (sign) => voxels.map((i, k) => [mm(k), current.sct[i] + (spread ? sign * spread[i] : 0)]);
  const [below, above, ct] = [edge(-1), edge(1), voxels.map((i, k) => [mm(k), current.ct[i]])];
  const values = [...below, ...above, ...ct].map(([, hu]) => hu);
  const ys = [Math.min(...values, -100), Math.max(...values, 100)];
  const from = axis ? "front" : "patient’s right";
  const canvas = byId("profile");
  const { g, x, y, line } = drawAxes(canvas, [0, n * step], ys, `mm from the ${from}`, "HU", BOX);
  if (spread) {
    g.fillStyle = "rgba(0, 114, 178, 0.2)";
    g.beginPath();
    [...above, ...below.reverse()].forEach(([a, b]) => g.lineTo(x(a), y(b)));
    g.fill();
  }
  line(ys.map((hu) => [mm(n - 1 - at[axis]), hu]), "#9aa5ae");
  line(ct, "#1d252c", 4);
  line(edge(0), BLUE, 4, [14, 7]);
  const band = spread ? "; band: one standard deviation of the draws" : "";
  const text = `Black: CT. Blue, dashed: ${current.label}${band}.`;
  byId("profile-text").textContent = text;
  const mae = voxels.reduce((sum, i) => sum + Math.abs(current.sct[i] - current.ct[i]), 0) / n;
  canvas.ariaLabel = `HU along the cross-hair from the ${from}. ${text} Mean absolute difference along the line ${mae.toFixed(0)} HU.`;
}

// Counts the body voxels in bins of synthetic CT and CT over the page's slices, and compares the two.
function jointHistogram({ ct, sct, mask }) {
  const counts = new Float64Array(BINS * BINS);
  const bin = (hu) => Math.min(BINS - 1, Math.max(0, Math.floor((BINS * (hu - HU[0])) / (HU[1] - HU[0]))));
  let [n, a, b, aa, bb, ab] = [0, 0, 0, 0, 0, 0];
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
  // Not finite if the CT or the synthetic CT is constant.
  const correlation = (n * ab - a * b) / Math.sqrt((n * aa - a * a) * (n * bb - b * b));
  return { counts, n, bias: (b - a) / n, correlation };
}

function drawHistogram() {
  const { counts, n, bias, correlation } = current.joint;
  const canvas = byId("histogram");
  const { g, x, y, line } = drawAxes(canvas, HU, HU, "CT (HU)", `${current.label} (HU)`, SQUARE);
  const top = Math.log1p(counts.reduce((most, c) => Math.max(most, c), 0));
  const width = (SQUARE.right - SQUARE.left) / BINS + 0.5;
  const hu = (k) => HU[0] + (k * (HU[1] - HU[0])) / BINS;
  counts.forEach((c, k) => {
    if (!c) return;
    const pixel = maps.spread[Math.round(255 * (0.85 - 0.85 * (Math.log1p(c) / top)))];
    g.fillStyle = `rgb(${pixel & 255}, ${(pixel >> 8) & 255}, ${(pixel >> 16) & 255})`;
    g.fillRect(x(hu(k % BINS)), y(hu(Math.floor(k / BINS) + 1)), width, width);
  });
  line(HU.map((v) => [v, v]), "#4a5560", 2, [10, 8]);
  const [ct, sct] = [current.ct, current.sct].map((voxels) => Math.min(HU[1], Math.max(HU[0], voxels[index(...state.at)])));
  Object.assign(g, { strokeStyle: BLUE, lineWidth: 4 });
  g.setLineDash([]);
  g.beginPath();
  g.arc(x(ct), y(sct), 11, 0, 2 * Math.PI);
  g.stroke();
  const related = Number.isFinite(correlation) ? `Correlation ${correlation.toFixed(3)}, mean` : "Mean";
  const error = (Math.round(10 * bias) / 10 || 0).toFixed(1); // never -0.0
  const text = n
    ? `${n.toLocaleString("en")} body voxels of the slices here. Darker bins hold more (logarithmic); ring: the cross-hair. ` +
      `${related} error ${error} HU.`
    : "No body in the slices here.";
  byId("histogram-text").textContent = text;
  canvas.ariaLabel = `Joint histogram of CT and ${current.label}. ${text}`;
}
