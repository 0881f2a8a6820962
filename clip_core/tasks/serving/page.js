"use strict";

const at = (id) => document.getElementById(id);
let picture = null; // the chosen image, as a data URI
// The numbers of the last search, image and explanation: answers about earlier ones come too late.
let asked = 0;
let chosen = 0;
let explained = 0;

const say = (text, isBad = false) => {
  at("status").textContent = text;
  at("status").classList.toggle("bad", isBad);
};

const headers = () => (at("key").value ? { Authorization: `Bearer ${at("key").value}` } : {});

// Ask the server, and throw an Error with its sentence if it refuses.
const ask = async (path, body) => {
  const options = body ? { method: "POST", body: JSON.stringify(body) } : {};
  const response = await fetch(path, { ...options, headers: { "Content-Type": "application/json", ...headers() } });
  const answer = await response.json().catch(() => ({}));
  if (response.status === 401) {
    at("key-form").hidden = false;
    at("key").focus();
  }
  if (!response.ok) throw new Error(answer.error?.message ?? `the server answered with status ${response.status}`);
  return answer;
};

const greet = async () => {
  try {
    at("model").textContent = (await ask("v1/models")).data[0].id;
  } catch (error) {
    say(error.message, true);
  }
};
at("key-form").addEventListener("submit", (event) => { event.preventDefault(); say(""); greet(); });

const part = (tag, name, text, parent) => {
  const element = document.createElement(tag);
  element.className = name;
  element.textContent = text;
  parent.append(element);
  return element;
};

// Run the work of a form, and show its error in one sentence.
const run = async (form, doing, work) => {
  const button = form.querySelector("button[type=submit]");
  button.disabled = true;
  say(doing);
  try {
    say((await work()) ?? "");
  } catch (error) {
    say(error.message, true);
  } finally {
    button.disabled = false;
  }
};

// --- The image

const read = (blob) => new Promise((done, fail) => {
  const reader = new FileReader();
  reader.onload = () => done(reader.result);
  reader.onerror = () => fail(reader.error);
  reader.readAsDataURL(blob);
});

const hideExplanation = () => {
  explained++;
  at("explanation").hidden = true;
};

// Show an image and return true, unless it is none, or another one was chosen while it was read.
const show = async (file, name) => {
  if (!file?.type.startsWith("image/")) {
    say("This is not an image.", true);
    return false;
  }
  const number = ++chosen;
  const content = await read(file);
  if (number !== chosen) return false;
  picture = content;
  at("preview").src = picture;
  at("preview").alt = name || "the chosen image";
  at("hint").textContent = name || "pasted image";
  at("preview").hidden = at("clear").hidden = false;
  hideExplanation();
  at("bars").replaceChildren();
  say("");
  return true;
};

// A dropped, pasted or chosen image is searched for at once, where the search is shown.
const take = async (file) => {
  if ((await show(file, file?.name)) && !at("search-panel").hidden) search();
};

at("picture").addEventListener("change", (event) => { if (event.target.files.length) take(event.target.files[0]); });
// Anywhere on the page, because a browser leaves it to open a file that is dropped beside its place.
const isText = (event) => event.target.matches?.("input, textarea") && !event.dataTransfer.types.includes("Files");
for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => {
    if (isText(event)) return;
    event.preventDefault();
    at("drop").classList.add("over");
  });
}
for (const name of ["dragleave", "drop"]) {
  document.addEventListener(name, () => at("drop").classList.remove("over"));
}
document.addEventListener("drop", (event) => {
  if (isText(event)) return;
  event.preventDefault();
  take(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => { if (event.clipboardData.files.length) take(event.clipboardData.files[0]); });
at("clear").addEventListener("click", () => {
  picture = null;
  chosen++;
  at("preview").hidden = at("clear").hidden = true;
  hideExplanation();
  at("picture").value = "";
  at("hint").textContent = "Drop an image here, paste one, or choose a file";
  at("bars").replaceChildren();
  at("picture").focus();
});

// --- The tabs

const tabs = [...document.querySelectorAll("[role=tab]")];
const choose = (tab) => {
  for (const one of tabs) {
    const isChosen = one === tab;
    one.setAttribute("aria-selected", isChosen);
    one.tabIndex = isChosen ? 0 : -1;
    at(one.getAttribute("aria-controls")).hidden = !isChosen;
  }
  const searching = tab.id === "search-tab";
  at("hits").hidden = !searching;
  at("bars").hidden = searching;
  hideExplanation();
  say("");
};
tabs.forEach((tab, place) => {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    const next = tabs[(place + step + tabs.length) % tabs.length];
    choose(next);
    next.focus();
  });
});

