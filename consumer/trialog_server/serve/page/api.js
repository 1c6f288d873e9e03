// Questions to the service. The API key, where one is configured, lives in this tab only.
// Each is asked as of the moment that is looked at; while its tables are made, it is asked again.

import { moment, tellProgress, told } from "/page/moment.js";

const KEY_NAME = "trialog-api-key";
const AGAIN_MS = 1000;

export class ApiError extends Error {
  constructor(status, { code, message, value }) {
    super(message);
    this.status = status;
    this.code = code;
    this.value = value;
  }
}

export function rememberKey(key) {
  sessionStorage.setItem(KEY_NAME, key);
}

async function request(path, options = {}) {
  const headers = { ...options.headers };
  const key = sessionStorage.getItem(KEY_NAME);
  if (key) headers.Authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw new ApiError(0, { message: "The service cannot be reached. Is it running?" });
  }
  if (response.ok) return response;
  let error = { code: "Unknown", message: `The service answered ${response.status}.` };
  try {
    error = (await response.json()).error;
  } catch {
    // An answer without a JSON body: the status says it all.
  }
  throw new ApiError(response.status, error);
}

// Whole numbers beyond 2^53 become BigInt: a step or a parameter is shown as it is, not rounded.
function exact(_name, value, context) {
  if (!Number.isInteger(value) || Number.isSafeInteger(value)) return value;
  return /^-?\d+$/.test(context?.source) ? BigInt(context.source) : value;
}

export async function getJson(path) {
  const asked = turn;
  const found = JSON.parse(await (await answer(path)).text(), exact);
  if (found.as_of && asked === turn) told(found.as_of);
  return found;
}

export async function getBlob(path) {
  return (await answer(path)).blob();
}

let turn = 0;

// Another view is asked for: what waits for the one before is not asked again.
export function nextTurn() {
  turn += 1;
}

async function answer(path) {
  const asOf = moment();
  if (!asOf) return request(path);
  const then = `${path}${path.includes("?") ? "&" : "?"}${new URLSearchParams({ as_of: asOf })}`;
  const asked = turn;
  for (;;) {
    try {
      return await request(then);
    } catch (error) {
      if (error.code !== "SnapshotPending" || asked !== turn) throw error;
      tellProgress(error.value);
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }
}

export function runsPath(experiment) {
  return `/api/v1/experiments/${segment(experiment)}/runs`;
}

export function runPath(runId) {
  return `/api/v1/runs/${segment(runId)}`;
}

// A browser reads "." and ".." as steps through the path, however they are written.
function segment(name) {
  if (name === "." || name === "..") throw new Error(`Nothing is called ${name} here.`);
  return encodeURIComponent(name);
}

export function childrenPath(runId, token) {
  return `${runPath(runId)}/children${page(token)}`;
}

export function rejectionsPath(runId, token) {
  return `${runPath(runId)}/rejections${page(token)}`;
}

export function durabilityPath(runId) {
  return `${runPath(runId)}/durability`;
}

export function versionsPath(runId, token) {
  return `${runPath(runId)}/artifacts${page(token)}`;
}

function page(token) {
  return token ? `?${new URLSearchParams({ next_token: token })}` : "";
}

export function contentPath(runId, artifact) {
  const query = new URLSearchParams({ name: artifact.name, version: artifact.version });
  return `${runPath(runId)}/artifacts/content?${query}`;
}

export function bucketsPath(runId, metric, columns) {
  const query = new URLSearchParams({ name: metric, buckets: columns });
  return `${runPath(runId)}/series?${query}`;
}
