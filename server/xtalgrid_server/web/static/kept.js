// What the browser keeps: settings for good, and for a tab what should stay from page to page.

export function readSetting(key) {
  try { return localStorage.getItem(key); } catch { return null; }
}
export function saveSetting(key, value) {
  try { localStorage.setItem(key, value); } catch { /* not available in private windows */ }
}
export function readKept(key) {
  try { return JSON.parse(sessionStorage.getItem(`xtalgrid-${key}`)); } catch { return null; }
}
export function keep(key, value) {
  try { sessionStorage.setItem(`xtalgrid-${key}`, JSON.stringify(value)); } catch { /* as above */ }
}

export const wantsLessMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
