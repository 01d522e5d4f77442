/** Which day, month, year or span the map shows: date fields, arrows, slider, and play. */

import { el, fill, h, svg } from './dom';
import { dayNumber, dayOf, inWords, isDay, monthInWords, spanInWords } from './format';
import { inYear, whenOf, type By, type State, type View } from './state';

const NAMES: Record<By, string> = { day: 'day', month: 'month', year: 'year', span: 'year' };
/** Milliseconds between two pictures of a film, and how far it goes in one step. */
const PACE: Record<By, [number, number]> = { day: [150, 3], month: [500, 1], year: [900, 1], span: [900, 1] };

export class When {
  private day = el<HTMLInputElement>('day');
  private until = el<HTMLInputElement>('until');
  private month = el<HTMLSelectElement>('month');
  private year = el<HTMLSelectElement>('year');
  private slider = el<HTMLInputElement>('slider');
  private back = el<HTMLButtonElement>('back');
  private forth = el<HTMLButtonElement>('forth');
  private play = el<HTMLButtonElement>('play');
  private radios = [...document.querySelectorAll<HTMLInputElement>('input[name="by"]')];
  private years: number[] = [];
  private yearly = false;
  private timer = 0;
  private forward = true;
  /** Whether the map still loads the last picture: play waits for it. */
  busy = false;

  constructor(private state: State) {
    for (const radio of this.radios) radio.addEventListener('change', () => radio.checked && this.setBy(radio.value as By));
    this.day.addEventListener('change', () => {
      const day = this.day.value;
      if (!isDay(day) || day < this.day.min || day > this.day.max) this.show();
      else if (state.now.by === 'span') state.set({ day, until: day > state.now.until ? this.inReach(day, 30) : state.now.until });
      else state.set({ day });
    });
    this.until.addEventListener('change', () => {
      const until = this.until.value;
      if (!isDay(until) || until < this.day.min || until > this.day.max) this.show();
      else state.set({ until, day: until < state.now.day ? until : state.now.day });
    });
    this.month.addEventListener('change', () => state.set({ day: `${this.year.value}-${this.month.value}-10` }));
    this.year.addEventListener('change', () =>
      state.set({ day: state.now.by === 'month' ? `${this.year.value}-${this.month.value}-10` : inYear(state.now.day, Number(this.year.value)) }),
    );
    this.slider.addEventListener('input', () => this.go(Number(this.slider.value)));
    this.slider.addEventListener('keydown', (e) => {
      const far = state.now.by === 'day' ? 30 : state.now.by === 'month' ? 12 : 1;
      if (e.key === 'PageUp') this.step(far);
      else if (e.key === 'PageDown') this.step(-far);
      else return;
      e.preventDefault();
    });
    this.back.addEventListener('click', () => this.step(-1));
    this.forth.addEventListener('click', () => this.step(1));
    this.playButton(false);
    this.play.addEventListener('click', () => (this.timer ? this.stop() : this.start()));
    state.listen((now, before) => {
      if (now.day !== before.day || now.until !== before.until || now.by !== before.by) this.show();
      if (now.by !== before.by || now.variable !== before.variable) this.stop();
    });
  }

  get playing(): boolean {
    return this.timer !== 0;
  }

  /** The years there are, and whether the variable has a value a year only. */
  set(years: number[], yearly: boolean): void {
    this.years = years;
    this.yearly = yearly;
    for (const radio of this.radios) radio.disabled = yearly && (radio.value === 'day' || radio.value === 'month');
    for (const input of [this.day, this.until]) {
      input.min = `${years[0]}-01-01`;
      input.max = `${years.at(-1)}-12-31`;
    }
    fill(this.year, years.map((y) => ({ value: String(y), text: String(y) })), this.state.now.day.slice(0, 4));
    this.show();
  }

  /** Times that may be asked for next, the likeliest first. */
  ahead(): Pick<View, 'by' | 'day' | 'until'>[] {
    const [least, most] = this.range;
    const step = this.timer ? PACE[this.state.now.by][1] : 1;
    const steps = this.timer ? [step, 2 * step, 3 * step] : this.forward ? [1, -1] : [-1, 1];
    return steps.map((by) => this.at + by).filter((at) => at >= least && at <= most).map((at) => ({ by: this.state.now.by, ...this.placed(at) }));
  }

  private setBy(by: By): void {
    const { day } = this.state.now;
    const year = day.slice(0, 4);
    // A span starts as the growing season of the year shown.
    const span = this.yearly ? { day: `${this.years[0]}-01-01`, until: `${this.years.at(-1)}-12-31` } : { day: `${year}-04-01`, until: `${year}-09-30` };
    this.state.set(by === 'span' ? { by, ...span } : { by });
  }

  private inReach(day: string, days: number): string {
    const to = dayOf(dayNumber(day) + days);
    return to > this.day.max ? this.day.max : to;
  }

