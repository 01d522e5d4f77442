/** Light or dark, and colours of the canvas parts (map, charts), read from the same CSS variables as the rest of the page. */

const KEY = 'fieldflux-theme';
const dark = matchMedia('(prefers-color-scheme: dark)');
const CHANGED = 'fieldflux-theme';

export type Theme = 'light' | 'dark';

export const theme = (): Theme => (document.documentElement.dataset.theme === 'dark' ? 'dark' : 'light');

function put(chosen: Theme): void {
  document.documentElement.dataset.theme = chosen;
  document.dispatchEvent(new Event(CHANGED));
}

/** Choose one; what the system says holds again once both agree. */
export function choose(chosen: Theme): void {
  if (chosen === (dark.matches ? 'dark' : 'light')) localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, chosen);
  put(chosen);
}

dark.addEventListener('change', () => {
  if (!localStorage.getItem(KEY)) put(dark.matches ? 'dark' : 'light');
});

export function color(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** Pixels that a size of the design has on this screen: on wide ones all is larger. */
export const scaled = (size: number): number => (size / 16) * parseFloat(getComputedStyle(document.documentElement).fontSize);

export function onTheme(run: () => void): void {
  document.addEventListener(CHANGED, run);
}

/** Whether there is a pointer that can rest on something without choosing it. */
export const canHover = matchMedia('(hover: hover)');

export const calm = matchMedia('(prefers-reduced-motion: reduce)');

/** Whether the panels are a sheet from below, as style.css has it on small screens. */
export const asSheet = matchMedia('(max-width: 60em)');
