/** Pictures to keep: the map with its legend, and the chart, as PNG. */

import type { Map as Gl } from 'maplibre-gl';
import type { Legend } from './api';
import { unitText } from './format';
import { color } from './theme';

const FONT = '"Inter Variable", system-ui, sans-serif';

interface Caption {
  title: string;
  lines: string[];
  legend: Legend | null;
}

/** The map as it is seen; `right`: the second map of a swipe and where it begins. */
export function mapPicture(gl: Gl, right: { gl: Gl; split: number } | null, caption: Caption): Promise<Blob> {
  const from = gl.getCanvas();
  const ratio = from.width / from.clientWidth;
  const { out, ctx } = paper(from.width, from.height, caption, ratio);
  // The drawing buffer lasts to the end of this task only.
  gl.redraw();
  ctx.drawImage(from, 0, 0);
  if (right) {
    right.gl.redraw();
    const at = Math.round(right.split * from.width);
    ctx.drawImage(right.gl.getCanvas(), at, 0, from.width - at, from.height, at, 0, from.width - at, from.height);
    ctx.fillStyle = color('ink');
    ctx.fillRect(at - ratio, 0, 2 * ratio, from.height);
  }
  return asPng(out);
}

/** The chart as it is seen, with its title and what it shows. */
export function chartPicture(chart: HTMLCanvasElement, keys: { label: string; tint: string }[], caption: Caption): Promise<Blob> {
  const ratio = devicePixelRatio;
  const { out, ctx } = paper(chart.width, chart.height + 26 * ratio, caption, ratio);
  ctx.drawImage(chart, 0, 26 * ratio);
  ctx.font = `${12 * ratio}px ${FONT}`;
  ctx.textBaseline = 'middle';
  let x = 14 * ratio;
  for (const key of keys) {
    ctx.fillStyle = color(key.tint);
    ctx.fillRect(x, 12 * ratio, 14 * ratio, 3 * ratio);
    ctx.fillStyle = color('ink');
    ctx.fillText(key.label, x + 20 * ratio, 14 * ratio);
    x += ctx.measureText(key.label).width + 38 * ratio;
  }
  return asPng(out);
}

/** A sheet with room for a picture, and its caption written below. */
function paper(wide: number, tall: number, caption: Caption, ratio: number): { out: HTMLCanvasElement; ctx: CanvasRenderingContext2D } {
  const foot = (18 + 22 + 17 * caption.lines.length + (caption.legend ? 44 : 0)) * ratio;
  const out = document.createElement('canvas');
  out.width = wide;
  out.height = tall + foot;
  const ctx = out.getContext('2d')!;
  ctx.fillStyle = color('paper');
  ctx.fillRect(0, 0, out.width, out.height);
  ctx.fillStyle = color('ink');
  ctx.textBaseline = 'alphabetic';
  const left = 14 * ratio;
  let y = tall + 26 * ratio;
  const room = wide - 2 * left;
  ctx.font = `600 ${15 * ratio}px ${FONT}`;
  ctx.fillText(caption.title, left, y, room);
  if (caption.legend) {
    const { stops, low, high, ticks, unit } = caption.legend;
    const width = Math.min(360 * ratio, room);
    const ramp = ctx.createLinearGradient(left, 0, left + width, 0);
    for (const stop of stops) ramp.addColorStop((stop.value - low) / (high - low), stop.color);
    y += 10 * ratio;
    ctx.fillStyle = ramp;
    ctx.fillRect(left, y, width, 12 * ratio);
    y += 28 * ratio;
    ctx.fillStyle = color('ink');
    ctx.font = `${12 * ratio}px ${FONT}`;
    for (const tick of ticks) {
      const part = (tick.value - low) / (high - low);
      ctx.textAlign = part < 0.05 ? 'left' : part > 0.95 ? 'right' : 'center';
      ctx.fillText(tick.label, left + part * width, y);
    }
    ctx.textAlign = 'left';
    ctx.fillText(unitText(unit), left + width + 12 * ratio, y - 18 * ratio);
    y += 6 * ratio;
  }
  ctx.fillStyle = color('muted');
  ctx.font = `${12 * ratio}px ${FONT}`;
  for (const line of caption.lines) {
    y += 17 * ratio;
    ctx.fillText(line, left, y, room);
  }
  return { out, ctx };
}

function asPng(canvas: HTMLCanvasElement): Promise<Blob> {
  return new Promise((done, failed) => canvas.toBlob((blob) => (blob ? done(blob) : failed(new Error('The picture could not be made.'))), 'image/png'));
}
