/** Compare: two times side by side (or two variables), their difference, or the anomaly from the mean of years. */

import type { Picture, Variable } from './api';
import { el, fill, h } from './dom';
import { capital, inShortDay, isDay, monthInWords, spanInWords } from './format';
import { inYear, otherWhen, whenOf, type Compare as Kind, type State, type View } from './state';

const KINDS: { value: Kind; text: string }[] = [
  { value: '', text: 'One map' },
  { value: 'swipe', text: 'Two maps, with a divider' },
  { value: 'minus', text: 'Difference of two times' },
  { value: 'anomaly', text: 'Difference from the mean of all years' },
];

export class Compare {
  private kind = h('select', { id: 'compare' });
  private day = h('input', { type: 'date', id: 'other-day', required: true });
  private month = h('input', { type: 'month', id: 'other-month', required: true });
  private year = h('select', { id: 'other-year' });
  private variable = h('select', { id: 'other-variable' });
  private whenRow = h('div', { class: 'row' });
  private variableRow = h('div', { class: 'row' }, h('label', { for: 'other-variable' }, 'Variable on the right'), this.variable);

  constructor(private state: State, private yearly: (variable: string) => boolean) {
    fill(this.kind, KINDS.map((k) => ({ value: k.value, text: k.text })), '');
    el('compare-panel').replaceChildren(
      h('div', { class: 'row' }, h('label', { for: 'compare' }, 'Show'), this.kind),
      this.whenRow,
      this.variableRow,
    );
    this.kind.addEventListener('change', () => state.set({ compare: this.kind.value as Kind }));
    this.day.addEventListener('change', () => (isDay(this.day.value) && this.day.checkValidity() ? state.set({ other: this.day.value }) : this.show()));
    this.month.addEventListener('change', () => (this.month.checkValidity() ? state.set({ other: `${this.month.value}-10` }) : this.show()));
    this.year.addEventListener('change', () => state.set({ other: inYear(state.now.day, Number(this.year.value)) }));
    this.variable.addEventListener('change', () => state.set({ otherVariable: this.variable.value }));
    state.listen((now, before) => {
      if (now.compare && now.by === 'span' && now.day !== before.day)
        // The other span is the same season: it keeps its year.
        state.set({ other: inYear(now.day, Number(now.other.slice(0, 4))) });
      this.show();
    });
  }

  set(years: number[], variables: Variable[]): void {
    for (const input of [this.day, this.month]) {
      const cut = input === this.month ? 7 : 10;
      input.min = `${years[0]}-01-01`.slice(0, cut);
      input.max = `${years.at(-1)}-12-31`.slice(0, cut);
    }
    fill(this.year, years.map((y) => ({ value: String(y), text: String(y) })), '');
    fill(
      this.variable,
      [{ value: '', text: 'The same' }, ...variables.map((v) => ({ value: v.name, text: capital(v.long_name) }))],
      this.state.now.otherVariable,
    );
    this.show();
  }

  private show(): void {
    const { compare, by, other, otherVariable, variable } = this.state.now;
    const yearly = this.yearly(variable);
    this.kind.value = compare;
    this.whenRow.hidden = compare !== 'swipe' && compare !== 'minus';
    this.variableRow.hidden = compare !== 'swipe';
    this.variable.value = otherVariable;
    const input = by === 'day' && !yearly ? this.day : by === 'month' && !yearly ? this.month : this.year;
    const label = compare === 'minus' ? 'Less' : 'Time on the right';
    if (this.whenRow.lastElementChild !== input || this.whenRow.firstElementChild?.textContent !== label)
      this.whenRow.replaceChildren(h('label', { for: input.id }, label), input);
    this.day.value = other;
    this.month.value = other.slice(0, 7);
    this.year.value = other.slice(0, 4);
    el('compare-open').classList.toggle('on', compare !== '');
  }
}

/** The same time a year before, or after where there is none before. */
export function yearApart(day: string, years: number[]): string {
  const year = Number(day.slice(0, 4));
  const before = year > years[0]! ? year - 1 : Math.min(year + 1, years.at(-1)!);
  return inYear(day, before);
}

type Look = Pick<Picture, 'palette' | 'range'>;

/** The picture of the whole map, or of a swipe's left side. */
export function mainPicture(view: View, yearly: boolean, time: Pick<View, 'by' | 'day' | 'until'> = view): Picture {
  const moved = { ...view, ...time };
  return {
    variable: view.variable,
    when: whenOf(moved, yearly),
    minus: view.compare === 'minus' ? otherWhen(moved, yearly) : '',
    anomaly: view.compare === 'anomaly' ? '1' : '',
    cube: view.cube,
    model: view.model,
    ...lookOf(view),
  };
}

/** The picture on the right of a swipe. */
export function rightPicture(view: View, yearly: boolean): Picture {
  const variable = view.otherVariable || view.variable;
  const look = variable === view.variable ? lookOf(view) : { palette: '', range: '' };
  return { variable, when: otherWhen(view, yearly), minus: '', anomaly: '', cube: view.cube, model: view.model, ...look };
}

const lookOf = (view: View): Look => ({ palette: view.palette, range: view.range });

/** A time as the API names it, in words. */
export function timeInWords(when: string): string {
  const [first = '', last] = when.split('..');
  if (last) return isDay(first) ? spanInWords(first, last) : `${first} to ${last}`;
  if (isDay(first)) return inShortDay(first);
  return first.length === 7 ? monthInWords(first) : first;
}
