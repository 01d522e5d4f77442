/** Colours of the canvas parts (map, charts), read from the same CSS variables as the rest of the page. */

const dark = matchMedia('(prefers-color-scheme: dark)');

export function color(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

export function onTheme(run: () => void): void {
  dark.addEventListener('change', () => run());
}

export const calm = matchMedia('(prefers-reduced-motion: reduce)');

/** Whether the panels are a sheet from below, as style.css has it on small screens. */
export const asSheet = matchMedia('(max-width: 960px)');
