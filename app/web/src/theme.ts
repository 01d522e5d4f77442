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

export function onTheme(run: () => void): void {
  document.addEventListener(CHANGED, run);
}

export const calm = matchMedia('(prefers-reduced-motion: reduce)');

/** Whether the panels are a sheet from below, as style.css has it on small screens. */
export const asSheet = matchMedia('(max-width: 960px)');
