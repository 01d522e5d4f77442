/** Files of what is shown, made in the browser from the server's answer. */

import type { Series } from './api';
import { h } from './dom';

export function toCsv(series: Series): string {
  const names = Object.keys(series.values);
  const columns = names.flatMap((name) => [
    { head: `${name} (${series.units[name] ?? ''})`, values: series.values[name]! },
    ...(series.low[name] ? [{ head: `${name} low`, values: series.low[name] }] : []),
    ...(series.high[name] ? [{ head: `${name} high`, values: series.high[name] }] : []),
  ]);
  const quoted = (text: string): string => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const about = [series.synthetic ? 'SYNTHETIC demo data.' : '', series.statement, series.model && `Model ${series.model}.`].filter(Boolean);
  const lines = [
    ...(about.length ? [`# ${about.join(' ').replaceAll('\n', ' ')}`] : []),
    ['time', ...columns.map((c) => c.head)].map(quoted).join(','),
    ...series.time.map((time, i) => [time, ...columns.map((c) => c.values[i] ?? '')].join(',')),
  ];
  return `${lines.join('\n')}\n`;
}

export function download(name: string, content: Blob): void {
  const url = URL.createObjectURL(content);
  h('a', { href: url, download: name }).click();
  // A browser may begin to read it only after this.
  window.setTimeout(() => URL.revokeObjectURL(url), 30_000);
}

export const asText = (type: string, text: string): Blob => new Blob([text], { type });
