/** Colours: palette, range and opacity of the map. */

import type { Legend, Palette } from './api';
import { el, h } from './dom';
import { capital } from './format';
import type { State } from './state';

export class Look {
  private palette = h('select', { id: 'palette' });
  private sample = h('div', { class: 'ramp', 'aria-hidden': 'true' });
  private low = h('input', { type: 'number', id: 'range-low', step: 'any', 'aria-label': 'Lowest value of the colours' });
  private high = h('input', { type: 'number', id: 'range-high', step: 'any', 'aria-label': 'Highest value of the colours' });
  private note = h('p', { class: 'hint bad', role: 'alert', hidden: true });
  private opacity = h('input', { type: 'range', id: 'opacity', min: 0.1, max: 1, step: 0.05 });
  private reset = h('button', { type: 'button', class: 'quiet small' }, 'As it was');
  private palettes: Palette[] = [];
  private own: Legend | null = null;

  constructor(private state: State) {
    el('look-panel').replaceChildren(
      h('div', { class: 'row' }, h('label', { for: 'palette' }, 'Palette'), this.palette, this.sample),
      h('div', { class: 'row' }, h('span', { class: 'label' }, 'Values from, to'), h('div', { class: 'pair' }, this.low, this.high), this.note),
      h('div', { class: 'row' }, h('label', { for: 'opacity' }, 'Opacity of the colours'), this.opacity),
      this.reset,
    );
    this.palette.addEventListener('change', () => state.set({ palette: this.palette.value }));
    for (const input of [this.low, this.high]) input.addEventListener('change', () => this.ranged());
    this.opacity.addEventListener('input', () => state.set({ opacity: Number(this.opacity.value) }));
    this.reset.addEventListener('click', () => state.set({ palette: '', range: '', opacity: 1 }));
    state.listen(() => this.show());
  }

  set(palettes: Palette[]): void {
    this.palettes = palettes;
    const group = (label: string, kind: Palette['kind']): HTMLElement =>
      h(
        'optgroup',
        { label },
        ...palettes
          .filter((p) => p.kind === kind)
          .flatMap((p) => [h('option', { value: p.name }, capital(p.name)), h('option', { value: `${p.name}_r` }, `${capital(p.name)}, turned round`)]),
      );
    this.palette.replaceChildren(
      h('option', { value: '' }, "The variable's own"),
      group('From low to high', 'sequential'),
      group('Around zero', 'diverging'),
    );
    this.show();
  }

  /** The legend that is shown: its ends stand in the fields. */
  legend(legend: Legend): void {
    this.own = legend;
    this.show();
  }

  private ranged(): void {
    const [low, high] = [this.low.valueAsNumber, this.high.valueAsNumber];
    const right = Number.isFinite(low) && Number.isFinite(high) && low < high;
    this.note.hidden = right;
    this.note.textContent = `The lower value comes first: ${this.low.value || '–'} is not less than ${this.high.value || '–'}.`;
    if (right) this.state.set({ range: `${low},${high}` });
  }

  private show(): void {
    const { palette, range, opacity } = this.state.now;
    this.palette.value = palette;
    const found = this.palettes.find((p) => p.name === palette.replace(/_r$/, ''));
    this.sample.hidden = !found;
    if (found) {
      const colors = palette.endsWith('_r') ? [...found.colors].reverse() : found.colors;
      this.sample.style.background = `linear-gradient(to right, ${colors.join(', ')})`;
    }
    const [low, high] = range ? range.split(',') : [this.own?.low, this.own?.high];
    if (this.note.hidden) {
      this.low.value = String(low ?? '');
      this.high.value = String(high ?? '');
    }
    this.opacity.value = String(opacity);
    this.opacity.setAttribute('aria-valuetext', `${Math.round(100 * opacity)} %`);
    const changed = Boolean(palette || range || opacity < 1);
    this.reset.disabled = !changed;
    el('look-open').classList.toggle('on', changed);
  }
}
