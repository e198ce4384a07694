// Markdown as DOM: the examples of the CommonMark and GitHub specifications, whole and growing; attributes that must survive, and styles.
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import MarkdownIt from 'markdown-it';
import spec from 'commonmark-spec';
import { launch, open, startSite } from './harness.mjs';

const commonmark = spec.tests.map((example) => ({ ...example, markdown: example.markdown.replaceAll('→', '\t'), html: example.html.replaceAll('→', '\t') }));
const github = JSON.parse(fs.readFileSync(path.join(import.meta.dirname, 'gfm.json'), 'utf8')).examples;

let server;
let browser;
let page;
/** A page without a policy, which parses what the specifications expect. */
let plain;
before(async () => {
  server = await startSite();
  browser = await launch();
  const opened = await open(browser, server);
  page = opened.page;
  plain = await opened.context.newPage();
  await page.getByRole('region', { name: 'tiny' }).waitFor();
  for (const each of [page, plain]) await each.evaluate(treeOf);
});
after(async () => {
  await browser.close();
  server.close();
});

/** Installs `tree(node)`: elements as `[tag, attributes, …children]`, text as strings. */
function treeOf() {
  globalThis.tree = (node) => {
    if (node.nodeType === Node.TEXT_NODE) return node.data;
    const attributes = Object.fromEntries([...(node.attributes ?? [])].map(({ name, value }) => [name, value]));
    return [node.localName ?? '', attributes, ...[...node.childNodes].map(tree)];
  };
}

/** What `<pl-markdown>` makes of each text: all at once, or as it grows by `step` characters. */
const shown = (texts, step = Infinity) =>
  page.evaluate(
    ([texts, step]) =>
      texts.map((text) => {
        const view = document.createElement('pl-markdown');
        for (let end = step; end < text.length; end += step) view.show(text.slice(0, end), true);
        view.show(text, false);
        return tree(view);
      }),
    [texts, step],
  );

const parsed = (pieces) =>
  plain.evaluate((pieces) => pieces.map((html) => tree(Object.assign(document.createElement('div'), { innerHTML: html }))), pieces);

const BLOCKS = /^(p|h[1-6]|ul|ol|li|pre|blockquote|hr|table|thead|tbody|tr|th|td|br|)$/;

/**
 * Both sides without what is the page's own (frames of code and tables, targets of links, directions) and with what its policy does: images are
 * links, boxes of tasks are characters, and only addresses of the web and of mail are kept.
 */
function plainly(node, inLink = false, inCode = false) {
  if (typeof node === 'string') return [inCode ? node : node.replace(/\s+/g, ' ')];
  const [tag, attributes, ...children] = node;
  const inner = (link = inLink) => joined(children.flatMap((child) => plainly(child, link, inCode || tag === 'pre')));
  if (['figcaption', 'button'].includes(tag)) return [];
  if (['div', 'pl-markdown', 'figure', 'span', ''].includes(tag)) return inner();
  if (tag === 'input') return ['checked' in attributes ? '☑' : '☐'];
  if (tag === 'img') {
    const text = attributes.alt || attributes.src;
    return inLink ? [text] : [['a', linkOf(attributes.src, attributes.title), text]];
  }
  if (tag === 'a') return [['a', linkOf(attributes.href, attributes.title), ...inner(true)]];
  const kept = {};
  for (const name of ['start', 'align']) if (attributes[name] !== undefined) kept[name] = attributes[name];
  if (tag === 'code' && inCode) {
    const language = attributes['data-lang'] || attributes.class?.replace('language-', '');
    return [['code', language ? { language } : {}, text(children)]];
  }
  return [[tag, kept, ...(tag === 'pre' ? inner() : trimmed(inner()))]];
}

function linkOf(href = '', title) {
  return { ...(/^(https?|mailto):/i.test(href) && { href }), ...(title !== undefined && { title: title.trim() }) };
}

