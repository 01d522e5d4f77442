/**
 * What the server is busy with: says it, reloads the tiles when something new can be seen, and, while a region is computed
 * for the first time, moves on to the newest year that is there, until a person chooses a day.
 */

import * as api from './api';
import { el } from './dom';
import { sentence } from './format';
import { inYear, whenOf, type State, type View } from './state';

const BUSY = 2000;
const IDLE = 15000;

export class Live {
  /** The store's snapshot, part of the tiles' addresses. */
  snapshot = '';
  private timer = 0;
  private asking = false;
  private lost = false;
  private moved: Pick<View, 'day'> | null = null;

  constructor(
    private state: State,
    private cube: () => api.Cube,
    private following: boolean,
    private yearly: (variable: string) => boolean,
    private changed: () => void,
    private trouble: (error: unknown) => void,
  ) {
    state.listen((now, before) => {
      const chosen = now.day !== before.day;
      if (now.cube !== before.cube || (chosen && now.day !== this.moved?.day)) this.following = false;
    });
  }

  /** Ask again soon: tiles that lack something have it computed. */
  soon(): void {
    this.ask(BUSY / 2);
  }

  private ask(after: number): void {
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.poll(), after);
  }

  async poll(): Promise<void> {
    if (this.asking) return;
    this.asking = true;
    let busy = false;
    try {
      const status = await api.status();
      if (this.lost) this.trouble(null);
      this.lost = false;
      busy = status.busy;
      const filling = status.state === 'computing' && status.cube === this.state.now.cube;
      if (this.following && (filling || this.moved)) await this.follow();
      if (status.state === 'ready') this.following = false;
      this.tell(status, filling && !(await this.there(this.state.now)));
      const { variable, cube, model } = this.state.now;
      const standard = status.cube === cube && status.model === model;
      const picture = { variable, when: this.when(this.state.now), minus: '', anomaly: '', cube, model, palette: '', range: '' };
      const seen = standard ? status.snapshot : (await api.tiles(picture)).snapshot;
      this.snapshot = seen ?? '';
    } catch (error) {
      this.lost = true;
      this.trouble(error);
    }
    this.asking = false;
    this.changed();
    this.ask(busy ? BUSY : IDLE);
  }

  private when(view: Pick<View, 'by' | 'day' | 'until' | 'variable'>): string {
    return whenOf(view, this.yearly(view.variable));
  }

  private there(view: Pick<View, 'variable' | 'by' | 'day' | 'until' | 'model'>): Promise<boolean> {
    return api.computed(view.variable, this.when(view), this.cube(), view.model);
  }

  private async follow(): Promise<void> {
    const { years } = this.cube();
    const asked = this.state.now;
    let newest = years[0]!;
    for (const year of [...years].reverse()) {
      if (await this.there({ ...asked, day: inYear(asked.day, year), until: inYear(asked.until, year) })) {
        newest = year;
        break;
      }
    }
    if (!this.following || this.state.now !== asked) return;
    this.moved = { day: inYear(asked.day, newest) };
    this.state.set(this.moved);
  }

  private tell(status: api.Status, lacking: boolean): void {
    const { day } = this.state.now;
    const missing = this.following ? '' : `${day.slice(0, 4)} is still to come. `;
    showStatus(status, lacking ? `${missing}Fields answer already: click one.` : '');
  }
}

export function showStatus(status: api.Status, more = ''): void {
  const note = el('status');
  const queued = status.queue.waiting + status.queue.running;
  const left = status.seconds_left && status.seconds_left > 5 ? `About ${wordsOf(status.seconds_left)} left.` : '';
  const text =
    status.state !== 'ready'
      ? [sentence(status.message), left, more].filter(Boolean).join(' ')
      : queued
        ? `${queued} ${queued === 1 ? 'part of the map is' : 'parts of the map are'} being computed.`
        : status.queue.failed.map(sentence).join(' ');
  note.hidden = !text;
  note.classList.toggle('bad', status.state === 'failed' || (!queued && status.queue.failed.length > 0));
  if (note.textContent !== text) note.textContent = text;
  note.style.setProperty('--done', `${100 * (status.progress ?? 0)}%`);
}

const wordsOf = (seconds: number): string =>
  seconds < 90 ? `${Math.round(seconds / 5) * 5} s` : `${Math.round(seconds / 60)} min`;
