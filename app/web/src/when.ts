/** Which day or year the map shows: date field, arrows, slider, and play. */

import { el, fill, h, svg } from './dom';
import { dayNumber, dayOf, inWords, isDay } from './format';
import type { State } from './state';

export class When {
  private day = el<HTMLInputElement>('day');
  private year = el<HTMLSelectElement>('year');
  private slider = el<HTMLInputElement>('slider');
  private back = el<HTMLButtonElement>('back');
  private forth = el<HTMLButtonElement>('forth');
  private play = el<HTMLButtonElement>('play');
  private radios = [...document.querySelectorAll<HTMLInputElement>('input[name="by"]')];
  private years: number[] = [];
  private playing = 0;
  /** Whether the map still loads the last picture: play waits for it. */
  busy = false;

  constructor(private state: State) {
    for (const radio of this.radios)
      radio.addEventListener('change', () => radio.checked && state.set({ by: radio.value as 'day' | 'year' }));
    this.day.addEventListener('change', () => {
      if (isDay(this.day.value)) this.go(dayNumber(this.day.value));
      else this.show();
    });
    this.year.addEventListener('change', () => state.set({ year: Number(this.year.value) }));
    this.slider.addEventListener('input', () => this.go(Number(this.slider.value)));
    this.slider.addEventListener('keydown', (e) => {
      const far = state.now.by === 'day' ? 30 : 1;
      if (e.key === 'PageUp') this.step(far);
      else if (e.key === 'PageDown') this.step(-far);
      else return;
      e.preventDefault();
    });
    this.back.addEventListener('click', () => this.step(-1));
    this.forth.addEventListener('click', () => this.step(1));
    this.playButton(false);
    this.play.addEventListener('click', () => (this.playing ? this.stop() : this.start()));
    state.listen((now, before) => {
      if (now.day !== before.day || now.year !== before.year || now.by !== before.by) this.show();
      if (now.by !== before.by || now.variable !== before.variable) this.stop();
    });
  }

  /** The years there are, and whether days can be shown at all. */
  set(years: number[], daily: boolean): void {
    this.years = years;
    this.radios.find((r) => r.value === 'day')!.disabled = !daily;
    this.day.min = `${years[0]}-01-01`;
    this.day.max = `${years.at(-1)}-12-31`;
    fill(this.year, years.map((y) => ({ value: String(y), text: String(y) })), String(this.state.now.year));
    this.show();
  }

  private get range(): [number, number] {
    return this.state.now.by === 'day'
      ? [dayNumber(this.day.min), dayNumber(this.day.max)]
      : [this.years[0]!, this.years.at(-1)!];
  }

  private get at(): number {
    return this.state.now.by === 'day' ? dayNumber(this.state.now.day) : this.state.now.year;
  }

  private go(to: number): void {
    const [least, most] = this.range;
    const at = Math.max(least, Math.min(most, to));
    this.state.set(this.state.now.by === 'day' ? { day: dayOf(at) } : { year: at });
    this.show();
  }

  private step(by: number): void {
    this.go(this.at + by);
  }

  private show(): void {
    if (!this.years.length) return;
    const { by, day, year } = this.state.now;
    const daily = by === 'day';
    const [least, most] = this.range;
    for (const radio of this.radios) radio.checked = radio.value === by;
    this.day.hidden = !daily;
    this.year.hidden = daily;
    this.day.value = day;
    this.year.value = String(year);
    this.slider.min = String(least);
    this.slider.max = String(most);
    this.slider.value = String(this.at);
    this.slider.setAttribute('aria-label', daily ? 'Day shown, as a slider' : 'Year shown, as a slider');
    this.slider.setAttribute('aria-valuetext', daily ? inWords(day) : String(year));
    this.slider.style.setProperty('--at', `${(100 * (this.at - least)) / Math.max(most - least, 1)}%`);
    this.back.setAttribute('aria-label', daily ? 'One day back' : 'One year back');
    this.forth.setAttribute('aria-label', daily ? 'One day on' : 'One year on');
    this.back.disabled = this.at <= least;
    this.forth.disabled = this.at >= most;
    this.ticks(least, most, daily);
  }

  private ticks(least: number, most: number, daily: boolean): void {
    const every = Math.ceil(this.years.length / 8);
    el('ticks').classList.toggle('years', !daily);
    el('ticks').replaceChildren(
      ...this.years
        .filter((_, i) => i % every === 0)
        .map((y) => {
          const at = daily ? dayNumber(`${y}-01-01`) : y;
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
    const daily = this.state.now.by === 'day';
    if (this.at >= this.range[1]) this.go(this.range[0]);
    this.playButton(true);
    this.playing = window.setInterval(
      () => {
        if (this.busy) return;
        if (this.at >= this.range[1]) this.stop();
        else this.step(daily ? 3 : 1);
      },
      daily ? 120 : 900,
    );
  }

  private stop(): void {
    if (!this.playing) return;
    window.clearInterval(this.playing);
    this.playing = 0;
    this.playButton(false);
  }
}