function text(children) {
  return children.map((child) => (typeof child === 'string' ? child : text(child.slice(2)))).join('');
}

/** Neighbouring texts become one. */
function joined(children) {
  return children.reduce((all, child) => {
    if (typeof child === 'string' && typeof all.at(-1) === 'string') all.push(all.pop() + child);
    else all.push(child);
    return all;
  }, []);
}

/** Space at the edges of blocks is not seen. */
function trimmed(children) {
  const edge = (child) => child === undefined || BLOCKS.test(child[0]);
  return children
    .map((child, at) => {
      if (typeof child !== 'string') return child;
      const start = edge(children[at - 1]) ? child.trimStart() : child;
      return edge(children[at + 1]) ? start.trimEnd() : start;
    })
    .filter((child) => child !== '');
}

const all = (tree) => trimmed(plainly(tree));

/** HTML in the text is shown as text here, and an address is a link without brackets: of such examples the expectation is another. */
function isSafe({ markdown }) {
  const parser = new MarkdownIt('commonmark', { html: true });
  const seen = (tokens) => tokens.some(({ type, children }) => type.startsWith('html_') || seen(children ?? []));
  return !seen(parser.parse(markdown, {}));
}
/** These say of addresses that CommonMark makes no links of them; GitHub does. */
const ONLY_COMMONMARK = ['<https://foo.bar/baz bim>', '< https://foo.bar >', 'https://example.com', 'foo@bar.example.com', '<foo\\+@bar.example.com>'];

async function agree(examples, step) {
  const ours = await shown(examples.map(({ markdown }) => markdown), step);
  const theirs = await parsed(examples.map(({ html }) => html));
  const wrong = examples.flatMap(({ section, number, markdown }, at) => {
    const [actual, expected] = [ours[at], theirs[at]].map((tree) => JSON.stringify(all(tree)));
    return actual === expected ? [] : [`${section} ${number}: ${JSON.stringify(markdown)}\n  is ${actual}\n not ${expected}`];
  });
  assert.equal(wrong.length, 0, `${wrong.length} of ${examples.length}:\n${wrong.join('\n')}`);
}

test('every example of CommonMark that is safe HTML, whole and growing', async (t) => {
  const examples = commonmark.filter(isSafe).filter(({ markdown }) => !ONLY_COMMONMARK.includes(markdown.trim()));
  t.diagnostic(`${examples.length} of ${commonmark.length} examples`);
  assert.ok(examples.length >= 560);
  for (const step of [Infinity, 1, 7]) await agree(examples, step);
});

test('every example of what GitHub adds, whole and growing', async () => {
  const examples = github.filter(isSafe);
  assert.ok(examples.length >= 25);
  for (const step of [Infinity, 1, 7]) await agree(examples, step);
});

test('HTML in a text is shown as text', async () => {
  const examples = commonmark.filter((example) => !isSafe(example));
  const ours = await shown(examples.map(({ markdown }) => markdown));
  const tags = /^(p|h[1-6]|ul|ol|li|pre|code|blockquote|hr|table|thead|tbody|tr|th|td|br|a|em|strong|del|figure|figcaption|span|div|button|pl-markdown)$/;
  const check = (node) => {
    if (typeof node === 'string') return;
    assert.match(node[0], tags);
    assert.deepEqual(Object.keys(node[1]).filter((name) => /^on|^style$|^src$/.test(name)), []);
    node.slice(2).forEach(check);
  };
  ours.forEach(check);
});

test('a long text that grows by any step is the same as at once; links may be explained at its end', async () => {
  const text = commonmark.filter(isSafe).map(({ markdown }) => markdown.replaceAll('`````', '````')).slice(0, 200).join('\n\n');
  const [whole] = await shown([text]);
  for (const step of [97, 1009]) assert.deepEqual((await shown([text], step))[0], whole, `by ${step}`);
  const late = 'See [one] and [two].\n\nMore.\n\n- a\n\n[one]: https://one.example/\n[two]: https://two.example/ "Two"\n';
  assert.match(JSON.stringify(await shown([late], 3)), /https:\/\/one\.example.*https:\/\/two\.example.*Two/);
});

