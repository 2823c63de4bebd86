// What the reviewing pages share: words for those who listen, and the shield over sensitive images.

export function announce(text) {
  const region = document.getElementById("announce");
  // The same words twice in a row are read twice only if the region was empty in between.
  region.textContent = "";
  setTimeout(() => (region.textContent = text), 30);
}

// Blur on or off, here at once; resolves to what it is now and whether the server has kept it.
export async function toggleShield() {
  const root = document.documentElement;
  const on = root.dataset.shield !== "on";
  root.dataset.shield = on ? "on" : "off";
  const form = document.getElementById("shield-form");
  form.elements.shield.checked = on;
  const headers = { "HX-Request": "true" };
  const saved = await fetch(form.action, { method: "POST", body: new FormData(form), headers }).then((answer) => answer.ok, () => false);
  announce(`Blur ${on ? "on" : "off"}${saved ? "" : " here, but this was not saved"}.`);
  return { on, saved };
}
