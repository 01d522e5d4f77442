/** Choose a field or a place by typing: a combobox with a list, for keyboards and screen readers as much as for mice. */

import { el, h } from './dom';
import { asSheet } from './theme';

export interface Entry {
  id: string;
  label: string;
  note: string;
}

const MOST = 60;

export class Search {
  private input = el<HTMLInputElement>('find');
  private list = el<HTMLUListElement>('found');
  private groups: Entry[][] = [];
  private found: Entry[] = [];
  private active = -1;

  /** places: entries that a text stands for by itself, as coordinates do. */
  constructor(
    private choose: (id: string) => void,
    private places: (text: string) => Entry[],
  ) {
    this.input.addEventListener('focus', () => {
      this.input.select();
      this.open('');
      // In the sheet of a phone there is no room below: bring the list into it.
      if (asSheet.matches) el('pick').scrollIntoView({ block: 'start' });
    });
    this.input.addEventListener('input', () => this.open(this.input.value));
    this.input.addEventListener('blur', () => this.close());
    this.input.addEventListener('keydown', (e) => this.key(e));
    this.list.addEventListener('pointerdown', (e) => e.preventDefault());
    this.list.addEventListener('click', (e) => {
      const item = (e.target as HTMLElement).closest('li');
      if (item?.dataset.id) this.take(item.dataset.id);
    });
  }

  /** Groups of entries, in the order in which they are offered. */
  set(groups: Entry[][]): void {
    this.groups = groups;
  }

  name(id: string | null): void {
    this.input.value = this.groups.flat().find((e) => e.id === id)?.label ?? '';
  }

  private open(text: string): void {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (e: Entry): boolean => {
      const all = `${e.label} ${e.note}`.toLowerCase();
      return words.every((w) => all.includes(w));
    };
    const all = [...this.places(text), ...this.groups.flat().filter(fits)];
    this.found = all.slice(0, MOST);
    this.active = -1;
    const rows = this.found.map((e, i) =>
      h('li', { id: `found-${i}`, role: 'option', 'data-id': e.id, 'aria-selected': 'false' }, h('span', {}, e.label), h('small', {}, e.note)),
    );
    const none = (text: string): HTMLLIElement =>
      h('li', { class: 'none', role: 'option', 'aria-disabled': 'true', 'aria-selected': 'false' }, text);
    if (!this.found.length) rows.push(none('Nothing matches. Coordinates go as 42.03, -93.62.'));
    else if (all.length > MOST) rows.push(none(`and ${(all.length - MOST).toLocaleString('en-US')} more: type to narrow down`));
    this.list.replaceChildren(...rows);
    this.list.hidden = false;
    this.input.setAttribute('aria-expanded', 'true');
    this.input.removeAttribute('aria-activedescendant');
    this.list.scrollTop = 0;
  }

  private close(): void {
    this.list.hidden = true;
    this.active = -1;
    this.input.setAttribute('aria-expanded', 'false');
    this.input.removeAttribute('aria-activedescendant');
  }

  private take(id: string): void {
    this.close();
    this.name(id);
    this.choose(id);
  }

  private move(to: number): void {
    if (this.list.hidden) this.open(this.input.value);
    const n = this.found.length;
    if (!n) return;
    this.list.children[this.active]?.setAttribute('aria-selected', 'false');
    this.active = (to + n) % n;
    const item = this.list.children[this.active]!;
    item.setAttribute('aria-selected', 'true');
    item.scrollIntoView({ block: 'nearest' });
    this.input.setAttribute('aria-activedescendant', item.id);
  }

  private key(e: KeyboardEvent): void {
    if (e.key === 'ArrowDown') this.move(this.active + 1);
    else if (e.key === 'ArrowUp') this.move(this.active < 0 ? this.found.length - 1 : this.active - 1);
    else if (e.key === 'Enter' && !this.list.hidden && this.found.length) this.take(this.found[Math.max(this.active, 0)]!.id);
    else if (e.key === 'Escape' && !this.list.hidden) this.close();
    else return;
    e.preventDefault();
  }
}