// --- The search

const drawHit = (hit) => {
  const button = part("button", "", "", document.createElement("li"));
  button.type = "button";
  const image = part("img", "", "", button);
  image.alt = "";
  part("span", "number", hit.score.toFixed(3), button);
  part("span", "name", hit.name, button);
  if (hit.caption) part("span", "caption", hit.caption, button);
  if (hit.path) button.title = hit.path;
  // Not by the address of the image, because a request for that has no API key.
  const content = fetch(hit.thumbnail.slice(1), { headers: headers() }).then((answer) => (answer.ok ? answer.blob() : null));
  content.then((blob) => {
    if (!blob) return;
    image.onload = () => URL.revokeObjectURL(image.src);
    image.src = URL.createObjectURL(blob);
  }).catch(() => {});
  button.addEventListener("click", async () => {
    const blob = await content.catch(() => null);
    if (!blob) return say("The file of this image was deleted or changed.", true);
    at("query").value = at("without").value = "";
    await show(blob, hit.name);
    search();
  });
  return button.parentNode;
};

const search = () => {
  const texts = [at("query").value.trim()].filter(Boolean);
  const without = [at("without").value.trim()].filter(Boolean);
  const where = at("where").value.split(",").map((one) => one.trim()).filter(Boolean);
  if (!texts.length && !picture && !without.length) return say("Write some words or choose an image first.", true);
  const number = ++asked;
  run(at("search-form"), "Searching ...", async () => {
    const answer = await ask("search", { texts, images: picture ? [picture] : [], without, where, top_k: Number(document.body.dataset.hits) });
    if (number !== asked) return "";
    at("hits").replaceChildren(...answer.data.map(drawHit));
    return answer.data.length ? `${answer.data.length} images, the most similar first` : "No image meets the conditions.";
  });
};
at("search-form").addEventListener("submit", (event) => { event.preventDefault(); search(); });

// --- The labels

const explain = async (text) => {
  hideExplanation();
  const number = explained;
  say("Explaining ...");
  try {
    const [found] = (await ask("explain", { image: picture, texts: [text] })).data;
    if (number !== explained) return;
    at("overlay").src = found.overlay;
    at("overlay").alt = `the regions behind ${text}`;
    at("words").textContent = `${text}: ${found.words.map(({ word, share }) => `${word} ${(100 * share).toFixed(0)} %`).join(", ")}`;
    at("explanation").hidden = false;
    say("");
  } catch (error) {
    if (number === explained) say(error.message, true);
  }
};

const drawBar = ({ label, probability }, template) => {
  const row = document.createElement("li");
  const button = part("button", "", "", row);
  button.type = "button";
  part("span", "label", label, button);
  part("span", "number", `${(100 * probability).toFixed(1)} %`, button);
  part("span", "fill", "", button).style.width = `${100 * probability}%`;
  button.addEventListener("click", () => explain(template.replace("{}", () => label)));
  return row;
};

at("labels-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const labels = at("labels").value.split("\n").map((line) => line.trim()).filter(Boolean);
  if (!picture) return say("Choose an image first.", true);
  if (!labels.length) return say("Write at least one label.", true);
  const template = at("template").value;
  at("bars").replaceChildren();
  hideExplanation();
  const number = chosen;
  run(event.target, "Classifying ...", async () => {
    const answer = await ask("classify", { images: [picture], labels, templates: [template], top_k: labels.length });
    if (number !== chosen) return;
    at("bars").replaceChildren(...answer.data[0].labels.map((one) => drawBar(one, template)));
  });
});

if ("hits" in document.body.dataset) choose(at("search-tab"));
greet();
