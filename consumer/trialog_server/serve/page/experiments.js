// The lists: experiments, and the runs of one.

import { getJson, runsPath } from "/page/api.js";
import { moment } from "/page/moment.js";
import {
  button, droppedCalls, experimentHash, link, node, numeric, ownValue, row, runLink, status, table,
  time, valueText,
} from "/page/nodes.js";

const PAGE_SIZE = 100;
const COLUMNS_MAX = 40;

// Which runs are ticked, by experiment; they stay so on the list's other pages.
const chosen = new Map();

export async function experimentsView(token) {
  const query = new URLSearchParams({ max_results: PAGE_SIZE });
  if (token) query.set("next_token", token);
  const page = await getJson(`/api/v1/experiments?${query}`);
  if (page.total === 0 && moment()) {
    const none = "There was no experiment then.";
    return { trail: [], content: [node("h1", {}, "Experiments"), node("p", {}, none)] };
  }
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
      link(experimentHash(experiment.experiment_name), experiment.experiment_name),
      numeric(experiment.run_count),
      time(experiment.last_modified_time),
      experiment.description,
    ]),
  );
  const content = [
    node("h1", {}, "Experiments ", node("small", {}, String(page.total))),
    table(["name", { text: "runs", numeric: true }, "last change", "description"], rows),
    nextPage("#/", page.next_token),
  ];
  return { trail: [], content };
}

function nextPage(hash, token) {
  if (!token) return null;
  return node("p", {}, link(`${hash}?next=${encodeURIComponent(token)}`, "Next page"));
}

function columns(runs, kind) {
  const found = new Set();
  for (const run of runs) Object.keys(run[kind]).forEach((name) => found.add(name));
  const all = [...found].sort();
  return { names: all.slice(0, COLUMNS_MAX), hidden: Math.max(all.length - COLUMNS_MAX, 0) };
}

// The runs of an experiment by its name or, as MLflow's client has it, by its number.
export async function namedView(experiment, token) {
  try {
    return await runsView(experiment, token);
  } catch (error) {
    const isNumber = error.status === 404 && /^\d+$/.test(experiment);
    const name = isNumber ? await nameOfNumber(Number(experiment)) : null;
    if (!name) throw error;
    return runsView(name, token);
  }
}

async function nameOfNumber(number) {
  if (number === 0) return "Default";
  const query = new URLSearchParams({ max_results: PAGE_SIZE });
  for (;;) {
    const page = await getJson(`/api/v1/experiments?${query}`);
    const found = page.experiments.find((experiment) => experiment.number === number);
    if (found || !page.next_token) return found?.experiment_name;
    query.set("next_token", page.next_token);
  }
}

async function runsView(experiment, token) {
  const query = new URLSearchParams({ max_results: PAGE_SIZE });
  if (token) query.set("next_token", token);
  const page = await getJson(`${runsPath(experiment)}?${query}`);
  const title = node("h1", {}, experiment, " ", node("small", {}, `${page.total} runs`));
  const trail = [experiment];
  if (page.runs.length === 0) {
    const none = moment() ? "This experiment had no runs then." : "This experiment has no runs.";
    return { trail, content: [title, node("p", {}, none)] };
  }
  const { names: parameters, hidden: hiddenParameters } = columns(page.runs, "parameters");
  const { names: metrics, hidden: hiddenMetrics } = columns(page.runs, "metrics");
  const hasLosses = page.runs.some((run) => losses(run) > 0);
  const { bar, tick } = choice(experiment);
  const rows = page.runs.map((run) =>
    row([
      [tick(run), runLink(run)],
      status(run),
      time(run.creation_time),
      ...parameters.map((name) => parameterCell(run, name)),
      ...metrics.map((name) => numeric(ownValue(run.metrics, name)?.last)),
      count(run.rejected_count),
      ...(hasLosses ? [count(losses(run))] : []),
    ]),
  );
  const heads = [
    "run", "status", "created",
    ...parameters.map((text) => ({ text, group: "parameters" })),
    ...metrics.map((text) => ({ text, group: "metrics, last value", numeric: true })),
    "refused",
    ...(hasLosses ? ["lost"] : []),
  ];
  const more = nextPage(experimentHash(experiment), page.next_token);
  const note = hiddenNote(hiddenParameters, hiddenMetrics);
  return { trail, content: [title, note, bar, table(heads, rows), more] };
}

function parameterCell(run, name) {
  return Object.hasOwn(run.parameters, name) ? valueText(run.parameters[name]) : "";
}

function hiddenNote(parameters, metrics) {
  if (parameters + metrics === 0) return null;
  const text = `${parameters} more parameters and ${metrics} more metrics are shown with each run.`;
  return node("p", { class: "note" }, text);
}

// Events that never came and calls that found no place: not refused, but not there.
function losses(run) {
  return run.missing_count + droppedCalls(run);
}

function count(several) {
  return several ? node("span", { class: "refused" }, String(several)) : "0";
}

// The ticks of a list and the bar that leads to their comparison.
function choice(experiment) {
  if (!chosen.has(experiment)) chosen.set(experiment, new Set());
  const ids = chosen.get(experiment);
  const bar = node("p", { class: "choice", "aria-live": "polite" });
  const show = () => {
    const compare = link(`#/compare?runs=${[...ids].join(",")}`, `Compare ${ids.size} runs`);
    const clear = button("Choose none", () => {
      ids.clear();
      document.querySelectorAll("input.tick").forEach((it) => (it.checked = false));
      show();
    });
    const hint = ids.size === 0 ? "Tick two runs or more to compare them." : "Tick another run.";
    bar.replaceChildren(ids.size < 2 ? hint : compare, " ", ids.size ? clear : "");
  };
  const tick = (run) => {
    const label = `compare ${run.run_name}`;
    const box = node("input", { type: "checkbox", class: "tick", "aria-label": label });
    box.checked = ids.has(run.run_id);
    box.addEventListener("change", () => {
      if (box.checked) ids.add(run.run_id);
      else ids.delete(run.run_id);
      show();
    });
    return box;
  };
  show();
  return { bar, tick };
}
