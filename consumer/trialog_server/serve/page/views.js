// The views of the page: each gives its content and the trail that leads to it.
// Every text goes in as text: no name is ever read as HTML.

import { contentPath, getBlob, getJson, runPath, runsPath } from "/page/api.js";
import { drawMetric } from "/page/chart.js";

const PICTURES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);
const PAGE_SIZE = 100;
const COLUMNS_MAX = 40;
const TITLE_FROM_CHARS = 24;
const SUMMARY = ["last", "min", "max", "mean", "points", "last step"];

export function node(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") element.addEventListener("click", value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function link(hash, text) {
  return node("a", { href: hash }, text);
}

function table(heads, rows) {
  return node(
    "div",
    { class: "scroll" },
    node(
      "table",
      {},
      node("thead", {}, ...groupsOf(heads), node("tr", {}, ...heads.map(head))),
      node("tbody", {}, ...rows),
    ),
  );
}

// A head is a text, or {text, group, numeric}: heads of one group stand under its name.
function head(it) {
  return node("th", { scope: "col", class: it.numeric ? "number" : null }, it.text ?? it);
}

function groupsOf(heads) {
  if (!heads.some((it) => it.group)) return [];
  const cells = [];
  for (const { group = "" } of heads) {
    const last = cells.at(-1);
    if (last?.textContent === group) last.colSpan += 1;
    else cells.push(node("th", group ? { scope: "colgroup" } : {}, group));
  }
  return [node("tr", { class: "groups" }, ...cells)];
}

function row(cells) {
  const shown = (it) => (it instanceof Numeric ? cell(it.text, true) : cell(it));
  return node("tr", {}, ...cells.map(shown));
}

// What is cut off at the end of a narrow cell can be read in full under the pointer.
function cell(content, isNumeric = false) {
  const title = typeof content === "string" && content.length > TITLE_FROM_CHARS ? content : null;
  return node("td", { class: isNumeric ? "number" : null, title }, content ?? "");
}

class Numeric {
  constructor(value) {
    this.text = number(value);
  }
}

function numeric(value) {
  return new Numeric(value);
}

function facts(pairs) {
  const rows = pairs.map(([name, fact]) =>
    node("tr", {}, node("th", { scope: "row" }, name), node("td", {}, fact)),
  );
  const body = node("tbody", {}, ...rows);
  return node("div", { class: "scroll" }, node("table", { class: "facts" }, body));
}

function number(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number") return String(value);
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6)));
}

function value(parameter) {
  return typeof parameter === "string" ? parameter : JSON.stringify(parameter);
}

function time(text) {
  return text ? new Date(text).toLocaleString() : "";
}

function status(run) {
  return node("span", { class: `status ${run.status.toLowerCase()}` }, run.status);
}

export async function experimentsView(token) {
  const query = new URLSearchParams({ max_results: PAGE_SIZE });
  if (token) query.set("next_token", token);
  const page = await getJson(`/api/v1/experiments?${query}`);
  if (page.total === 0) {
    const content = [
      node("h1", {}, "Experiments"),
      node("p", {}, "Nothing is here yet. Log a first run:"),
      node(
        "pre",
        {},
        'import trialog\n\nwith trialog.Run("first-experiment") as run:\n' +
          '    run.log_parameter("lr", 0.1)\n    run.log_metric("loss", 0.5, 0)\n',
      ),
    ];
    return { trail: [], content };
  }
  const rows = page.experiments.map((experiment) =>
    row([
      link(`#/experiments/${encodeURIComponent(experiment.experiment_name)}`,
        experiment.experiment_name),
      numeric(experiment.run_count),
      time(experiment.last_modified_time),
      experiment.description,
    ]),
  );
  const content = [
    node("h1", {}, "Experiments ", node("small", {}, String(page.total))),
    table(["name", { text: "runs", numeric: true }, "last change", "description"], rows),
    next("#/", page.next_token),
  ];
  return { trail: [], content };
}

function next(hash, token) {
  if (!token) return null;
  return node("p", {}, link(`${hash}?next=${encodeURIComponent(token)}`, "Next page"));
}

function columns(runs, kind) {
  const found = new Set();
  for (const run of runs) Object.keys(run[kind]).forEach((name) => found.add(name));
  const all = [...found].sort();
  return { names: all.slice(0, COLUMNS_MAX), hidden: Math.max(all.length - COLUMNS_MAX, 0) };
}

export async function runsView(experiment, token) {
  const query = new URLSearchParams({ max_results: PAGE_SIZE });
  if (token) query.set("next_token", token);
  const page = await getJson(`${runsPath(experiment)}?${query}`);
  const title = node("h1", {}, experiment, " ", node("small", {}, `${page.total} runs`));
  const trail = [experiment];
  if (page.runs.length === 0) {
    return { trail, content: [title, node("p", {}, "This experiment has no runs.")] };
  }
  const { names: parameters, hidden: hiddenParameters } = columns(page.runs, "parameters");
  const { names: metrics, hidden: hiddenMetrics } = columns(page.runs, "metrics");
  const rows = page.runs.map((run) =>
    row([
      link(`#/runs/${run.run_id}`, run.run_name),
      status(run),
      time(run.creation_time),
      ...parameters.map((name) => shownOf(run.parameters, name, value)),
      ...metrics.map((name) => shownOf(run.metrics, name, (it) => numeric(it.last))),
      rejected(run),
    ]),
  );
  const heads = [
    "run", "status", "created",
    ...parameters.map((text) => ({ text, group: "parameters" })),
    ...metrics.map((text) => ({ text, group: "metrics, last value", numeric: true })),
    "refused",
  ];
  const more = next(`#/experiments/${encodeURIComponent(experiment)}`, page.next_token);
  const note = hiddenNote(hiddenParameters, hiddenMetrics);
  return { trail, content: [title, note, table(heads, rows), more] };
}

