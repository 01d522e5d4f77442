/** The small buttons beside the page's name: share, download, light or dark, where the numbers come from. */

import { el, h, say, svg } from './dom';
import { words as inWords } from './api';
import { choose, theme } from './theme';

const SHAPES = {
  share: 'M8 1v9M4.5 4.5 8 1l3.5 3.5M3 8v6h10V8',
  download: 'M8 1v9M4.5 6.5 8 10l3.5-3.5M2 14h12',
  theme: 'M8 2.5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 1 0 0-11zM8 2.5a5.5 5.5 0 0 1 0 11z',
  about: 'M8 7.2v4.3M8 4.6v.2M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8z',
} as const;

export interface ToolDoings {
  mapPicture(): Promise<void>;
  values(): Promise<void>;
  about(): void;
}

export function tools(doings: ToolDoings): void {
  const make = (shape: keyof typeof SHAPES, label: string): HTMLButtonElement =>
    h(
      'button',
      { type: 'button', class: 'icon', id: `tool-${shape}`, 'aria-label': label, title: label },
      svg('svg', { viewBox: '0 0 16 16', 'aria-hidden': 'true' }, svg('path', { d: SHAPES[shape] })) as unknown as HTMLElement,
    );
  const share = make('share', 'Copy a link to this view');
  share.addEventListener('click', () => void copy(share));

  const menu = h('div', { id: 'download-menu', popover: 'auto', class: 'menu' });
  const open = make('download', 'Download the map');
  open.setAttribute('popovertarget', 'download-menu');
  open.setAttribute('aria-haspopup', 'true');
  const note = h('p', { class: 'hint', role: 'status' });
  const entry = (title: string, words: string, run: () => Promise<void>): HTMLButtonElement => {
    const button = h('button', { type: 'button', class: 'entry' }, h('b', {}, title), h('small', {}, words));
    button.addEventListener('click', () => {
      note.textContent = 'It is being made…';
      run().then(
        () => {
          note.textContent = '';
          menu.hidePopover();
        },
        (error: unknown) => (note.textContent = inWords(error)),
      );
    });
    return button;
  };
  menu.append(
    entry('Picture', 'PNG with legend and sources', doings.mapPicture),
    entry('Values', 'GeoTIFF of the view, for a GIS', doings.values),
    note,
  );
  menu.addEventListener('toggle', () => {
    const box = open.getBoundingClientRect();
    menu.style.left = `${Math.max(8, Math.min(box.left, innerWidth - menu.offsetWidth - 8))}px`;
    menu.style.top = `${Math.min(box.bottom + 6, innerHeight - menu.offsetHeight - 8)}px`;
    note.textContent = '';
  });

  const dark = make('theme', '');
  const name = (): void => {
    const label = theme() === 'dark' ? 'Light colours' : 'Dark colours';
    dark.setAttribute('aria-label', label);
    dark.title = label;
  };
  name();
  dark.addEventListener('click', () => {
    choose(theme() === 'dark' ? 'light' : 'dark');
    name();
  });

  const about = make('about', 'Where these numbers come from');
  about.addEventListener('click', () => doings.about());
  el('brand-tools').append(share, open, dark, about);
  document.body.append(menu);
}

async function copy(button: HTMLElement): Promise<void> {
  let said = 'The link is copied.';
  try {
    if (navigator.share && matchMedia('(pointer: coarse)').matches) {
      await navigator.share({ title: document.title, url: location.href });
      return;
    }
    await navigator.clipboard.writeText(location.href);
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') return;
    said = 'This browser did not let the link be copied: it stands in the address line.';
  }
  say(said);
  const note = h('span', { class: 'copied' }, said);
  button.after(note);
  window.setTimeout(() => note.remove(), 2500);
}

/** Buttons that open a panel each, one at a time. */
export function tabs(names: readonly string[]): (name: string, open: boolean) => void {
  const set = (name: string, open: boolean): void => {
    for (const other of names) {
      const on = other === name && open;
      el(`${other}-panel`).hidden = !on;
      el(`${other}-open`).setAttribute('aria-expanded', String(on));
    }
  };
  for (const name of names) el(`${name}-open`).addEventListener('click', () => set(name, el(`${name}-open`).getAttribute('aria-expanded') !== 'true'));
  return set;
}
