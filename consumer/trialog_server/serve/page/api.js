// Questions to the service. The API key, where one is configured, lives in this tab only.

const KEY_NAME = "trialog-api-key";

export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
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
    throw new ApiError(0, "Unreachable", "The service cannot be reached. Is it running?");
  }
  if (response.ok) return response;
  let error = { code: "Unknown", message: `The service answered ${response.status}.` };
  try {
    error = (await response.json()).error;
  } catch {
    // An answer without a JSON body: the status says it all.
  }
  throw new ApiError(response.status, error.code, error.message);
}

// Whole numbers beyond 2^53 become BigInt: a step or a parameter is shown as it is, not rounded.
function exact(_name, value, context) {
  if (!Number.isInteger(value) || Number.isSafeInteger(value)) return value;
  return /^-?\d+$/.test(context?.source) ? BigInt(context.source) : value;
}

export async function getJson(path) {
  return JSON.parse(await (await request(path)).text(), exact);
}

export async function getBlob(path) {
  return (await request(path)).blob();
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