test('numbers go on after code, cells stand where they are told to, code and tables take the focus', async () => {
  const text = '1. one\n2. two\n\n```js\nlet a;\n```\n\n3. three\n4. four\n\n| l | c | r | n |\n|:--|:-:|--:|---|\n| 1 | 2 | 3 | 4 |\n';
  const seen = await page.evaluate((text) => {
    const view = document.createElement('pl-markdown');
    document.querySelector('.thread').append(view);
    view.show(text, false);
    const align = (selector) => [...view.querySelectorAll(selector)].map((cell) => getComputedStyle(cell).textAlign.replace('-webkit-', ''));
    const focus = [...view.querySelectorAll('pre, .table')].map((element) => (element.focus(), document.activeElement === element));
    const result = { starts: [...view.querySelectorAll('ol')].map(({ start }) => start), heads: align('th'), cells: align('td'), focus };
    view.remove();
    return result;
  }, text);
  assert.deepEqual(seen, {
    starts: [1, 3],
    heads: ['left', 'center', 'right', 'start'],
    cells: ['left', 'center', 'right', 'start'],
    focus: [true, true],
  });
});

test('the caret stands in the line that is being written, whatever it is in', async () => {
  const texts = { p: 'a word', 'li > p, li': '1. one\n2. two', 'blockquote > p': '> said', code: '```\nlet a', td: '| a | b |\n|---|---|\n| 1 | 2' };
  for (const [selector, text] of Object.entries(texts)) {
    const parent = await page.evaluate(
      ([text, selector]) => {
        const view = document.createElement('pl-markdown');
        view.show(text.slice(0, -1), true);
        view.show(text, true);
        const [caret, ...more] = view.querySelectorAll('.caret');
        const found = more.length === 0 && caret?.parentElement.matches(selector) && !caret.nextSibling;
        view.show(text, false);
        return found && !view.querySelector('.caret');
      },
      [text, selector],
    );
    assert.ok(parent, text);
  }
});

test('formulas in all four forms become MathML; prices and escaped brackets do not; what is no TeX stays as written', async () => {
  const text = [
    'Euler: $e^{i\\pi} + 1 = 0$, and \\(a^2 + b^2 = c^2\\).',
    '$$\n\\int_0^1 x\\,dx = \\frac{1}{2}\n$$',
    '\\[ \\sum_{k=1}^n k \\]',
    'It costs $5 or $6, and \\[this `$code$`.',
    'Broken: $\\frac{1}$ here.',
  ].join('\n\n');
  const requests = [];
  page.on('request', (request) => requests.push(request.url()));
  const seen = await page.evaluate(async (text) => {
    const view = document.createElement('pl-markdown');
    document.querySelector('.thread').append(view);
    for (let end = 5; end < text.length; end += 5) view.show(text.slice(0, end), true);
    view.show(text, false);
    while (view.querySelectorAll('math').length < 4) await new Promise((resolve) => setTimeout(resolve, 20));
    const blocks = [...view.querySelectorAll('.block')].map((block) => [...block.querySelectorAll('math')].map((math) => math.getAttribute('display') ?? 'inline'));
    const result = { blocks, price: view.querySelectorAll('.block')[3].textContent, broken: view.querySelectorAll('.block')[4].textContent };
    view.remove();
    return result;
  }, text);
  assert.deepEqual(seen.blocks, [['inline', 'inline'], ['block'], ['block'], [], []]);
  assert.match(seen.price, /It costs \$5 or \$6, and \[this \$code\$\./);
  assert.match(seen.broken, /Broken: \$\\frac\{1\}\$ here/);
  assert.ok(requests.every((url) => url.startsWith(server.origin)));
});
