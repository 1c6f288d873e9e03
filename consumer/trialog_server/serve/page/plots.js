// Draws the documents that `Run.log_precision_recall`, `log_roc_curve` and `log_confusion_matrix`
// store: {type, version, title, data}. What they are is decided in producer/trialog/evaluation.py.

import { filled, node } from "/page/nodes.js";

const VERSION = 1;
const POINTS_MAX = 10_000;
const LABELS_SHOWN_MAX = 50;
const SHADE_MAX = 65; // percent; a number on it can still be read

const WIDTH_PX = 340;
const HEIGHT_PX = 300;
const PLOT = { left: 52, top: 10, width: 276, height: 242 };
const TICKS = [0, 0.25, 0.5, 0.75, 1];

const KINDS = {
  PrecisionRecallCurve: { name: "Precision and recall", draw: precisionRecall },
  ROCCurve: { name: "ROC curve", draw: roc },
  ConfusionMatrix: { name: "Confusion matrix", draw: confusion },
};

// Whether an artifact of this name holds such a document, if it is JSON.
export function isPlotName(name) {
  return Object.hasOwn(KINDS, name.split("/")[0]);
}

// The elements of a plot, or one sentence that says why there is none. Never throws.
export function plotOf(text) {
  try {
    const it = JSON.parse(text);
    const kind = Object.hasOwn(KINDS, it?.type) ? KINDS[it.type] : null;
    if (!kind) throw new Unreadable("it does not say which plot it is");
    if (it.version !== VERSION) {
      throw new Unreadable(`it has version ${short(it.version)} and this page knows ${VERSION}`);
    }
    const title = typeof it.title === "string" ? `${kind.name}: ${it.title}` : kind.name;
    return [node("h3", {}, title), ...kind.draw(it.data ?? {}, title)];
  } catch (error) {
    const why = error instanceof Unreadable ? error.message : "it is no JSON";
    return [node("p", { class: "note" }, `This plot cannot be drawn: ${why}. Download it instead.`)];
  }
}

class Unreadable extends Error {}

function short(value) {
  return String(JSON.stringify(value)).slice(0, 40);
}

function precisionRecall(data, title) {
  const recall = shares(data, "recall");
  const precision = shares(data, "precision", recall.length);
  const area = `average precision ${share(data, "averagePrecisionScore").toFixed(4)}`;
  // Between two thresholds the precision is that of the higher recall, as in the average.
  const points = recall.flatMap((x, at) => (at ? [[x, precision[at - 1]]] : []).concat([[x, precision[at]]]));
  const base = data.noSkill === null || data.noSkill === undefined ? null : share(data, "noSkill");
  const guess = base === null ? null : [[0, base], [1, base]];
  return [
    note(area, omitted(data), guess ? `dashed: no skill, ${base}` : null),
    curve(["recall", "precision"], points, guess, `${title}, ${area}`),
  ];
}

function roc(data, title) {
  const x = shares(data, "falsePositiveRate");
  const y = shares(data, "truePositiveRate", x.length);
  const area = `area under the curve ${share(data, "areaUnderCurve").toFixed(4)}`;
  const guess = [[0, 0], [1, 1]];
  return [
    note(area, omitted(data), "dashed: no skill"),
    curve(["false positive rate", "true positive rate"], x.map((it, at) => [it, y[at]]), guess,
      `${title}, ${area}`),
  ];
}

