"use strict";

const at = (id) => document.getElementById(id);
let picture = null; // the chosen image, as a data URI

const say = (text, isBad = false) => {
  at("status").textContent = text;
  at("status").classList.toggle("bad", isBad);
};

const headers = () => {
  const found = { "Content-Type": "application/json" };
  if (at("key").value) found.Authorization = `Bearer ${at("key").value}`;
  return found;
};

// Ask the server, and throw an Error with its sentence if it refuses.
const ask = async (path, body) => {
  const options = body ? { method: "POST", body: JSON.stringify(body) } : {};
  const response = await fetch(path, { ...options, headers: headers() });
  const answer = await response.json().catch(() => ({}));
  if (response.status === 401) {
    at("key").hidden = at("key-label").hidden = false;
    at("key").focus();
  }
  if (!response.ok) throw new Error(answer.error?.message ?? `the server answered with status ${response.status}`);
  return answer;
};

const show = (file) => {
  if (!file || !file.type.startsWith("image/")) return say("This is not an image.", true);
  const reader = new FileReader();
  reader.onload = () => {
    picture = reader.result;
    at("preview").src = picture;
    at("preview").alt = file.name || "the chosen image";
    at("preview").hidden = false;
    at("hint").textContent = file.name || "pasted image";
    say("");
  };
  reader.readAsDataURL(file);
};

const drawBars = (labels) => {
  at("bars").replaceChildren(...labels.map(({ label, probability }) => {
    const row = document.createElement("li");
    const part = (name, text) => {
      const span = document.createElement("span");
      span.className = name;
      span.textContent = text;
      row.append(span);
      return span;
    };
    part("label", label);
    part("number", `${(100 * probability).toFixed(1)} %`);
    part("fill", "").style.width = `${100 * probability}%`;
    return row;
  }));
};

at("picture").addEventListener("change", (event) => show(event.target.files[0]));
for (const name of ["dragenter", "dragover"]) {
  at("drop").addEventListener(name, (event) => { event.preventDefault(); at("drop").classList.add("over"); });
}
for (const name of ["dragleave", "drop"]) {
  at("drop").addEventListener(name, () => at("drop").classList.remove("over"));
}
at("drop").addEventListener("drop", (event) => { event.preventDefault(); show(event.dataTransfer.files[0]); });
document.addEventListener("paste", (event) => { if (event.clipboardData.files[0]) show(event.clipboardData.files[0]); });

at("labels-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const labels = at("labels").value.split("\n").map((line) => line.trim()).filter(Boolean);
  if (!picture) return say("Choose an image first.", true);
  if (!labels.length) return say("Write at least one label.", true);
  const button = event.submitter ?? event.target.querySelector("button");
  button.disabled = true;
  say("Classifying ...");
  try {
    const answer = await ask("classify", { images: [picture], labels, templates: [at("template").value], top_k: labels.length });
    drawBars(answer.data[0].labels);
    say("");
  } catch (error) {
    at("bars").replaceChildren();
    say(error.message, true);
  } finally {
    button.disabled = false;
  }
});

ask("v1/models").then((answer) => { at("model").textContent = answer.data[0].id; }).catch((error) => say(error.message, true));
