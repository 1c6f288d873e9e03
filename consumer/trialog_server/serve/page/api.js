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

export async function getJson(path) {
  return (await request(path)).json();
}

export async function postJson(path, body) {
  const headers = { "Content-Type": "application/json" };
  return (await request(path, { method: "POST", headers, body: JSON.stringify(body) })).json();
}

export async function getBlob(path) {
  return (await request(path)).blob();
}

export function runsPath(experiment) {
  return `/api/v1/experiments/${encodeURIComponent(experiment)}/runs`;
}

export function runPath(runId) {
  return `/api/v1/runs/${encodeURIComponent(runId)}`;
}

export function contentPath(runId, artifact) {
  const query = new URLSearchParams({ name: artifact.name, version: artifact.version });
  return `${runPath(runId)}/artifacts/content?${query}`;
}

export function bucketsPath(runId, metric, columns) {
  const query = new URLSearchParams({ name: metric, buckets: columns });
  return `${runPath(runId)}/series?${query}`;
}
