/** The harvest as seen on a day of the season: of models that were tested as forecasts. */

import { h } from './dom';
import * as api from './api';
import { capital, inShortDay, number, sentence, unit } from './format';

/** A form with a day, and the answer below it. `first`: the day proposed; `ask`: the question about the land shown. */
export function forecastPart(first: string, years: number[], ask: (day: string) => Promise<api.Forecast>): HTMLElement {
  const day = h('input', {
    type: 'date', id: 'forecast-day', value: first, required: true, min: `${years[0]}-01-01`, max: `${years.at(-1)}-12-31`,
  });
  const run = h('button', { type: 'submit', class: 'quiet small', id: 'forecast-run' }, 'Forecast');
  const answer = h('div', { id: 'forecast-answer', role: 'status' });
  const form = h('form', { class: 'asked' }, h('label', { for: 'forecast-day' }, 'As seen on the morning of'), day, run);
  form.addEventListener('submit', (e) => {
    e.preventDefault();
    run.disabled = true;
    answer.replaceChildren(h('p', { class: 'hint' }, 'Computing…'));
    ask(day.value)
      .then((forecast) => answer.replaceChildren(...told(forecast)))
      .catch((error: unknown) => answer.replaceChildren(h('p', { class: 'hint bad', role: 'alert' }, api.words(error))))
      .finally(() => (run.disabled = false));
  });
  return h('section', { class: 'scenario', 'aria-label': 'Forecast of the harvest' }, h('h3', {}, 'Harvest, forecast'), form, answer);
}

function told(f: api.Forecast): HTMLElement[] {
  if (!f.crops.length) return [h('p', { class: 'hint' }, 'No crop of the model stands there that year.')];
  const crops = f.crops.map((c) =>
    h(
      'p',
      { class: 'headline' },
      `${capital(c.crop.replaceAll('_', ' '))}${c.area_fraction < 0.95 ? ` on ${number(100 * c.area_fraction, 0)} % of the land` : ''}: `,
      h('b', {}, number(c.yield.value, 1), ' ', unit('t ha-1')),
      c.yield.low !== null && c.yield.high !== null ? ` (${f.level} ${number(c.yield.low, 1)} to ${number(c.yield.high, 1)})` : '',
      `, ${c.days_to_harvest > 0 ? `${c.days_to_harvest} days before the harvest` : 'at the harvest'} of ${inShortDay(c.harvest)}.`,
      ...spread(c.by_weather_year),
    ),
  );
  return [...crops, h('p', { class: 'hint' }, f.notes.map(sentence).join(' '))];
}

/** What the weather still to come may do to it. */
function spread(yields: (number | null)[]): string[] {
  const known = yields.filter((v): v is number => v !== null);
  if (known.length < 2) return [];
  return [` The weather still to come, as in ${known.length} earlier years, gives ${number(Math.min(...known), 1)} to ${number(Math.max(...known), 1)}.`];
}
