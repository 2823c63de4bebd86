// Which letters and digits this person has moved, from <html data-keys="k:j,j:k">. `data-keys` of buttons and all code name
// a key by what it means on Winnow's own map; only here is it known where it lies.

const moved = new Map(
  (document.documentElement.dataset.keys || "").split(",").filter(Boolean).map((pair) => pair.split(":")),
);
const meanings = new Map([...moved].map(([own, pressed]) => [pressed, own]));

// What a pressed letter or digit means.
export const meaningOf = (pressed) => meanings.get(pressed.toLowerCase()) ?? pressed.toLowerCase();

// Where a key of Winnow's own map lies for this person.
export const placeOf = (own) => moved.get(own) ?? own;
