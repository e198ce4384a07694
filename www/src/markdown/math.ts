/** Formulas, typeset as MathML by KaTeX, which is fetched when the first one is shown. No fonts, no styles: browsers draw MathML themselves. */
import type katex from 'katex';

let katexLoaded: typeof katex | undefined;
let loading: Promise<void> | undefined;

/** Typesets the formulas below `root`: at once if KaTeX is there, else when it is. What is no TeX stays as it was written. */
export function typeset(root: Element): void {
  const formulas = [...root.querySelectorAll<HTMLElement>('.math')];
  if (formulas.length === 0) return;
  if (katexLoaded) return formulas.forEach(draw);
  loading ??= import('katex').then((module) => void (katexLoaded = module.default));
  loading.then(() => formulas.forEach(draw), () => (loading = undefined));
}

function draw(formula: HTMLElement): void {
  const { tex, display } = formula.dataset;
  if (!tex || formula.firstElementChild) return;
  const written = formula.textContent;
  try {
    katexLoaded!.render(tex, formula, { output: 'mathml', displayMode: display !== undefined, throwOnError: true, strict: 'ignore', trust: false });
  } catch {
    formula.textContent = written;
  }
}