function confusion(data, title) {
  const { labels, confusionMatrix: matrix } = data;
  const isCount = (it) => Number.isInteger(it) && it >= 0;
  const isRow = (it) => Array.isArray(it) && it.length === labels.length && it.every(isCount);
  if (!Array.isArray(labels) || labels.length === 0) throw new Unreadable("it has no labels");
  if (!Array.isArray(matrix) || matrix.length !== labels.length || !matrix.every(isRow)) {
    throw new Unreadable(`its matrix is not ${labels.length} × ${labels.length} counts`);
  }
  if (labels.length > LABELS_SHOWN_MAX) {
    throw new Unreadable(`it has ${labels.length} labels, above ${LABELS_SHOWN_MAX} nobody can read`);
  }
  const names = labels.map((it) => (typeof it === "string" ? it : short(it)));
  const heads = names.map((name) => node("th", { scope: "col" }, name));
  const rows = matrix.map((counts, at) => {
    const all = counts.reduce((sum, it) => sum + it, 0);
    const cells = counts.map((it, other) => shaded(it, all, [names[at], names[other]]));
    return node("tr", {}, node("th", { scope: "row" }, names[at]), cells);
  });
  const right = matrix.reduce((sum, counts, at) => sum + counts[at], 0);
  const all = matrix.flat().reduce((sum, it) => sum + it, 0);
  const accuracy = `${right} of ${all} right`;
  const across = node("th", { scope: "colgroup", colspan: names.length }, "predicted");
  const head = node("thead", {}, node("tr", {}, node("td"), across),
    node("tr", {}, node("th", { scope: "col" }, "true"), heads));
  const shown = node("table", { class: "confusion", "aria-label": title }, head,
    node("tbody", {}, rows));
  return [
    note(accuracy, "coloured by the share of its row"),
    node("div", { class: "scroll" }, shown),
  ];
}

function shaded(count, all, [truth, predicted]) {
  const text = `${count} of ${all} of ${truth} were predicted as ${predicted}`;
  const cell = node("td", { class: "number", title: text }, String(count));
  const percent = all ? (SHADE_MAX * count) / all : 0;
  cell.style.background = `color-mix(in srgb, var(--accent) ${percent.toFixed(1)}%, transparent)`;
  return cell;
}

function shares(data, name, length) {
  const values = data[name];
  const isShare = (it) => typeof it === "number" && it >= 0 && it <= 1;
  if (!Array.isArray(values) || !values.every(isShare)) {
    throw new Unreadable(`its ${name} is not a list of numbers from 0 to 1`);
  }
  if (values.length < 2 || values.length > POINTS_MAX || values.length !== (length ?? values.length)) {
    throw new Unreadable(`its ${name} has ${values.length} values`);
  }
  return values;
}

function share(data, name) {
  return shares({ [name]: [data[name], data[name]] }, name)[0];
}

function omitted(data) {
  return data.pointsOmitted > 0 ? `${data.pointsOmitted} points are left out` : null;
}

function note(...parts) {
  return node("p", { class: "note" }, parts.filter(Boolean).join("; "));
}

function curve([xLabel, yLabel], points, guess, label) {
  const x = (it) => PLOT.left + it * PLOT.width;
  const y = (it) => PLOT.top + (1 - it) * PLOT.height;
  const path = (line) => line.map(([one, other]) => `${x(one).toFixed(2)},${y(other).toFixed(2)}`);
  const line = (kind, it) => svg("polyline", { class: kind, points: path(it).join(" ") });
  const grid = TICKS.flatMap((it) => [
    line("grid", [[it, 0], [it, 1]]),
    line("grid", [[0, it], [1, it]]),
    words(x(it), y(0) + 16, "middle", it),
    words(x(0) - 6, y(it) + 4, "end", it),
  ]);
  const up = svg("g", { transform: `translate(12 ${y(0.5)}) rotate(-90)` },
    words(0, 0, "middle", yLabel));
  const attributes = {
    class: "curve", role: "img", "aria-label": label, viewBox: `0 0 ${WIDTH_PX} ${HEIGHT_PX}`,
    width: WIDTH_PX, height: HEIGHT_PX,
  };
  return svg("svg", attributes, grid, guess ? line("guess", guess) : null, line("line", points),
    words(x(0.5), HEIGHT_PX - 8, "middle", xLabel), up);
}

function words(x, y, anchor, text) {
  return svg("text", { x, y, "text-anchor": anchor }, String(text));
}

function svg(tag, attributes, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}
