/** The icons: strokes on a grid of 24, coloured by the text around them. */
import { svg, html, type TemplateResult } from 'lit';

const PATHS = {
  plus: 'M12 5v14M5 12h14',
  close: 'M6 6l12 12M18 6L6 18',
  menu: 'M4 7h16M4 12h16M4 17h10',
  search: 'M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM20 20l-4-4',
  send: 'M12 19V5M6 11l6-6 6 6',
  stop: 'M7 7h10v10H7z',
  copy: 'M9 9h10v10H9zM15 9V5H5v10h4',
  check: 'M5 12.5l4.5 4.5L19 7.5',
  pencil: 'M4 20l1-4L16 5l3 3L8 19zM14 7l3 3',
  retry: 'M19 12a7 7 0 1 1-2-5l2 2M19 4v5h-5',
  branch: 'M7 4v16M7 14c6 0 10-2 10-7M17 4a2 2 0 1 1 0 4 2 2 0 0 1 0-4z',
  trash: 'M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13',
  settings: 'M4 8h9M17 8h3M4 16h3M11 16h9M15 6v4M9 14v4',
  cube: 'M12 3l8 4.5v9L12 21l-8-4.5v-9zM4 7.5l8 4.5 8-4.5M12 12v9',
  download: 'M12 4v11M7 10.5l5 5 5-5M5 20h14',
  upload: 'M12 20V9M7 12.500l5-5 5 5M5 4h14',
  pause: 'M9 6v12M15 6v12',
  play: 'M8 5l11 7-11 7z',
  left: 'M14 6l-6 6 6 6',
  right: 'M10 6l6 6-6 6',
  down: 'M6 9l6 6 6-6',
  shield: 'M12 3l7 3v5c0 5-3 8-7 10-4-2-7-5-7-10V6zM9 12l2 2 4-4',
  file: 'M7 3h7l4 4v14H7zM14 3v4h4',
  warn: 'M12 4l9 16H3zM12 10v4M12 17h.01',
  offline: 'M4 4l16 16M8.500 15a5 5 0 0 1 5-1M5 11.500a10 10 0 0 1 4-2M13 9a10 10 0 0 1 6 2.500M12 19h.01',
  keyboard: 'M3 7h18v10H3zM7 10.500h.01M11 10.500h.01M15 10.500h.01M8 14h8',
} as const;

export type Icon = keyof typeof PATHS;

export function icon(name: Icon): TemplateResult {
  return html`<svg class="icon icon-${name}" viewBox="0 0 24 24" aria-hidden="true">${svg`<path d=${PATHS[name]} />`}</svg>`;
}
