// One run with everything: facts, children, parameters, metrics, artifacts, refusals.

import {
  childrenPath, durabilityPath, getJson, rejectionsPath, runPath,
} from "/page/api.js";
import { artifactSections } from "/page/artifacts.js";
import { drawMetric } from "/page/chart.js";
import { moment } from "/page/moment.js";
import {
  button, droppedCalls, experimentHash, facts, link, node, numeric, pagedSection, row, runLink,
  section, status, table, time, valueText,
} from "/page/nodes.js";

const SUMMARY = ["last", "min", "max", "mean", "points", "last step"];

export async function runView(runId) {
  const [run, durability, refusals, children] = await Promise.all([
    getJson(runPath(runId)), durabilityOf(runId), refusalsPage(runId), childrenPage(runId),
  ]);
  const parameters = Object.entries(run.parameters);
  const content = [
    node("h1", {}, run.run_name),
    facts(factsOf(run, durability)),
    pagedSection("Children", ["run", "status", "created", "experiment"], children,
      (token) => childrenPage(runId, token)),
    section("Parameters", ["name", "value"],
      parameters.map(([name, it]) => row([name, valueText(it)]))),
    metricsSection(run),
    ...artifactSections(run),
    pagedSection("Refused", ["code", "name", "value", "why", "when", "position in the log"],
      refusals, (token) => refusalsPage(runId, token)),
    durability && gapsSection(durability),
  ];
  const experiment = link(experimentHash(run.experiment_name), run.experiment_name);
  return { trail: [experiment, run.run_name], content };
}

function factsOf(run, durability) {
  const parent = run.parent_run_name === null
    ? "a deleted run"
    : runLink({ run_id: run.parent_run_id, run_name: run.parent_run_name });
  return [
    ["experiment", link(experimentHash(run.experiment_name), run.experiment_name)],
    ["status", status(run)],
    ["failure", run.failure_message],
    ["parent", run.parent_run_id ? parent : null],
    ["started", time(run.start_time)],
    ["ended", time(run.end_time)],
    ["last event", time(run.last_event_time)],
    ["by", [run.created_by.user, run.created_by.host].filter(Boolean).join(" on ")],
    ["points", String(run.points)],
    ["refused by the rules", String(run.rejected_count)],
    ["events missing", String(run.missing_count)],
    ["events", durability ? eventsText(durability) : "counted for the present alone"],
    ["calls dropped", String(droppedCalls(run))],
    ["id", node("code", {}, run.run_id)],
    ...Object.entries(run.tags).map(([key, tag]) => [`tag ${key}`, tag]),
  ].filter(([, fact]) => fact);
}

// How far the log is applied and sealed is a fact of the present, and cannot be asked about then.
function durabilityOf(runId) {
  return moment() ? null : getJson(durabilityPath(runId));
}

// How far the run's events are: one line of counts, the waiting ones being records of its partition.
function eventsText({ applied, sealed, log }) {
  const counts = [`${applied} applied`, `${sealed} sealed`];
  if (log?.end > log?.applied) {
    counts.push(`${log.end - log.applied} records of its part of the log not applied yet`);
  }
  return counts.join(", ");
}

function gapsSection({ gaps, missing_count: missing }) {
  const shown = gaps.reduce((count, it) => count + it.events, 0);
  const title = shown < missing ? `Missing, ${shown} of ${missing} events` : "Missing";
  const what = (it) => (it.events ? numeric(it.events) : "none: its chain is broken here");
  return section(title, ["events", "from seq", "to seq", "writer", "seen at"],
    gaps.map((it) => row([
      what(it), numeric(it.first_seq), numeric(it.last_seq), it.writer_id, it.position,
    ])));
}

async function childrenPage(runId, token) {
  const page = await getJson(childrenPath(runId, token));
  const rows = page.children.map((it) =>
    row([
      runLink(it),
      status(it),
      time(it.creation_time),
      link(experimentHash(it.experiment_name), it.experiment_name),
    ]),
  );
  return { rows, token: page.next_token };
}

async function refusalsPage(runId, token) {
  const page = await getJson(rejectionsPath(runId, token));
  const rows = page.rejections.map((it) =>
    row([it.code, it.name, it.value, it.message, time(it.time), it.position]),
  );
  return { rows, token: page.next_token };
}

function metricsSection(run) {
  const entries = Object.entries(run.metrics);
  if (entries.length === 0) return null;
  const chart = node("div", { class: "chart" });
  const caption = node("h3", { "aria-live": "polite" }, "");
  const buttons = new Map();
  const show = (name) => {
    caption.textContent = name;
    for (const [other, it] of buttons) it.setAttribute("aria-pressed", other === name);
    drawMetric(chart, run.run_id, name).catch((error) => chart.replaceChildren(error.message));
  };
  const rows = entries.map(([name, it]) => {
    buttons.set(name, button(name, () => show(name), { class: "name" }));
    return row([
      buttons.get(name), ...[it.last, it.min, it.max, it.mean, it.count, it.last_step].map(numeric),
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
