"""What a reader sees of the page that is open: text that is hard to read, content that is cut, what data brought to life."""

from __future__ import annotations

import io
from typing import Any

from chromium import Browser
from PIL import Image

#: Texts, each with the contrast of its colour against what lies behind it (WCAG 2.2, 1.4.3). Text over a picture is left out.
_CONTRASTS = """
const parse = text => { const c = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  c.fillStyle = text; c.fillRect(0, 0, 1, 1); const d = c.getImageData(0, 0, 1, 1).data;
  return [d[0], d[1], d[2], d[3] / 255]; };
const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
const light = c => { const l = c.slice(0, 3).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * l[0] + 0.7152 * l[1] + 0.0722 * l[2]; };
const known = new Map();
const behind = element => {
  if (!element) return parse(matchMedia('(prefers-color-scheme: dark)').matches ? '#121212' : '#ffffff');
  if (known.has(element)) return known.get(element);
  const own = parse(getComputedStyle(element).backgroundColor);
  const whole = own[3] === 1 ? own : over(own, behind(element.parentElement));
  known.set(element, whole);
  return whole; };
const colours = new Map();
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const text = walker.currentNode.data.trim(), element = walker.currentNode.parentElement;
  if (!text || !element.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
  if (element.closest('script, style, noscript, option, svg, [disabled], [aria-disabled="true"], .over-picture')) continue;
  const style = getComputedStyle(element), back = behind(element);
  let opacity = 1;
  for (let e = element; e; e = e.parentElement) opacity *= parseFloat(getComputedStyle(e).opacity);
  const ink = parse(style.color); ink[3] *= opacity;
  const a = light(over(ink, back)), b = light(back);
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const size = parseFloat(style.fontSize), bold = parseInt(style.fontWeight) >= 700;
  const enough = size >= 24 || (size >= 18.66 && bold) ? 3 : 4.5;
  if (ratio < enough - 0.005)
    colours.set(style.color + ' on ' + back.slice(0, 3).map(Math.round), ratio.toFixed(2) + ': ' + text.slice(0, 60));
}
return Array.from(colours, ([pair, example]) => pair + ': ' + example);
"""
#: What reaches beyond the right edge of the window and cannot be scrolled to inside a box of its own.
_TOO_WIDE = """
const edge = document.documentElement.clientWidth + 1;
return Array.from(document.body.querySelectorAll('*')).filter(element => {
  if (!element.checkVisibility() || element.getBoundingClientRect().right <= edge) return false;
  for (let e = element.parentElement; e && e !== document.body; e = e.parentElement)
    if (getComputedStyle(e).overflowX !== 'visible') return false;
  return true;
}).slice(0, 5).map(e => e.tagName + '.' + e.className + ' ' + e.textContent.trim().slice(0, 40));
"""
#: The texts of cells, headings, paragraphs, items and captions that are there when the page is printed.
_PRINTED = """
return Array.from(document.querySelectorAll('td, th, h1, h2, h3, p, li, figcaption'))
  .filter(e => e.checkVisibility() && !e.querySelector('p, li, table, button, input, select'))
  .flatMap(e => e.innerText.split('\\n')).filter(text => text.trim());
"""
#: Handlers in attributes, addresses that run code, and scripts, frames or forms with content that is not the site's own.
_ALIVE = """
const found = [];
for (const element of document.querySelectorAll('*')) {
  for (const {name, value} of element.attributes) {
    if (name.startsWith('on')) found.push(element.tagName + ' ' + name);
    if (/^(href|src|action|formaction|xlink:href)$/.test(name) && /^\\s*(javascript|vbscript|data:text)/i.test(value))
      found.push(element.tagName + ' ' + name + '=' + value.slice(0, 60));
  }
  if (/^(IFRAME|OBJECT|EMBED|BASE|FORM|MARQUEE|APPLET)$/.test(element.tagName)) found.push(element.tagName);
  if (element.tagName === 'SCRIPT' && /pwned|alert\\(1\\)/.test(element.textContent) && element.type !== 'application/json')
    found.push('SCRIPT ' + element.textContent.slice(0, 60));
}
if (window.pwned !== undefined) found.push('code of the data was run');
return found;
"""


def faint_texts(browser: Browser) -> list[str]:
    """Pairs of colours with too little contrast, with an example of each."""
    return browser.ask(_CONTRASTS)


def overflow(browser: Browser) -> int:
    """By how many CSS pixels the page is wider than the window."""
    return browser.ask("const e = document.documentElement; return e.scrollWidth - e.clientWidth;")


def too_wide(browser: Browser) -> list[str]:
    """Elements that a reader of this window cannot see whole."""
    return browser.ask(_TOO_WIDE)


def alive(browser: Browser) -> list[str]:
    """What of the data became more than text."""
    return browser.ask(_ALIVE)


def brightness(element: Any) -> float:
    """Mean brightness of an element's rim on the screen: 0 = black, 1 = white."""
    picture = Image.open(io.BytesIO(element.screenshot_as_png)).convert("L")
    width, height = picture.size
    inset = max(2, min(width, height) // 40)  # inside a border and its rounded corners
    rim = [picture.getpixel((x, y)) for x in range(inset, width - inset, 4) for y in (inset, height - 1 - inset)]
    return sum(rim) / len(rim) / 255


def cut_on_paper(browser: Browser) -> list[str]:
    """Texts of the page that its paper lacks or has beyond an edge: Chromium leaves out what would lie outside."""
    browser.cdp("Emulation.setEmulatedMedia", media="print")
    shown = browser.ask(_PRINTED)
    browser.cdp("Emulation.setEmulatedMedia", media="")
    pdf = browser.pdf()
    paper = _letters(words_on_paper(pdf))
    lacking = [text for text in shown if _letters(text) not in paper]
    return lacking + texts_off_paper(pdf)


def texts_off_paper(pdf: bytes) -> list[str]:
    """Characters of a PDF that lie outside their page, as the texts that they end."""
    import pypdfium2

    cut = []
    document = pypdfium2.PdfDocument(pdf)
    for number, page in enumerate(document, 1):
        left, bottom, right, top = page.get_mediabox()
        text = page.get_textpage()
        for index in range(text.count_chars()):
            x0, y0, x1, y1 = text.get_charbox(index)
            if x1 > x0 and (x0 < left - 1 or x1 > right + 1 or y0 < bottom - 1 or y1 > top + 1):
                cut.append(f"page {number}: …{text.get_text_range(max(0, index - 30), min(31, index + 1))}")
    document.close()
    return cut


def words_on_paper(pdf: bytes) -> str:
    """The text of a PDF, with single spaces."""
    import pypdfium2

    document = pypdfium2.PdfDocument(pdf)
    text = " ".join(" ".join(page.get_textpage().get_text_range().split()) for page in document)
    document.close()
    return text


def _letters(text: str) -> str:
    """Text without spaces and hyphens: lines break where they like, and a hyphen that ends one is another character."""
    return "".join(c for c in text if not c.isspace() and c not in "-\N{SOFT HYPHEN}\x02\ufffe")