function hiddenNote(parameters, metrics) {
  if (parameters + metrics === 0) return null;
  const text = `${parameters} more parameters and ${metrics} more metrics are shown with each run.`;
  return node("p", { class: "note" }, text);
}

// A run may lack a name that every object has, such as "constructor".
function shownOf(values, name, show) {
  return Object.hasOwn(values, name) ? show(values[name]) : "";
}

function rejected(run) {
  if (!run.rejected_count) return "0";
  return node("span", { class: "refused" }, String(run.rejected_count));
}

export async function runView(runId) {
  const path = runPath(runId);
  const [run, refusals] = await Promise.all([getJson(path), getJson(`${path}/rejections`)]);
  const experiment = `#/experiments/${encodeURIComponent(run.experiment_name)}`;
  const known = [
    ["experiment", link(experiment, run.experiment_name)],
    ["status", status(run)],
    ["failure", run.failure_message],
    ["parent", run.parent_run_id ? link(`#/runs/${run.parent_run_id}`, run.parent_run_name) : null],
    ["started", time(run.start_time)],
    ["ended", time(run.end_time)],
    ["by", [run.created_by.user, run.created_by.host].filter(Boolean).join(" on ")],
    ["points", String(run.points)],
    ["id", node("code", {}, run.run_id)],
    ...Object.entries(run.tags).map(([key, tag]) => [`tag ${key}`, tag]),
  ].filter(([, fact]) => fact);
  const content = [
    node("h1", {}, run.run_name),
    facts(known),
    section("Parameters", Object.entries(run.parameters).map(([name, it]) => row([name, value(it)])),
      ["name", "value"]),
    metricsSection(run),
    await artifactsSection(run),
    section(refusedTitle(refusals), refusals.rejections.map((it) =>
      row([it.code, it.name, it.value, it.message, time(it.time), it.position])),
      ["code", "name", "value", "why", "when", "position in the log"]),
  ];
  return { trail: [link(experiment, run.experiment_name), run.run_name], content };
}

function refusedTitle({ rejections, next_token: hasMore }) {
  return hasMore ? `Refused, the first ${rejections.length}` : "Refused";
}

function section(title, rows, heads) {
  if (rows.length === 0) return null;
  return node("section", {}, node("h2", {}, title), table(heads, rows));
}

function metricsSection(run) {
  const entries = Object.entries(run.metrics);
  if (entries.length === 0) return null;
  const chart = node("div", { class: "chart" });
  const caption = node("h3", { "aria-live": "polite" }, "");
  const buttons = new Map();
  const show = (name) => {
    caption.textContent = name;
    for (const [other, button] of buttons) button.setAttribute("aria-pressed", other === name);
    drawMetric(chart, run.run_id, name).catch((error) => chart.replaceChildren(error.message));
  };
  const rows = entries.map(([name, it]) => {
    const attributes = { type: "button", class: "name", onclick: () => show(name) };
    const button = node("button", attributes, name);
    buttons.set(name, button);
    return row([
      button, ...[it.last, it.min, it.max, it.mean, it.count, it.last_step].map(numeric),
    ]);
  });
  // A metric that has something to draw comes first.
  const first = entries.find(([, it]) => typeof it.min === "number") ?? entries[0];
  // The chart needs its width, so it is drawn once the section is on the page.
  const laidOut = new ResizeObserver(() => {
    if (chart.clientWidth === 0) return;
    laidOut.disconnect();
    show(first[0]);
  });
  laidOut.observe(chart);
  return node(
    "section",
    {},
    node("h2", {}, "Metrics"),
    caption,
    chart,
    table(["metric", ...SUMMARY.map((text) => ({ text, numeric: true }))], rows),
  );
}

async function artifactsSection(run) {
  if (run.artifacts.length === 0) return null;
  const rows = run.artifacts.map((artifact) =>
    row([
      artifact.sha256 ? download(run, artifact) : artifact.name,
      artifact.kind,
      artifact.media_type,
      numeric(artifact.size),
      artifact.is_output ? "output" : "input",
      artifact.uri ?? `version ${artifact.version}`,
    ]),
  );
  const pictures = run.artifacts.filter((it) => it.sha256 && PICTURES.has(it.media_type));
  const figures = await Promise.all(pictures.map((artifact) => picture(run, artifact)));
  return node(
    "section",
    {},
    node("h2", {}, "Artifacts"),
    table(["name", "kind", "type", { text: "bytes", numeric: true }, "direction", "where"], rows),
    node("div", { class: "pictures" }, ...figures),
  );
}

async function picture(run, artifact) {
  try {
    const source = URL.createObjectURL(await getBlob(contentPath(run.run_id, artifact)));
    const image = node("img", { src: source, alt: artifact.name });
    image.addEventListener("load", () => URL.revokeObjectURL(source));
    return node("figure", {}, image, node("figcaption", {}, artifact.name));
  } catch (error) {
    return node("p", { class: "error" }, `${artifact.name}: ${error.message}`);
  }
}

function download(run, artifact) {
  const button = node("button", { type: "button", class: "name" }, artifact.name);
  const save = async () => {
    const blob = await getBlob(contentPath(run.run_id, artifact));
    const anchor = node("a", {
      href: URL.createObjectURL(new Blob([blob], { type: "application/octet-stream" })),
      download: artifact.name.split("/").pop(),
    });
    anchor.click();
    URL.revokeObjectURL(anchor.href);
  };
  const failed = (error) =>
    button.after(node("span", { class: "error", role: "alert" }, ` ${error.message}`));
  button.addEventListener("click", () => save().catch(failed));
  return button;
}
