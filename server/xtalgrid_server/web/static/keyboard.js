// Which key was pressed, on any keyboard.

// The key of a keydown event. Letters are small, whatever Caps Lock says; a letter of another alphabet, such as
// Cyrillic, is the Latin one in its place. Where digits need Shift, as on French and Czech keyboards, a key of their row
// is its digit without Shift too if `takes(digit)`, else what is written on it, such as - for zooming out. So is one of
// the number pad, which types other digits in Arabic and Persian.
export function keyOf(event, takes) {
  const { key, code } = event;
  if (key.length !== 1) return key;  // Escape, ArrowLeft
  const [, digit] = /^(?:Digit|Numpad)([0-9])$/.exec(code) ?? [];
  if (digit && !event.shiftKey && !event.getModifierState("AltGraph") && takes(digit)) return digit;
  const letter = key.toLowerCase(), [, place] = /^Key([A-Z])$/.exec(code) ?? [];
  return place && /^\p{L}$/u.test(letter) && !/^\p{Script=Latin}$/u.test(letter) ? place.toLowerCase() : letter;
}
