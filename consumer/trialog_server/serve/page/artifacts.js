// A run's artifacts: what can be shown is shown, everything can be downloaded, every version too.
// Nothing that was uploaded is ever a document of its own: pictures are images, HTML is text.

import { contentPath, getBlob, getJson, versionsPath } from "/page/api.js";
import {
  addressOf, button, complaint, node, numeric, pagedSection, row, table, time,
} from "/page/nodes.js";
import { isPlotName, plotOf } from "/page/plots.js";

const PICTURES = new Set([
  "image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml",
]);
const TEXTS = /^(text\/.+|application\/(json|xml|yaml|x-yaml|toml|javascript|x-sh|.+\+(json|xml)))$/;
const PREVIEW_BYTES_MAX = 65_536;
const NUMERIC_BYTES = { text: "bytes", numeric: true };

export function artifactSections(run) {
  if (run.artifacts.length === 0) return [];
  const figures = node("div", { class: "figures" });
  const rows = run.artifacts.map((artifact) =>
    row([
      artifact.sha256 ? download(run, artifact) : artifact.name,
      artifact.kind,
      artifact.media_type,
      numeric(artifact.size),
      artifact.is_output ? "output" : "input",
      artifact.uri ? addressOf(artifact.uri) : `version ${artifact.version}`,
      formOf(artifact) === "text" ? showButton(run, artifact, figures) : "",
    ]),
  );
  const drawn = run.artifacts.filter((it) => ["plot", "picture"].includes(formOf(it)));
  figures.append(...drawn.map((artifact) => figure(run, artifact)));
  const heads = ["name", "kind", "type", NUMERIC_BYTES, "direction", "where", ""];
  return [
    node("section", {}, node("h2", {}, "Artifacts"), table(heads, rows), versions(run, figures)),
    figures,
  ];
}

// How an artifact can be shown: as a plot, a picture, a text, or not at all (null).
function formOf(artifact) {
  const type = (artifact.media_type ?? "").split(";")[0].trim().toLowerCase();
  if (!artifact.sha256) return null;
  if (type === "application/json" && isPlotName(artifact.name)) return "plot";
  if (PICTURES.has(type)) return "picture";
  return TEXTS.test(type) ? "text" : null;
}

// The versions are asked for when somebody wants to see them.
function versions(run, figures) {
  if (!run.artifacts.some((artifact) => artifact.version > 1)) return null;
  const all = node("details", {}, node("summary", {}, "All versions"));
  const bring = async (token) => {
    const page = await getJson(versionsPath(run.run_id, token));
    return { rows: page.artifacts.map((it) => versionRow(run, it, figures)), token: page.next_token };
  };
  const heads = ["name", { text: "version", numeric: true }, "type", NUMERIC_BYTES, "when", ""];
  const open = async () => {
    try {
      all.append(pagedSection("Versions", heads, await bring(null), bring));
    } catch (error) {
      all.append(complaint(error));
    }
  };
  all.addEventListener("toggle", open, { once: true });
  return all;
}

function versionRow(run, artifact, figures) {
  return row([
    artifact.sha256 ? download(run, artifact) : artifact.name,
    numeric(artifact.version),
    artifact.media_type,
    numeric(artifact.size),
    time(artifact.time),
    formOf(artifact) ? showButton(run, artifact, figures) : "",
  ]);
}

function showButton(run, artifact, figures) {
  let shown = null;
  const toggle = () => {
    if (shown?.isConnected) shown.remove();
    else {
      shown = figure(run, artifact);
      figures.append(shown);
    }
    it.setAttribute("aria-pressed", shown.isConnected);
  };
  const it = button("show", toggle, { "aria-label": `show ${labelOf(artifact)}` });
  return it;
}

function labelOf(artifact) {
  return artifact.version > 1 ? `${artifact.name}, version ${artifact.version}` : artifact.name;
}

// The figure is there at once and is filled when its bytes have come.
function figure(run, artifact) {
  const content = node("div", {}, "…");
  const caption = node("figcaption", {}, labelOf(artifact), " ", download(run, artifact, "download"));
  const fill = async () => {
    try {
      const blob = await getBlob(contentPath(run.run_id, artifact));
      content.replaceChildren(...(await SHOWN[formOf(artifact)](blob, artifact)));
    } catch (error) {
      content.replaceChildren(complaint(error));
    }
  };
  fill();
  return node("figure", { class: formOf(artifact) }, caption, content);
}

const SHOWN = {
  plot: async (blob) => plotOf(await blob.text()),
  picture: async (blob, artifact) => [await picture(blob, artifact)],
  text: async (blob) => {
    const text = await blob.slice(0, PREVIEW_BYTES_MAX).text();
    if (blob.size <= PREVIEW_BYTES_MAX) return [node("pre", {}, text)];
    const note = `The first ${PREVIEW_BYTES_MAX} of ${blob.size} bytes.`;
    return [node("p", { class: "note" }, note), node("pre", {}, text)];
  },
};

// In an image no script runs and nothing is loaded, also where it is SVG.
async function picture(blob, artifact) {
  const source = URL.createObjectURL(blob);
  const image = node("img", { src: source, alt: artifact.name });
  try {
    await image.decode();
  } catch {
    throw new Error(`This is no ${artifact.media_type} that can be shown; download it.`);
  } finally {
    URL.revokeObjectURL(source);
  }
  return image;
}

function download(run, artifact, text = artifact.name) {
  const save = async () => {
    const blob = await getBlob(contentPath(run.run_id, artifact));
    // Saved, never opened: the browser must find no type here that it would show.
    const anchor = node("a", {
      href: URL.createObjectURL(new Blob([blob], { type: "application/octet-stream" })),
      download: artifact.name.split("/").pop(),
    });
    anchor.click();
    URL.revokeObjectURL(anchor.href);
  };
  const it = button(text, () => save().catch((error) => it.after(complaint(error))), {
    class: "name",
    "aria-label": text === artifact.name ? null : `download ${labelOf(artifact)}`,
  });
  return it;
}