  private get range(): [number, number] {
    const [first, last] = [this.years[0]!, this.years.at(-1)!];
    const { by, day, until } = this.state.now;
    if (by === 'day') return [dayNumber(`${first}-01-01`), dayNumber(`${last}-12-31`)];
    if (by === 'month') return [12 * first, 12 * last + 11];
    return by === 'year' ? [first, last] : [first, last - (Number(until.slice(0, 4)) - Number(day.slice(0, 4)))];
  }

  /** The place on the slider: days, months or years. */
  private get at(): number {
    const { by, day } = this.state.now;
    if (by === 'day') return dayNumber(day);
    const year = Number(day.slice(0, 4));
    return by === 'month' ? 12 * year + Number(day.slice(5, 7)) - 1 : year;
  }

  private placed(at: number): { day: string; until: string } {
    const { by, day, until } = this.state.now;
    if (by === 'day') return { day: dayOf(at), until };
    if (by === 'month') return { day: `${Math.floor(at / 12)}-${String((at % 12) + 1).padStart(2, '0')}-10`, until };
    const moved = at - Number(day.slice(0, 4));
    return { day: inYear(day, at), until: by === 'span' ? inYear(until, Number(until.slice(0, 4)) + moved) : until };
  }

  private go(to: number): void {
    const [least, most] = this.range;
    const at = Math.max(least, Math.min(most, to));
    this.forward = at >= this.at;
    this.state.set(this.placed(at));
    this.show();
  }

  private step(by: number): void {
    this.go(this.at + by);
  }

  private get words(): string {
    const { by, day, until } = this.state.now;
    if (by === 'day') return inWords(day);
    if (by === 'month') return monthInWords(day);
    if (by === 'year') return day.slice(0, 4);
    return this.yearly ? whenOf(this.state.now, true).replace('..', ' to ') : spanInWords(day, until);
  }

  private show(): void {
    if (!this.years.length) return;
    const { by, day, until } = this.state.now;
    const [least, most] = this.range;
    const name = NAMES[by];
    for (const radio of this.radios) radio.checked = radio.value === by;
    this.day.hidden = by !== 'day' && by !== 'span';
    el('until-part').hidden = by !== 'span';
    this.month.hidden = by !== 'month';
    this.year.hidden = by !== 'month' && by !== 'year';
    el('when').classList.toggle('spanning', by === 'span');
    this.day.setAttribute('aria-label', by === 'span' ? 'First day of the span' : 'Day shown');
    this.day.value = day;
    this.until.value = until;
    this.month.value = day.slice(5, 7);
    this.year.value = day.slice(0, 4);
    this.slider.min = String(least);
    this.slider.max = String(most);
    this.slider.value = String(this.at);
    this.slider.disabled = most <= least;
    this.slider.setAttribute('aria-label', `${name[0]!.toUpperCase()}${name.slice(1)} shown, as a slider`);
    this.slider.setAttribute('aria-valuetext', this.words);
    this.back.setAttribute('aria-label', `One ${name} back`);
    this.forth.setAttribute('aria-label', `One ${name} on`);
    this.back.disabled = this.at <= least;
    this.forth.disabled = this.at >= most;
    this.play.disabled = most <= least;
    this.ticks(least, most, by);
  }

  private ticks(least: number, most: number, by: By): void {
    const single = by === 'year' || by === 'span';
    const years = single ? this.years.filter((y) => y <= most) : this.years;
    const every = Math.ceil(years.length / 8);
    el('ticks').classList.toggle('years', single);
    el('ticks').replaceChildren(
      ...years
        .filter((_, i) => i % every === 0)
        .map((y) => {
          const at = by === 'day' ? dayNumber(`${y}-01-01`) : by === 'month' ? 12 * y : y;
          return h('span', { style: `left:${(100 * (at - least)) / Math.max(most - least, 1)}%` }, String(y));
        }),
    );
  }

  private playButton(playing: boolean): void {
    this.play.setAttribute('aria-label', playing ? 'Pause' : 'Play');
    this.play.title = playing ? 'Pause' : 'Play';
    const shape = playing ? 'M2 1h4v12H2zM8 1h4v12H8z' : 'M3 1l10 6-10 6z';
    this.play.replaceChildren(svg('svg', { viewBox: '0 0 14 14', 'aria-hidden': 'true' }, svg('path', { d: shape })));
  }

  private start(): void {
    if (this.at >= this.range[1]) this.go(this.range[0]);
    this.playButton(true);
    const [pace, step] = PACE[this.state.now.by];
    this.timer = window.setInterval(() => {
      if (this.busy) return;
      if (this.at >= this.range[1]) this.stop();
      else this.step(step);
    }, pace);
  }

  private stop(): void {
    if (!this.timer) return;
    window.clearInterval(this.timer);
    this.timer = 0;
    this.playButton(false);
  }
}
